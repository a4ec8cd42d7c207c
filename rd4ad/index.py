"""One table of all stored runs: `results`/index.parquet, which the pages read.

Run folders that cannot be read are named with the reason and left out; they stop nothing.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rd4ad.checkpoint import replace_file
from rd4ad.store import METRIC_COLUMNS, Run, named, read_run, with_columns

INDEX_KEYS = ("run_id", "method", "dataset", "category", "backbone", "size_px", "seed")
INDEX_COLUMNS = (*INDEX_KEYS, "epochs", *METRIC_COLUMNS, "is_default")


@dataclass(frozen=True)
class BrokenRun:
    """A run folder that cannot be read, and why."""

    path: Path
    reason: str


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
    folder = results / "runs"
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or not path.is_dir():
            continue  # a run that is being written
        try:
            runs.append(read_run(path))
        except ValueError as error:
            broken.append(BrokenRun(path, str(error)))
    return runs, broken


def rebuild_index(results: Path) -> tuple[pd.DataFrame, list[BrokenRun]]:
    """Write `results`/index.parquet from the run folders; return it and the runs left out.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     index, broken = rebuild_index(Path(folder))
    ...     read_index(Path(folder)).columns.equals(index.columns)
    True

    Every file of every run is read whole, so that damage anywhere in it is found.

    Raises:
        FileNotFoundError: no folder `results`.
    """
    if not results.is_dir():
        raise FileNotFoundError(
            f"expected a folder of results at {results}: `rd4ad evaluate` stores runs in one"
        )
    runs, broken = scan_runs(results)
    tables = []
    for run in runs:
        try:
            run.check()
        except ValueError as error:
            broken.append(BrokenRun(run.path, str(error)))
        else:
            tables.append(_rows(run))
    index = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=INDEX_COLUMNS)
    index = with_columns(index, INDEX_COLUMNS)
    replace_file(results / "index.parquet", lambda beside: index.to_parquet(beside, index=False))
    return index, sorted(broken, key=lambda run: run.path)


def _rows(run: Run) -> pd.DataFrame:
    keys = {key: run.record[key] for key in INDEX_KEYS}
    epochs = run.record["config"].get("epochs", float("nan"))  # a method may have none
    return run.metrics.assign(**keys, epochs=float(epochs))


def read_index(results: Path) -> pd.DataFrame:
    """Return the index of all runs' figures; `rebuild_index` shows it at work.

    Raises:
        FileNotFoundError: there is none yet; the message says which command writes it.
        ValueError: it is damaged, or of another version.
    """
    path = results / "index.parquet"
    if not path.is_file():
        raise FileNotFoundError(f"no index at {path}: write it with `rd4ad results index`")
    try:
        with named(path):
            return with_columns(pd.read_parquet(path), INDEX_COLUMNS)
    except ValueError as error:
        raise ValueError(f"{error}; write it anew with `rd4ad results index`") from error
