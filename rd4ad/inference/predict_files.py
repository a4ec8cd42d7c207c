"""Predict on files: one overlay and one float32 TIFF an image, and one table of scores."""

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from rd4ad.config import OVERLAY_PX
from rd4ad.data.folders import IMAGE_SUFFIXES, DatasetError, listed
from rd4ad.data.images import fitted, in_threads, prefetch, read_image, read_resized, resize_image
from rd4ad.inference.checkpoint import replace_file
from rd4ad.inference.detector import Detector
from rd4ad.inference.overlay import calibrated_range, common_range, marked, with_scale
from rd4ad.inference.prediction import Prediction
from rd4ad.scoring import Maps

OnCount = Callable[[str, int, int], None]
_QUALITY = 90  # of a JPEG


def predict_to_folder(
    detector: Detector,
    sources: Sequence[Path],
    out: Path,
    *,
    overlays: str = "jpeg",
    overlay_px: int = OVERLAY_PX,
    opacity: float = 0.75,
    skip_bad: bool = False,
    on_progress: OnCount | None = None,
) -> list[dict[str, Any]]:
    """Write overlays, maps and scores.csv below `out`; return the rows of the table.

    An image keeps its path relative to the folder it was found in: `bent/003.png` gives
    `bent/003.tiff` and `bent/003_overlay.jpg`. All overlays of one call share one scale. Maps have
    the detector's resolution, overlays the image's, at most `overlay_px` a side.

    >>> from tempfile import TemporaryDirectory
    >>> from rd4ad import TrainingConfig, train
    >>> from rd4ad.data.parts import write_parts
    >>> config = TrainingConfig(backbone="compact", size_px=64, epochs=1, holdout=0)
    >>> with TemporaryDirectory() as folder:
    ...     root = Path(folder)
    ...     write_parts(root, categories=("tile",), n_train=2, n_good=1, n_per_defect=1)
    ...     detector = train(root, "tile", config, out=root / "tile.safetensors")
    ...     rows = predict_to_folder(detector, [root / "tile" / "test"], root / "out")
    ...     sorted(file.name for file in (root / "out" / "crack").iterdir())
    ['000.tiff', '000_overlay.jpg']
    >>> [row["name"] for row in rows]
    ['chip/000', 'crack/000', 'glue/000', 'good/000', 'gray_stroke/000']

    Args:
        detector: that judges.
        sources: image files, and folders that are searched to any depth.
        out: folder to write into.
        overlays: one of `rd4ad.config.OVERLAYS`; "defective" takes a calibrated detector.
        overlay_px: longer side of an overlay at most.
        opacity: of the heatmap, in [0, 1].
        skip_bad: name unreadable images in the table instead of stopping.
        on_progress: called with a stage, how many images are done, and of how many.

    Raises:
        DatasetError: no image there, two of one name, or an unreadable one, and `skip_bad` is off
            or nothing else is left.
        ValueError: the detector gives NaN; or defective ones are asked of one without a threshold.
        OSError: `out` cannot be written.
    """
    if overlays == "defective" and detector.calibration is None:
        raise ValueError("this detector has no threshold: it cannot say which ones are defective")
    report = on_progress or (lambda stage, done, total: None)
    named = find_images(sources)
    out.mkdir(parents=True, exist_ok=True)
    new_artist = partial(_Artist, detector, out, overlays, overlay_px, opacity)
    draws_at_once = overlays != "none" and detector.calibration is not None
    artist = new_artist(*_scale(detector, [])) if draws_at_once else None

    def finish(judged: "_Judged") -> "_Judged":
        if judged.prediction is None:
            return judged
        _write_map(out / f"{judged.name}.tiff", judged.prediction)
        is_wanted = overlays != "defective" or judged.prediction.is_anomalous
        if artist and judged.picture is not None and is_wanted:
            artist.draw(judged.name, judged.picture, judged.prediction.anomaly_map)
        return replace(judged, picture=None)

    rows: dict[str, dict[str, Any]] = {}
    judged_images = _judged(detector, named, overlay_px if draws_at_once else None)
    for future in prefetch(finish, judged_images, 2 * (os.cpu_count() or 1)):
        judged = future.result()
        if judged.prediction is None and not skip_bad:
            raise DatasetError(judged.problem)
        rows[judged.name] = _row(judged, named[judged.name])
        report("predicting", len(rows), len(named))
    table = [rows[name] for name in named]
    kept = {name: path for name, path in named.items() if not rows[name]["problem"]}
    if not kept:
        problems = [row["problem"] for row in table]
        raise DatasetError(f"none of {len(table)} images can be read: {listed(problems)}")
    replace_file(out / "scores.csv", partial(_write_table, table))
    if overlays != "none" and not artist:
        # Without a calibration the scale spans the images at hand: overlays come after all maps.
        later = new_artist(*_scale(detector, [out / f"{name}.tiff" for name in kept]))
        in_threads(
            lambda name: later.draw_again(name, kept[name]),
            list(kept),
            progress=lambda done, n: report("drawing", done, n),
        )
    return table


@dataclass(frozen=True, eq=False)
class _Judged:
    """An image's prediction, or what is wrong with its file; and its picture, to be drawn on."""

    name: str
    prediction: Prediction | None
    problem: str = ""
    picture: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class _Artist:
    """Writes overlays into a folder, all with one scale."""

    detector: Detector
    out: Path
    overlays: str
    side_px: int
    opacity: float
    low: float
    high: float

    def draw(self, name: str, picture: NDArray[np.uint8], anomaly_map: Maps) -> None:
        drawn = draw(self.detector, picture, anomaly_map, self.low, self.high, self.opacity)
        if self.overlays == "png":
            save = partial(drawn.save, format="PNG")
        else:
            save = partial(drawn.save, format="JPEG", quality=_QUALITY)
        suffix = "png" if self.overlays == "png" else "jpg"
        replace_file(self.out / f"{name}_overlay.{suffix}", save)

    def draw_again(self, name: str, path: Path) -> None:
        """Draw an image whose map was written before."""
        picture = fitted(read_image(path), self.side_px)
        self.draw(name, picture, tifffile.imread(self.out / f"{name}.tiff"))


def _judged(
    detector: Detector, named: Mapping[str, Path], picture_px: int | None
) -> Iterator[_Judged]:
    """Yield every image with its prediction, and with its picture where a side is given."""
    waiting: dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8] | None]] = {}

    def judge() -> Iterator[_Judged]:
        images = np.stack([small for small, _ in waiting.values()])
        distances = detector.distances(images, detector.scoring.layers)
        for (name, (_, picture)), prediction in zip(
            waiting.items(), detector.judge(distances), strict=True
        ):
            yield _Judged(name, prediction, picture=picture)
        waiting.clear()

    def read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        if not picture_px:
            return read_resized(path, detector.size_px), None
        image = read_image(path)
        return resize_image(image, detector.size_px), fitted(image, picture_px)

    batch_size = detector.engine.batch_size
    readings = prefetch(read, named.values(), 2 * batch_size)
    for name, reading in zip(named, readings, strict=True):
        try:
            waiting[name] = reading.result()
        except DatasetError as error:
            yield _Judged(name, None, str(error))
        if len(waiting) == batch_size:
            yield from judge()
    if waiting:
        yield from judge()


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


def _row(judged: _Judged, path: Path) -> dict[str, Any]:
    prediction = judged.prediction
    return {
        "name": judged.name,
        "file": str(path),
        "score": prediction.score if prediction else None,
        "is_anomalous": prediction.is_anomalous if prediction else None,
        "problem": judged.problem,
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
