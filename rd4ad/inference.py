"""Predict on files: one overlay PNG and one float32 TIFF an image, and one table of scores."""

import csv
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from rd4ad.data.folders import IMAGE_SUFFIXES, DatasetError
from rd4ad.data.images import read_image, resize_image
from rd4ad.detector import Detector, Prediction, replace_file
from rd4ad.web.overlay import display_range, outline, overlay, with_scale

OnCount = Callable[[str, int, int], None]
OUTLINE = (0, 158, 115)  # Okabe-Ito green: apart from every colour of the heatmap


def predict_files(
    detector: Detector,
    sources: Sequence[Path],
    out: Path,
    *,
    opacity: float = 0.75,
    skip_bad: bool = False,
    on_progress: OnCount | None = None,
) -> list[dict[str, Any]]:
    """Write overlays, maps and scores.csv below `out`; return the rows of the table.

    An image keeps its path relative to the folder it was found in: `bent/003.png` gives
    `bent/003.tiff` and `bent/003_overlay.png`. The region above the threshold is outlined where the
    detector carries one. Maps have the detector's resolution, overlays the image's.

    Raises:
        DatasetError: no image there, two of one name, or an unreadable one (without skip_bad).
        OSError: `out` cannot be written.
    """
    named = find_images(sources)
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for done, (name, path) in enumerate(named.items(), start=1):
        try:
            image = read_image(path)
        except DatasetError as error:
            if not skip_bad:
                raise
            rows.append(_row(name, path, None, str(error)))
            continue
        small = resize_image(image, detector.size_px)[None]
        prediction = detector.judge(detector.distances(small))[0]
        _write(detector, image, prediction, out / name, opacity)
        rows.append(_row(name, path, prediction, ""))
        if on_progress:
            on_progress("predicting", done, len(named))
    replace_file(out / "scores.csv", partial(_write_table, rows))
    return rows


def find_images(sources: Sequence[Path]) -> dict[str, Path]:
    """Return the image files by name without suffix, relative to the folder they were found in.

    Raises:
        DatasetError: a source that is not there, holds no image, or two images of one name.
    """
    found: dict[str, Path] = {}
    for source in sources:
        if source.is_dir():
            files = sorted(p for p in source.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
            names = [file.relative_to(source).with_suffix("").as_posix() for file in files]
        else:
            files, names = [source], [source.stem]
        if not files or not source.exists():
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise DatasetError(f"no image at {source}: expected a file or a folder of {kinds}")
        for name, file in zip(names, files, strict=True):
            if name in found:
                raise DatasetError(
                    f"{found[name]} and {file} would both be written as {name}: "
                    "predict them into two folders"
                )
            found[name] = file
    return found


def _row(name: str, path: Path, prediction: Prediction | None, problem: str) -> dict[str, Any]:
    return {
        "name": name,
        "file": str(path),
        "score": prediction.score if prediction else None,
        "is_anomalous": prediction.is_anomalous if prediction else None,
        "problem": problem,
    }


def _write(
    detector: Detector, image: np.ndarray, prediction: Prediction, target: Path, opacity: float
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    anomaly_map = prediction.anomaly_map
    tiff = target.with_name(target.name + ".tiff")
    replace_file(tiff, lambda beside: tifffile.imwrite(beside, anomaly_map))
    calibration = detector.calibration
    threshold = calibration.threshold if calibration else None
    low, high = display_range(anomaly_map, calibration.scores if calibration else None, threshold)
    drawn = overlay(image, anomaly_map, low, high, opacity=opacity)
    label = f"score {prediction.score:.2f}"
    if threshold is not None:
        height, width = image.shape[:2]
        full = Image.fromarray(anomaly_map).resize((width, height), Image.Resampling.BILINEAR)
        drawn = outline(drawn, np.asarray(full) > threshold, OUTLINE)
        label += f", threshold {threshold:.2f}"
    picture = with_scale(drawn, low, high, label)
    png = target.with_name(target.name + "_overlay.png")
    replace_file(png, lambda beside: picture.save(beside, format="PNG"))


def _write_table(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
