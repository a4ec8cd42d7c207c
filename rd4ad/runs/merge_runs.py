"""Bring the runs of several folders of results together in one."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rd4ad.runs.index import BrokenRun, scan_runs
from rd4ad.runs.run import Run
from rd4ad.runs.store import read_run


@dataclass
class Merged:
    """What became of the runs.

    Args:
        added: copied into the target.
        identical: ids that were there already, with the same metrics.
        refused: (source, target) of one id with other metrics; the target's stays.
        broken: folders that cannot be read.
    """

    added: list[str] = field(default_factory=list)
    identical: list[str] = field(default_factory=list)
    refused: list[tuple[Path, Path]] = field(default_factory=list)
    broken: list[BrokenRun] = field(default_factory=list)


def merge(sources: Sequence[Path], into: Path) -> Merged:
    """Copy the runs of folders of results into another one; a run appears whole or not at all.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     merge([Path("results/published")], Path(folder)).added
    []

    Args:
        sources: folders of results; what is in none of them stays.
        into: folder of results; made where it is not there.

    Raises:
        FileNotFoundError: a source is no folder.
        OSError: `into` cannot be written; the run at hand is not there then.
    """
    merged = Merged()
    for source in sources:
        if not source.is_dir():
            raise FileNotFoundError(f"no folder of results at {source}")
        runs, broken = scan_runs(source)
        merged.broken += broken
        for run in runs:
            _bring(run, into / "runs" / run.path.name, merged)
    return merged


def _bring(run: Run, target: Path, merged: Merged) -> None:
    try:
        run.check()
        there = read_run(target) if target.exists() else None
    except ValueError as error:
        merged.broken.append(BrokenRun(run.path, str(error)))
        return
    if there is None:
        _copy(run.path, target)
        merged.added.append(target.name)
    elif _has_metrics_of(there, run):
        merged.identical.append(target.name)
    else:
        merged.refused.append((run.path, target))


def _has_metrics_of(one: Run, other: Run) -> bool:
    a, b = one.metrics["value"].to_numpy(), other.metrics["value"].to_numpy()
    return a.shape == b.shape and np.allclose(a, b, atol=1e-6, equal_nan=True)


def _copy(source: Path, target: Path) -> None:
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        shutil.copytree(source, beside)
        beside.replace(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
