"""One table of all stored runs, `results`/index.parquet, which the pages read.

One row a run and scoring: what identifies the run, layers, fusion and smoothing, and every metric
in a column of its own, beside the ends of its interval where it has one. The rows at the runs' own
scoring come first, the others behind them by category, so that a reader who wants either skips the
rest of the file.

Run folders that cannot be read are named with the reason and left out; they stop nothing.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute, parquet

from rd4ad.catalogue import METHODS
from rd4ad.config import TrainingConfig
from rd4ad.inference.checkpoint import replace_file
from rd4ad.metrics.category import DEFINITIONS
from rd4ad.runs.run import Run, naming_damaged_file
from rd4ad.runs.store import read_run
from rd4ad.scoring import layers_name

_KEYS = ("run_id", "method", "dataset", "category", "backbone")
_SCORING = ("layers", "fusion", "smoothing")
_ENDS = tuple(f"{metric}_{end}" for metric in DEFINITIONS for end in ("ci_low", "ci_high"))
SCHEMA = pa.schema(
    {key: pa.string() for key in _KEYS}
    | {"size_px": pa.int64(), "seed": pa.int64(), "epochs": pa.float64(), "variant": pa.string()}
    | {"layers": pa.string(), "fusion": pa.string(), "smoothing": pa.float64()}
    | {"is_default": pa.bool_()}
    | {name: pa.float64() for name in (*DEFINITIONS, *_ENDS)}
)
_ORDER = [
    ("is_default", "descending"),
    *((name, "ascending") for name in ("dataset", "category", "method", "run_id", *_SCORING)),
]
_ROWS_TOGETHER = 16_384  # a reader of one category takes this many more at most
_BROKEN = b"rd4ad.broken"
_VARIANT: dict[str, Callable[[Any], str]] = {
    "layers": lambda value: f"trained on layers {layers_name(value)}",
    "batch_size": "batches of {}".format,
    "learning_rate": "learning rate {:g}".format,
    "loss": lambda value: f"{value} loss".replace("_", " "),
    "precision": str,
    "holdout": "{:g} held out".format,
}


@dataclass(frozen=True)
class BrokenRun:
    """A run folder that cannot be read, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Indexed:
    """What an update of the index found.

    Args:
        n_runs: listed now.
        n_read: of them, read this time; the others were listed before and have not changed.
        broken: left out.
    """

    n_runs: int
    n_read: int
    broken: tuple[BrokenRun, ...]


def run_folders(results: Path) -> list[str]:
    """Return the names of the folders below `results`/runs, sorted; those in the making left out.

    >>> run_folders(Path("results/published"))
    []
    """
    folder = results / "runs"
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path.name for path in found if path.is_dir() and not path.name.startswith("."))


def scan_runs(results: Path) -> tuple[list[Run], list[BrokenRun]]:
    """Return the complete runs below `results`/runs and the broken ones, each sorted by name.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     (Path(folder) / "runs" / "rd-nut").mkdir(parents=True)
    ...     runs, broken = scan_runs(Path(folder))
    >>> runs, broken[0].path.name, broken[0].reason.rpartition("/")[2]
    ([], 'rd-nut', 'run.json is missing')
    """
    runs, broken = [], []
    for name in run_folders(results):
        path = results / "runs" / name
        try:
            runs.append(read_run(path))
        except ValueError as error:
            broken.append(BrokenRun(path, str(error)))
    return runs, broken


def update_index(results: Path, *, again: bool = False) -> Indexed:
    """Bring `results`/index.parquet up to the run folders, and say what was found.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     update_index(Path(folder)), len(read_index(Path(folder)))
    (Indexed(n_runs=0, n_read=0, broken=()), 0)

    Every file of a run is read whole, so that damage anywhere in it is found; but a run that is
    listed and whose folder has not changed since is not read again.

    Args:
        results: folder of results.
        again: read every run again.

    Raises:
        FileNotFoundError: no folder `results`.
    """
    if not results.is_dir():
        raise FileNotFoundError(
            f"expected a folder of results at {results}: `rd4ad evaluate` stores runs in one"
        )
    before = None if again else _before(results)
    names = run_folders(results)
    kept = set() if before is None else _unchanged(results, names, before)
    tables, broken = [SCHEMA.empty_table()], []
    if before is not None:
        tables.append(before.filter(compute.is_in(before["run_id"], pa.array(kept, pa.string()))))
    for name in sorted(set(names) - kept):
        path = results / "runs" / name
        try:
            run = read_run(path)
            run.check()
            tables.append(pa.Table.from_pandas(rows_of(run), SCHEMA, preserve_index=False))
        except ValueError as error:
            broken.append(BrokenRun(path, str(error)))
    write_index(results, pa.concat_tables(tables), broken)
    return Indexed(len(names) - len(broken), len(names) - len(broken) - len(kept), tuple(broken))


def _before(results: Path) -> pa.Table | None:
    try:
        return _read(results / "index.parquet")
    except (FileNotFoundError, ValueError):
        return None  # missing, damaged or of another version: it is written again


def _unchanged(results: Path, names: Sequence[str], before: pa.Table) -> set[str]:
    written = (results / "index.parquet").stat().st_mtime_ns
    listed = set(before["run_id"].unique().to_pylist())
    folder = results / "runs"
    return {n for n in names if n in listed and (folder / n).stat().st_mtime_ns < written}


def rows_of(run: Run) -> pd.DataFrame:
    """Return the rows of the index that a run gives, one a scoring."""
    keys = [*_SCORING, "is_default"]
    wide = run.metrics.pivot(index=keys, columns="metric", values=["value", "ci_low", "ci_high"])
    wide.columns = wide.columns.map(lambda key: key[1] + f"_{key[0]}".removesuffix("_value"))
    wide = wide.reindex(columns=[*DEFINITIONS, *_ENDS]).reset_index()
    record = {key: run.record[key] for key in (*_KEYS, "size_px", "seed")}
    epochs = float(run.record["config"].get("epochs", np.nan))  # a method may have none
    return wide.assign(**record, epochs=epochs, variant=variant(run.record))[SCHEMA.names]


def variant(record: dict[str, Any]) -> str:
    """Return what sets a run's training apart that has no column of its own; empty where usual.

    Usual is the method's default, on all normal images.

    >>> config = {"precision": "bfloat16", "holdout": 0.1, "batch_size": 16}
    >>> variant({"method": "reverse_distillation", "config": config})
    'bfloat16, 0.1 held out'
    """
    method, config = record["method"], record["config"]
    if method not in METHODS or "normalisation" in config:  # novelty: a protocol of its own
        return ""
    usual = asdict(TrainingConfig(method=method, holdout=0.0))
    own = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items() if k in _VARIANT}
    said = [words(own[k]) for k, words in _VARIANT.items() if k in own and own[k] != usual[k]]
    if "categories" in config:
        said.insert(0, f"multi-class of {len(config['categories'])}")
    stop = config.get("stop", {})
    said += [f"{k.replace('_', ' ')} {v:g}" for k, v in stop.items() if v is not None]
    return ", ".join(said)


def write_index(results: Path, rows: pa.Table, broken: Sequence[BrokenRun] = ()) -> None:
    """Write `results`/index.parquet whole or not at all.

    Args:
        results: folder of results.
        rows: of `SCHEMA`, in any order.
        broken: runs left out, which the pages name.
    """
    told = json.dumps({run.path.name: run.reason for run in broken}).encode()
    table = rows.sort_by(_ORDER).replace_schema_metadata({_BROKEN: told})
    replace_file(
        results / "index.parquet",
        lambda beside: parquet.write_table(
            table, beside, row_group_size=_ROWS_TOGETHER, compression="zstd"
        ),
    )


def read_index(
    results: Path, columns: Sequence[str] | None = None, **wanted: object
) -> pd.DataFrame:
    """Return the index, or what is wanted of it: no more of the file is read than that needs.

    >>> rows = read_index(Path("results"), ["seed"], category="tile", epochs=40, is_default=True)
    >>> rows["seed"].tolist()
    [0]

    Args:
        results: folder of results.
        columns: names of `SCHEMA`; all by default.
        wanted: the value of columns in the rows that are read.

    Raises:
        FileNotFoundError: there is none yet; the message says which command writes it.
        ValueError: it is damaged, or of another version.
    """
    path = results / "index.parquet"
    return _read(path, columns, [(k, "==", v) for k, v in wanted.items()] or None).to_pandas()


def metric_rows(rows: pd.DataFrame, metrics: Iterable[str] = DEFINITIONS) -> pd.DataFrame:
    """Return rows of the index with one row a metric: `metric`, its `definition` and `value`.

    >>> rows = read_index(Path("results"), category="tile", epochs=40, is_default=True)
    >>> metric_rows(rows, ["aupro"])[["metric", "definition"]].values.tolist()
    [['aupro', 'MVTec, limit 0.3']]
    """
    about = [name for name in SCHEMA.names if name not in (*DEFINITIONS, *_ENDS)]
    found = rows.melt(about, list(metrics), var_name="metric")
    return found.assign(definition=found["metric"].map(DEFINITIONS))


def broken_runs(results: Path) -> dict[str, str]:
    """Return the names of the runs that the index left out, and why.

    >>> broken_runs(Path("results"))
    {}

    Raises:
        FileNotFoundError, ValueError: as `read_index`.
    """
    path = _found(results / "index.parquet")
    with naming_damaged_file(path):
        told = parquet.read_schema(path).metadata or {}
        broken: dict[str, str] = json.loads(told.get(_BROKEN, b"{}"))
    return broken


def _read(path: Path, columns: Sequence[str] | None = None, filters: Any = None) -> pa.Table:
    try:
        with naming_damaged_file(_found(path)):
            lacking = [name for name in SCHEMA.names if name not in parquet.read_schema(path).names]
            if lacking:
                raise ValueError(f"lacking: {', '.join(lacking)}")
            chosen = list(columns or SCHEMA.names)
            return parquet.read_table(path, columns=chosen, filters=filters)
    except ValueError as error:
        raise ValueError(f"{error}; write it again with `rd4ad results index`") from error


def _found(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"no index at {path}: write it with `rd4ad results index`")
    return path
