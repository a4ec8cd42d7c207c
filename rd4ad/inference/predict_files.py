"""Predict on files: one overlay PNG and one float32 TIFF an image, and one table of scores."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from rd4ad.data.folders import IMAGE_SUFFIXES, DatasetError, listed
from rd4ad.data.images import in_threads, prefetch, read_image, resize_image
from rd4ad.inference.checkpoint import replace_file
from rd4ad.inference.detector import Detector
from rd4ad.inference.overlay import calibrated_range, common_range, marked, with_scale
from rd4ad.inference.prediction import Prediction
from rd4ad.scoring import Maps

OnCount = Callable[[str, int, int], None]


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
    `bent/003.tiff` and `bent/003_overlay.png`. All overlays of one call share one scale. Maps have
    the detector's resolution, overlays the image's.

    >>> from tempfile import TemporaryDirectory
    >>> from rd4ad import TrainingConfig, train
    >>> from rd4ad.data.parts import write_parts
    >>> config = TrainingConfig(backbone="compact", size_px=64, epochs=1, holdout=0)
    >>> with TemporaryDirectory() as folder:
    ...     root = Path(folder)
    ...     write_parts(root, categories=("tile",), n_train=2, n_good=1, n_per_defect=1)
    ...     detector = train(root, "tile", config, out=root / "tile.safetensors")
    ...     rows = predict_files(detector, [root / "tile" / "test"], root / "out")
    ...     sorted(file.name for file in (root / "out" / "crack").iterdir())
    ['000.tiff', '000_overlay.png']
    >>> [row["name"] for row in rows]
    ['chip/000', 'crack/000', 'glue/000', 'good/000', 'gray_stroke/000']

    Raises:
        DatasetError: no image there, two of one name, or an unreadable one, and `skip_bad` is off
            or nothing else is left.
        ValueError: the detector gives NaN.
        OSError: `out` cannot be written.
    """
    report = on_progress or (lambda stage, done, total: None)
    named = find_images(sources)
    out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[str, Any]] = {}
    for name, prediction, problem in _predictions(detector, named):
        if prediction is not None:
            _write_map(out / f"{name}.tiff", prediction)
        elif not skip_bad:
            raise DatasetError(problem)
        rows[name] = _row(name, named[name], prediction, problem)
        report("predicting", len(rows), len(named))
    table = [rows[name] for name in named]
    kept = {name: path for name, path in named.items() if not rows[name]["problem"]}
    if not kept:
        problems = [row["problem"] for row in table]
        raise DatasetError(f"none of {len(table)} images can be read: {listed(problems)}")
    replace_file(out / "scores.csv", partial(_write_table, table))
    # Without a calibration the scale spans the images at hand, so overlays come after all maps.
    low, high = _scale(detector, [out / f"{name}.tiff" for name in kept])

    def write_overlay(name: str) -> None:
        anomaly_map = tifffile.imread(out / f"{name}.tiff")
        picture = draw(detector, read_image(kept[name]), anomaly_map, low, high, opacity)
        replace_file(out / f"{name}_overlay.png", partial(picture.save, format="PNG"))

    in_threads(write_overlay, list(kept), progress=lambda done, n: report("drawing", done, n))
    return table


def _predictions(
    detector: Detector, named: Mapping[str, Path]
) -> Iterator[tuple[str, Prediction | None, str]]:
    """Yield every image's name with its prediction, or with what is wrong with its file."""
    waiting: dict[str, NDArray[np.uint8]] = {}

    def judged() -> Iterator[tuple[str, Prediction | None, str]]:
        distances = detector.distances(np.stack(list(waiting.values())), detector.scoring.layers)
        for name, prediction in zip(waiting, detector.judge(distances), strict=True):
            yield name, prediction, ""
        waiting.clear()

    def read(path: Path) -> NDArray[np.uint8]:
        return resize_image(read_image(path), detector.size_px)

    batch_size = detector.engine.batch_size
    readings = prefetch(read, named.values(), 2 * batch_size)
    for name, reading in zip(named, readings, strict=True):
        try:
            waiting[name] = reading.result()
        except DatasetError as error:
            yield name, None, str(error)
        if len(waiting) == batch_size:
            yield from judged()
    if waiting:
        yield from judged()


def find_images(sources: Sequence[Path]) -> dict[str, Path]:
    """Return the image files by name without suffix, relative to the folder they were found in.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     (Path(folder) / "bent").mkdir()
    ...     (Path(folder) / "bent" / "003.png").touch()
    ...     list(find_images([Path(folder)]))
    ['bent/003']

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


def _write_map(target: Path, prediction: Prediction) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_file(target, lambda beside: tifffile.imwrite(beside, prediction.anomaly_map))


def _scale(detector: Detector, maps: Sequence[Path]) -> tuple[float, float]:
    if detector.calibration:
        return calibrated_range(detector.calibration.scores, detector.calibration.threshold)
    return common_range(tifffile.imread(path) for path in maps)


def draw(
    detector: Detector,
    image: NDArray[np.uint8],
    anomaly_map: Maps,
    low: float,
    high: float,
    opacity: float,
) -> Image.Image:
    """Return the overlay of a map (h, w) on its image (H, W, 3), with scale and score below.

    What lies above the threshold is outlined, where the detector carries one.
    """
    threshold = detector.calibration.threshold if detector.calibration else None
    drawn = marked(image, anomaly_map, low, high, opacity=opacity, threshold=threshold)
    label = f"score {anomaly_map.max():.2f}"
    if threshold is not None:
        label += f", threshold {threshold:.2f}"
    return with_scale(drawn, low, high, label)


def _write_table(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
