"""Anomaly maps that any program wrote: measured, and stored as a run like any other.

How they are found: see `rd4ad.evaluation.map_files`.
"""

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rd4ad import metrics
from rd4ad.catalogue import METHODS, NO_BACKBONE
from rd4ad.data.folders import Category, DatasetError, Sample, open_category
from rd4ad.data.images import read_mask, read_mask_for, read_masks
from rd4ad.evaluation.category import (
    EvaluationSet,
    OnCount,
    host_record,
    image_table,
    without_test,
)
from rd4ad.evaluation.map_files import read_maps, resized
from rd4ad.evaluation.rounding import rounded
from rd4ad.metrics.category import MetricRow, category_metrics, curve_points, metric_grid
from rd4ad.runs.comparison import with_intervals
from rd4ad.runs.run import Run
from rd4ad.runs.store import run_id, write_run
from rd4ad.scoring import IMAGE, Maps, Scoring, anomaly_maps

SIDES = (64, 128)
"""Sides in pixels at which maps may be stored."""
_SIZE_PX = 256  # of masks and of the maps that are measured
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .+_-]{0,39}")
_META = {"backbone": str, "seed": int, "source": str, "note": str}
"""What metadata may say, and its kind."""


def score_maps(
    maps: Path, data: Path, category: str, *, on_progress: OnCount | None = None
) -> list[MetricRow]:
    """Return the metrics of anomaly maps that any program wrote for a category's test images.

    PRO is there under every definition in use, without a limit too. Masks taken for maps are
    faultless:

    >>> from tempfile import TemporaryDirectory
    >>> from rd4ad.data.parts import write_parts
    >>> with TemporaryDirectory() as folder:
    ...     write_parts(folder, categories=("tile",), n_train=2, n_good=1, n_per_defect=1)
    ...     for sample in open_category(folder, "tile").test:
    ...         (Path(folder) / "maps" / sample.defect_type).mkdir(parents=True)
    ...         map_file = Path(folder) / "maps" / sample.defect_type / "000.npy"
    ...         np.save(map_file, read_mask_for(sample).astype(float))
    ...     rows = score_maps(Path(folder) / "maps", Path(folder), "tile")
    >>> {row["metric"]: round(row["value"], 6) for row in rows}["aupro"]
    1.0

    How maps are found, see `map_files`; each is a 2-D array of real numbers, higher is more
    anomalous, of its mask's size, or square: then the mask is resized to it. The image score is the
    map's maximum.

    Raises:
        DatasetError: a missing, unreadable or wrongly shaped map; the message names it.
    """
    opened = open_category(data, category)
    if not opened.test:
        raise DatasetError(without_test(opened))
    read, masks = _read_all(maps, opened), []
    for done, (sample, found) in enumerate(zip(opened.test, read, strict=True), start=1):
        masks.append(_mask_like(sample, found))
        if on_progress:
            on_progress("maps", done, len(opened.test))
    labels = np.array([sample.label for sample in opened.test])
    values = np.array([found.max() for found in read], dtype=np.float64)
    rows = category_metrics(read, values, labels, masks if opened.has_masks else None)
    whole = metrics.aupro(masks, read, fpr_limit=1.0) if opened.has_masks else np.nan
    limited = next(row for row in rows if row["metric"] == "aupro")  # undefined where it is
    return [
        *rows,
        limited | {"metric": "aupro_1.0", "definition": "MVTec, no limit", "value": whole},
    ]


def _read_all(maps: Path, opened: Category) -> list[Maps]:
    return list(read_maps(maps, opened.path.name, [sample.name for sample in opened.test]))


def _mask_like(sample: Sample, anomaly_map: Maps) -> NDArray[np.bool_]:
    if sample.mask_path is None:
        return np.zeros(anomaly_map.shape, bool)
    mask = read_mask_for(sample)
    height, width = anomaly_map.shape
    if mask.shape == anomaly_map.shape:
        return mask
    if height != width:
        raise DatasetError(
            f"the map of {sample.name} has {anomaly_map.shape}, its mask {mask.shape}: "
            "expected the same shape, or a square map"
        )
    return read_mask(sample.mask_path, width)


@dataclass(frozen=True)
class Stored:
    """A run of external maps, and how near what is kept is to what came.

    Args:
        run: the stored one.
        full_size: metrics of the maps as they came, fraction by name.
    """

    run: Run
    full_size: dict[str, float]


def store_maps(
    maps: Path,
    data: Path,
    category: str,
    method: str,
    *,
    results: Path,
    dataset: str = "",
    meta: Mapping[str, Any] | None = None,
    side: int = 128,
    on_progress: OnCount | None = None,
) -> Stored:
    """Measure maps of another program and store them as a run, which every page shows as external.

    The maps are kept as codes of 12 to 16 bits at `side` pixels, and the run's metrics are those of
    what is kept, so that they can be verified; the image scores are the maxima of the maps as they
    came. Maps are shifted so that the least value is 0, which changes no ranking.

    Args:
        maps: folder or .npz file; see `map_files`.
        data: folder of categories.
        category: one of them, whose test images the maps are of.
        method: its name, as the pages show it.
        results: folder of results.
        dataset: name to store it under, by default the folder's.
        meta: see `checked_meta`.
        side: one of `SIDES`.
        on_progress: called with a stage, what is done and what there is.

    Raises:
        DatasetError: a missing, unreadable or wrongly shaped map; the message names it.
        ValueError: a name or metadata that is refused, or a run of that id with other metrics.
        OSError: `results` cannot be written; nothing half-written stays.
    """
    started = time.monotonic()
    told = checked_meta(meta or {})
    name = checked_name(method)
    if side not in SIDES:
        raise ValueError(f"maps are stored at one of {SIDES} px a side; got {side}")
    opened = open_category(data, category)
    if not opened.test:
        raise DatasetError(without_test(opened))
    read = _read_all(maps, opened)
    labels = np.array([sample.label for sample in opened.test])
    masks = read_masks(list(opened.test), _SIZE_PX) if opened.has_masks else None
    least = min(float(one.min()) for one in read)
    peaks = np.array([float(one.max()) - least for one in read], np.float32)
    small = np.stack([resized(one - least, side) for one in read])
    scoring = Scoring(layers=(1,), sigma_px=0.0, score="image")
    found = {IMAGE: peaks[:, None, None], 1: small}
    kept, bits = rounded(found, scoring, _SIZE_PX, labels, masks)
    rows = metric_grid(kept, labels, masks, scoring, _SIZE_PX, _counted(on_progress))
    shown = anomaly_maps(kept, scoring, _SIZE_PX)
    image_scores = kept[IMAGE][:, 0, 0].astype(np.float64)
    pixels = None if masks is None else metrics.pixel_statistics(masks, shown)
    identity = {
        "method": name,
        "dataset": dataset or data.resolve().name,
        "category": category,
        "backbone": told.get("backbone", NO_BACKBONE),
        "size_px": _SIZE_PX,
        "seed": told.get("seed", 0),
        "config": {"external": True, "maps_sha256": _digest(read), **told},
        "scoring": {"layers": "1", "fusion": "sum", "sigma_px": 0.0, "score": "image"},
        "teacher_sha256": "",
    }
    test = EvaluationSet(list(opened.test), labels, masks, ())
    record = identity | {
        "run_id": run_id(identity),
        "n_test_images": len(test.samples),
        "skipped": [],
        "n_test_defects": int(labels.sum()),
        "teacher_file": "",
        "engine": "another program",
        "threshold": None,
        "threshold_note": "none: the maps come from another program",
        "seconds": round(time.monotonic() - started, 2),
        "training": {},
    }
    table = with_intervals(pd.DataFrame(rows), identity["scoring"], labels, image_scores, pixels)
    run = write_run(
        results, record | host_record(), table, image_table(test, image_scores),
        curve_points(labels, image_scores, masks, shown), kept, None, pixels, bits=bits,
    )  # fmt: skip
    whole = category_metrics(
        read,
        peaks.astype(np.float64),
        labels,
        [_mask_like(s, m) for s, m in zip(opened.test, read, strict=True)] if masks is not None
        else None,
    )  # fmt: skip
    return Stored(run, {str(row["metric"]): float(row["value"]) for row in whole})


def checked_name(method: str) -> str:
    """Return a method's name as runs have it; one of this project's own is refused.

    >>> checked_name("My method")
    'My_method'
    >>> checked_name("PaDiM")
    Traceback (most recent call last):
    ValueError: 'PaDiM' is a method of this project: name yours otherwise, e.g. 'PaDiM 2'

    Raises:
        ValueError: such a name, or one with other signs than letters, digits and .+-_.
    """
    if not _NAME.fullmatch(method):
        raise ValueError(
            "expected a method's name of at most 40 letters, digits, spaces and .+-_; got "
            f"{method!r}"
        )
    own = {text.casefold() for key, entry in METHODS.items() for text in (key, entry.title)}
    if method.casefold().replace(" ", "_") in own or method.casefold() in own:
        raise ValueError(
            f"{method!r} is a method of this project: name yours otherwise, e.g. '{method} 2'"
        )
    return method.replace(" ", "_")


def checked_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata of another program's maps.

    >>> checked_meta({"backbone": "vit_b", "seed": 1})
    {'backbone': 'vit_b', 'seed': 1}

    Raises:
        ValueError: another key than backbone, seed, source and note, a value of another kind, or a
            text of more than 200 signs.
    """
    for key, value in meta.items():
        if key not in _META:
            raise ValueError(f"metadata may hold {', '.join(_META)}; got {key!r}")
        if not isinstance(value, _META[key]) or isinstance(value, bool):
            raise ValueError(f"metadata: {key} must be {_META[key].__name__}; got {value!r}")
        if isinstance(value, str) and not 0 < len(value) <= 200:
            raise ValueError(f"metadata: {key} must have 1 to 200 signs")
    return dict(meta)


def _counted(on_progress: OnCount | None) -> Any:
    return lambda done, total: on_progress("metrics", done, total) if on_progress else None


def _digest(read: list[Maps]) -> str:
    digest = hashlib.sha256()
    for one in read:
        digest.update(np.ascontiguousarray(one, "<f4").tobytes())
    return digest.hexdigest()
