"""Time what the engines of a sweep add to its cells: 200 cells that sleep a second, two at once."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from host import IS_QUICK, write

from rd4ad.config import TrainingConfig
from rd4ad.sweeps.grid import Cell
from rd4ad.sweeps.ray_engine import Demand, on_ray
from rd4ad.sweeps.tasks import Outcome, Study, Task, run_locally

N_CELLS, N_WORKERS, CELL_SECONDS = 20 if IS_QUICK else 200, 2, 1.0
RAY_NICENESS = "RAY_worker_niceness"


def rest(task: Task, study: Study) -> Outcome:
    """Do nothing for the time of a cell."""
    time.sleep(CELL_SECONDS)
    return Outcome(task, "done", seconds=CELL_SECONDS)


def timed(name: str, began: float, outcomes: Iterator[Outcome]) -> dict[str, Any]:
    """Return the seconds until the first cells end, start-up included, and those of the rest."""
    ends = [time.perf_counter() for outcome in outcomes if outcome.state == "done"]
    assert len(ends) == N_CELLS
    up = ends[N_WORKERS - 1] - began - CELL_SECONDS  # the first cell of every worker
    taken, ideal = ends[-1] - began - up, N_CELLS * CELL_SECONDS / N_WORKERS
    return {
        "engine": name,
        "cells": N_CELLS,
        "workers": N_WORKERS,
        "ideal_s": ideal,
        "after_start_s": round(taken, 2),
        "over_ideal": f"{taken / ideal - 1:.1%}",
        "start_s": round(up, 2),
    }


def main() -> None:
    """Measure and write results/bench/cluster.json."""
    config = TrainingConfig(backbone="compact", holdout=0)
    tasks = [Task(f"cell-{number}", Cell("none", config)) for number in range(N_CELLS)]
    os.environ[RAY_NICENESS] = "0"  # as the local engine's workers have it
    with tempfile.TemporaryDirectory() as folder:
        study = Study(data=Path(folder), results=Path(folder), dataset="none")
        began = time.perf_counter()
        rows = [timed("local", began, run_locally(tasks, study, N_WORKERS, rest))]
        demand, began = Demand(memory_mib=500, at_once=N_WORKERS), time.perf_counter()
        rows.append(timed("ray", began, on_ray(tasks, study, "local", demand, rest)))
    note = (
        f"What an engine adds to {N_CELLS} cells of {CELL_SECONDS:g} s that only sleep, "
        f"{N_WORKERS} at once. Start-up, which is until the first cells begin, is distinguished: "
        "worker processes import torch, and Ray starts a cluster on this host."
    )
    write("cluster", rows, [], note)
    if IS_QUICK:
        print(*rows, sep="\n")


if __name__ == "__main__":
    sys.exit(main())
