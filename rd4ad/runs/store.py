"""Read and write results/: one folder a measured run, and one index of them all.

    results/runs/<run_id>/run.json          what was measured, how, where (see `RECORD_KEYS`)
                          metrics.csv       every metric under every scoring (see `METRIC_COLUMNS`)
                          images.parquet    one row a test image (see `IMAGE_COLUMNS`)
                          curves.parquet    ROC, PR and PRO points, in 32 bits as they are drawn
                                            (see `CURVE_COLUMNS`)
                          distances.npz     distance maps "layer1".. as codes of 12 to 16 bits,
                                            their lower and upper bytes (2, N, h, w), "scale1"..,
                                            and "masks" where their license lets them be kept
                          statistics.npz    histograms of each image's pixels, from which pixel
                                            metrics of resamples follow; where there were masks
    results/index.parquet                   all metrics of all runs; see `rd4ad.runs.index`

A run is written beside and renamed, so it is whole or not there, and its metrics never change
afterwards; a run of a time before confidence intervals gains them when it is measured again. A run
folder that was damaged by hand is reported with its reason and skipped.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow import parquet

from rd4ad.metrics import PixelStatistics
from rd4ad.runs.packing import to_planes, write_arrays, write_table
from rd4ad.runs.run import (
    CURVE_COLUMNS,
    IMAGE_COLUMNS,
    METRIC_COLUMNS,
    MOST_BITS,
    Run,
    bits_of,
    encode,
    naming_damaged_file,
    own_rows,
    require,
    with_columns,
)

SCHEMA = 1
RECORD_KEYS = (
    "run_id", "method", "dataset", "category", "backbone", "size_px", "seed", "config", "scoring",
    "teacher_sha256", "n_test_images", "commit", "versions", "host_cpu", "seconds", "peak_mib",
)  # fmt: skip
_DRAWN = dict.fromkeys(CURVE_COLUMNS[1:], np.float32)
_FILES = ("run.json", "metrics.csv", "images.parquet", "curves.parquet", "distances.npz")


def run_id(determining: Mapping[str, Any]) -> str:
    """Return the id of a run: a readable start and a hash of all that determines its metrics.

    >>> run_id({"method": "reverse_distillation", "dataset": "mvtec", "category": "bottle",
    ...         "backbone": "resnet18", "size_px": 256, "seed": 0})
    'rd-mvtec-bottle-resnet18-256-s0-aff082a8'
    """
    text = json.dumps(determining, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    words = str(determining["method"]).split("_")
    short = "".join(word[0] for word in words) if len(words) > 1 else words[0]
    parts = [determining[key] for key in ("dataset", "category", "backbone", "size_px")]
    seed = "" if determining.get("seed") is None else f"-s{determining['seed']}"
    readable = "-".join([short, *(re.sub(r"[^A-Za-z0-9_]+", "_", str(part)) for part in parts)])
    return f"{readable}{seed}-{digest}"


def write_run(
    results: Path,
    record: Mapping[str, Any],
    metrics: pd.DataFrame,
    images: pd.DataFrame,
    curves: pd.DataFrame,
    distances: Mapping[int, NDArray[np.floating]],
    masks: NDArray[np.bool_] | None = None,
    statistics: PixelStatistics | None = None,
    *,
    bits: int = MOST_BITS,
) -> Run:
    """Write a run folder below `results`/runs and return the run as read back.

    Writing a run that is there already, with the same metrics, changes nothing; but where it has no
    confidence intervals and these metrics have, it gains them and `statistics`.

    >>> from tempfile import TemporaryDirectory
    >>> scoring = {"layers": "1", "fusion": "sum", "sigma_px": 4.0}
    >>> record = dict.fromkeys(RECORD_KEYS, "") | {"run_id": "rd-parts-nut", "scoring": scoring}
    >>> metric = ("1", "sum", 4.0, "image_auroc", "exact", 0.9, 0.8, 1.0, "")
    >>> metrics = pd.DataFrame([metric], columns=METRIC_COLUMNS)
    >>> images = pd.DataFrame([("test/bent/000.png", "bent", 1, 0.7)], columns=IMAGE_COLUMNS)
    >>> curves = pd.DataFrame([("image_roc", 0.0, 0.0, 0.7)], columns=CURVE_COLUMNS)
    >>> with TemporaryDirectory() as folder:
    ...     record |= {"config": {}, "versions": {}}
    ...     run = write_run(Path(folder), record, metrics, images, curves, {1: np.ones((1, 4, 4))})
    ...     run.images().score.tolist(), run.distances()[1].shape, run.masks()
    ([0.7], (1, 4, 4), None)

    Args:
        results: folder of results.
        record: run.json, with `RECORD_KEYS`.
        metrics: metrics, with `METRIC_COLUMNS`.
        images: one row a test image, with `IMAGE_COLUMNS`.
        curves: points of curves, with `CURVE_COLUMNS`.
        distances: distance maps (N, h, w) by layer.
        masks: (N, S, S), True where defective; only where their license lets them be kept.
        statistics: histograms of the images' pixels, which are metrics and no content.
        bits: of the codes that the finest layer's distance maps are kept as; see `bits_of`.

    Raises:
        ValueError: columns or keys are missing, or the run is there with other metrics.
        OSError: it cannot be written; nothing half-written stays.
    """
    require(record, RECORD_KEYS)
    if not re.fullmatch(r"\w[\w.-]*", str(record["run_id"]), re.ASCII):
        raise ValueError(f"{record['run_id']!r} is no run id: expected letters, digits, _ . -")
    target = results / "runs" / str(record["run_id"])
    if target.exists():
        return _same_run(target, with_columns(metrics, METRIC_COLUMNS), statistics)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)  # of a process of the same number that was killed
    beside.mkdir(parents=True)
    try:
        text = json.dumps({"schema": SCHEMA, **record}, indent=1, sort_keys=True, allow_nan=False)
        (beside / "run.json").write_text(text + "\n")
        with_columns(metrics, METRIC_COLUMNS).to_csv(beside / "metrics.csv", index=False)
        write_table(beside / "images.parquet", with_columns(images, IMAGE_COLUMNS))
        points = with_columns(curves, CURVE_COLUMNS).astype(_DRAWN)
        write_table(beside / "curves.parquet", points)
        arrays: dict[str, Any] = {} if masks is None else {"masks": masks}
        each = bits_of(distances, bits)
        for layer, stack in distances.items():
            codes, arrays[f"scale{layer}"] = encode(stack, each[layer])
            arrays[f"layer{layer}"] = to_planes(codes)
        write_arrays(beside / "distances.npz", arrays)
        if statistics is not None:
            _write_statistics(beside, statistics)
        beside.replace(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return read_run(target)


def _write_statistics(folder: Path, statistics: PixelStatistics) -> None:
    with _replacing(folder / "statistics.npz") as beside:
        write_arrays(beside, asdict(statistics))


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Yield a file to write beside `target`, which replaces it once it is whole."""
    beside = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        yield beside
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _same_run(target: Path, metrics: pd.DataFrame, statistics: PixelStatistics | None) -> Run:
    try:
        run = read_run(target)
    except ValueError as error:
        raise ValueError(f"{error}; move {target} away to measure it again") from error
    there, new = run.metrics["value"].to_numpy(), metrics["value"].to_numpy()
    if there.shape != new.shape or not np.allclose(there, new, atol=1e-6, equal_nan=True):
        raise ValueError(
            f"{target} is there with other metrics: a run never changes; move it away if it should"
        )
    intervals = ["ci_low", "ci_high"]
    if run.metrics[intervals].notna().any(axis=None) or metrics[intervals].isna().all(axis=None):
        return run
    if statistics is not None:
        _write_statistics(target, statistics)
    both = run.metrics[list(METRIC_COLUMNS)].assign(**{k: metrics[k].to_numpy() for k in intervals})
    with _replacing(target / "metrics.csv") as beside:  # last: now the run has its intervals
        both.to_csv(beside, index=False)
    return read_run(target)


def read_run(path: Path) -> Run:
    """Return the run in the folder `path`.

    Tables and distance maps are looked at, not read; `Run.check` reads them.

    >>> read_run(Path("results/runs/none"))
    Traceback (most recent call last):
    ValueError: results/runs/none/run.json is missing

    Raises:
        ValueError: a file is missing, damaged, or of a newer schema; the message names it.
    """
    for name in _FILES:
        if not (path / name).is_file():
            raise ValueError(f"{path / name} is missing")
    with naming_damaged_file(path / "run.json"):
        record = _checked_record(json.loads((path / "run.json").read_text()), path.name)
    with naming_damaged_file(path / "metrics.csv"):
        metrics = with_columns(_read_metrics(path / "metrics.csv"), METRIC_COLUMNS)
    for name, columns in (("images.parquet", IMAGE_COLUMNS), ("curves.parquet", CURVE_COLUMNS)):
        with naming_damaged_file(path / name):
            require(parquet.read_schema(path / name).names, columns)
    with naming_damaged_file(path / "distances.npz"), ZipFile(path / "distances.npz") as archive:
        archive.namelist()
    if (path / "statistics.npz").exists():
        with (
            naming_damaged_file(path / "statistics.npz"),
            ZipFile(path / "statistics.npz") as archive,
        ):
            archive.namelist()
    return Run(path, record, metrics.assign(is_default=own_rows(metrics, record["scoring"])))


def _checked_record(record: Any, folder: str) -> dict[str, Any]:
    if not isinstance(record, dict) or not isinstance(record.get("schema"), int):
        raise ValueError("expected an object with an integer `schema`")
    if record["schema"] > SCHEMA:
        raise ValueError(f"schema {record['schema']} is newer than {SCHEMA}: update rd4ad")
    require(record, RECORD_KEYS)
    if record["run_id"] != folder:
        raise ValueError(
            f"it is of {record['run_id']!r}: a run folder has its run's id as its name"
        )
    for key in ("scoring", "config", "versions"):
        if not isinstance(record[key], dict):
            raise ValueError(f"expected `{key}` to be an object")
    require(record["scoring"], ("layers", "fusion", "sigma_px"))
    return record


def _read_metrics(path: Path) -> pd.DataFrame:
    numbers = ("smoothing", "value", "ci_low", "ci_high")
    return pd.read_csv(
        path,
        keep_default_na=False,
        na_values={number: [""] for number in numbers},
        dtype=dict.fromkeys(METRIC_COLUMNS, str) | dict.fromkeys(numbers, float),
    )
