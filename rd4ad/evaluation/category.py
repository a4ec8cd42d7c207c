"""Measure a detector, or maps from anywhere, on a category's test images, and store the run.

A run keeps its distance maps, rounded. Every metric of the run is computed from the
rounded ones, so that whoever reads the run folder gets the same metrics again, without a model.
"""

import platform
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rd4ad import metrics
from rd4ad.data.folders import Category, DatasetError, Sample, open_category
from rd4ad.data.images import read_images, read_masks
from rd4ad.evaluation.rounding import rounded
from rd4ad.home import commit
from rd4ad.inference.detector import Detector
from rd4ad.machine import memory_bytes, processor
from rd4ad.metrics.category import curve_points, metric_grid
from rd4ad.runs.comparison import with_intervals
from rd4ad.runs.run import Run
from rd4ad.runs.store import run_id, write_run
from rd4ad.scoring import Scoring, anomaly_maps, layers_name, scores

OnCount = Callable[[str, int, int], None]


@dataclass(frozen=True)
class EvaluationSet:
    """A category's test images as arrays.

    Args:
        samples: what they are, in order.
        labels: (N,) 0 normal, 1 defect.
        masks: (N, S, S) bool, True where defective; None where the category has no masks.
        skipped: a message for each image left out.
    """

    samples: list[Sample]
    labels: NDArray[np.int_]
    masks: NDArray[np.bool_] | None
    skipped: tuple[str, ...]


def evaluate(
    detector: Detector,
    data: str | Path,
    category: str,
    *,
    dataset: str | None = None,
    results: str | Path = "results",
    keep_masks: bool = False,
    skip_bad: bool = False,
    on_progress: OnCount | None = None,
) -> Run:
    """Measure a detector on a category's test images and store the run in `results`/runs.

    >>> from tempfile import TemporaryDirectory
    >>> from rd4ad import TrainingConfig, train
    >>> from rd4ad.data.parts import write_parts
    >>> config = TrainingConfig(backbone="compact", size_px=64, epochs=1, holdout=0)
    >>> with TemporaryDirectory() as folder:
    ...     write_parts(folder, categories=("tile",), n_train=2, n_good=2, n_per_defect=1)
    ...     detector = train(folder, "tile", config, out=Path(folder) / "tile.safetensors")
    ...     run = evaluate(detector, folder, "tile", dataset="parts", results=folder)
    >>> run.metrics[run.metrics.is_default].metric.tolist()[:3]
    ['image_auroc', 'image_ap', 'image_f1_max']

    Args:
        detector: what to measure.
        data: folder of categories in MVTec layout.
        category: folder name below it.
        dataset: name of the dataset in the record; the folder's name by default.
        results: folder of runs.
        keep_masks: store the masks in the run, so that it can be scored again without the images;
            only where their license allows it.
        skip_bad: leave unreadable images out instead of stopping.
        on_progress: called with (stage, done, total).

    Raises:
        DatasetError: no such category, no test images, unreadable images (without skip_bad).
        OSError: `results` cannot be written; nothing half-written stays.
        ValueError: a detector of several categories that are all others.
    """
    report = on_progress or (lambda stage, done, total: None)
    detector = detector.of_category(category)
    started = time.monotonic()
    test, images = read_test(open_category(Path(data), category), detector.size_px, skip_bad)
    distances = detector.distances(images, progress=lambda d, n: report("distance maps", d, n))
    kept, bits = rounded(distances, detector.scoring, detector.size_px, test.labels, test.masks)
    rows = metric_grid(
        kept, test.labels, test.masks, detector.scoring, detector.size_px,
        lambda done, total: report("metrics", done, total),
    )  # fmt: skip
    maps = anomaly_maps(kept, detector.scoring, detector.size_px)
    image_scores = scores(kept, detector.scoring, detector.size_px, maps)
    name = dataset or Path(data).resolve().name
    identity = determined_by(detector, name, category)
    pixels = None if test.masks is None else metrics.pixel_statistics(test.masks, maps)
    table = with_intervals(
        pd.DataFrame(rows), identity["scoring"], test.labels, image_scores, pixels
    )
    return write_run(
        Path(results),
        run_record(identity, detector, test, time.monotonic() - started),
        table,
        image_table(test, image_scores),
        curve_points(test.labels, image_scores, test.masks, maps),
        kept,
        test.masks if keep_masks else None,
        pixels,
        bits=bits,
    )


def run_record(
    identity: dict[str, Any], detector: Detector, test: EvaluationSet, seconds: float
) -> dict[str, Any]:
    """Return the record of a detector's run: what determines it, and what was found on the way.

    Args:
        identity: see `determined_by`.
        detector: what was measured.
        test: what it was measured on.
        seconds: that measuring took.
    """
    record = identity | {
        "run_id": run_id(identity),
        "n_test_images": len(test.samples),
        "skipped": list(test.skipped),
        "n_test_defects": int(test.labels.sum()),
        "teacher_file": detector.teacher_file["name"],
        "engine": detector.engine.name,
        "threshold": detector.calibration.threshold if detector.calibration else None,
        "threshold_note": _threshold_note(detector),
        "seconds": round(seconds, 2),
        "training": detector.config,
    }
    return record | host_record()


def read_test(
    category: Category, size_px: int, skip_bad: bool = False
) -> tuple[EvaluationSet, NDArray[np.uint8]]:
    """Return the test set, its masks resized as in the release, and its images (N, S, S, 3).

    >>> from tempfile import TemporaryDirectory
    >>> from rd4ad.data.parts import write_parts
    >>> with TemporaryDirectory() as folder:
    ...     write_parts(folder, categories=("tile",), n_train=2, n_good=1, n_per_defect=1)
    ...     test, images = read_test(open_category(folder, "tile"), size_px=64)
    >>> test.labels.tolist(), images.shape
    ([1, 1, 1, 0, 1], (5, 64, 64, 3))

    Raises:
        DatasetError: no test images, or unreadable ones (without skip_bad).
    """
    if not category.test:
        raise DatasetError(without_test(category))
    read = read_images([s.path for s in category.test], size_px, skip_bad=skip_bad)
    samples = [category.test[i] for i in read.kept]
    labels = np.array([sample.label for sample in samples])
    masks = None
    if category.has_masks:
        masks = read_masks(samples, size_px)
    return EvaluationSet(samples, labels, masks, read.skipped), read.images


def without_test(category: Category) -> str:
    """Return what to say of a category without test images."""
    return f"{category.path} has no test images: expected test/<type>/*.png"


def determined_by(detector: Detector, dataset: str, category: str) -> dict[str, Any]:
    """Return all that determines the metrics of a detector's run; see `run_identity`."""
    return run_identity(
        detector.engine.method,
        detector.engine.backbone,
        detector.size_px,
        detector.config,
        detector.scoring,
        detector.teacher_file["sha256"],
        dataset,
        category,
    )


def run_identity(
    method: str,
    backbone: str,
    size_px: int,
    config: Mapping[str, Any],
    scoring: Scoring,
    teacher_sha256: str,
    dataset: str,
    category: str,
) -> dict[str, Any]:
    """Return all that determines a run's metrics, from which its id is hashed.

    >>> found = run_identity("padim", "compact", 64, {"seed": 1, "seconds": 9.5}, Scoring(), "0",
    ...                     "parts", "nut")
    >>> found["config"], run_id(found)
    ({'seed': 1}, 'padim-parts-nut-compact-64-s1-359608d9')

    Args:
        method, backbone, size_px: the detector's.
        config: the record of its training; how long it took, and on what, play no part.
        scoring: the detector's.
        teacher_sha256: of its teacher's weight file.
        dataset, category: what it is measured on.
    """
    notes = ("seconds", "final_loss", "n_threads", "device")
    kept = {key: value for key, value in config.items() if key not in notes}
    if kept.get("precision") == "float32":  # what runs had before there was a choice
        del kept["precision"]
    return {
        "method": method,
        "dataset": dataset,
        "category": category,
        "backbone": backbone,
        "size_px": size_px,
        "seed": config.get("seed"),
        "config": kept,
        "scoring": asdict(scoring) | {"layers": layers_name(scoring.layers)},
        "teacher_sha256": teacher_sha256,
    }


def _threshold_note(detector: Detector) -> str:
    if detector.calibration is None:
        return "none: every normal image was trained on"
    n = len(detector.calibration.scores)
    if detector.calibration.own_threshold is not None:
        rate = 1 - detector.calibration.quantile
        return f"for false alarms at a rate of {rate:g}, from {n} held-out normal images"
    return f"{detector.calibration.quantile:g} quantile of {n} held-out normal images"


def host_record() -> dict[str, Any]:
    """Return where a run was measured: versions, processor, commit, peak memory.

    >>> sorted(host_record())
    ['commit', 'host_cpu', 'peak_mib', 'versions']
    """
    packages = ("torch", "torchvision", "onnxruntime", "numpy", "scipy", "pillow")
    versions = {"python": platform.python_version()}
    for name in packages:
        with suppress(PackageNotFoundError):  # torch, where ONNX Runtime does all
            versions[name] = version(name)
    peak = memory_bytes("VmHWM") / 2**20
    return {
        "versions": versions,
        "host_cpu": processor(),
        "commit": commit(),
        "peak_mib": None if isnan(peak) else round(peak),
    }


def image_table(test: EvaluationSet, image_scores: NDArray[np.float64]) -> pd.DataFrame:
    """Return the rows of images.parquet.

    >>> sample = Sample("test/bent/000.png", Path("000.png"), "bent", 1, None)
    >>> test = EvaluationSet([sample], np.array([1]), None, ())
    >>> list(image_table(test, np.array([0.75])).iloc[0].astype(str))
    ['test/bent/000.png', 'bent', '1', '0.75']
    """
    return pd.DataFrame(
        {
            "image": [sample.name for sample in test.samples],
            "defect_type": [sample.defect_type for sample in test.samples],
            "label": test.labels,
            "score": image_scores,
        }
    )
