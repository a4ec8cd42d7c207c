"""results/grids/short.yaml on two Ray nodes of one CPU, one of which is killed half-way.

    python benchmarks/lost_node.py       on generated parts, with the compact teacher
    RD4AD_DATA=... RD4AD_WEIGHTS=... python benchmarks/lost_node.py       as the grid says

Ideal is that two nodes share the cells without a gap until the loss and one does the rest. What is
over it: start of the workers, gaps, and what the killed node had done of its cell.
"""

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster import RAY_NICENESS
from host import write

from rd4ad.data.parts import write_parts
from rd4ad.runs.index import scan_runs
from rd4ad.sweeps.grid import Cell, read_grid
from rd4ad.sweeps.ray_engine import Demand, on_ray
from rd4ad.sweeps.tasks import Study, Task, plan_tasks

GRID = Path(__file__).resolve().parents[1] / "results/grids/short.yaml"
NODE = {"object_store_memory": 80 * 2**20, "memory": 6 * 2**30}
N_NORMAL = 40  # generated images a category


def planned(home: Path) -> tuple[list[Task], Study, str]:
    """Return the grid's tasks, what they have in common, and on what they run."""
    cells: tuple[Cell, ...] = read_grid(GRID).cells
    results, real = home / "results", os.environ.get("RD4AD_DATA")
    if real:
        study = Study(data=Path(real), results=results, dataset="MVTec AD")
        return plan_tasks(cells, study), study, "MVTec AD, as the grid says"
    parts = home / "parts"
    write_parts(parts, categories=("transistor", "bottle"), n_train=N_NORMAL, n_good=4,
                n_per_defect=1)  # fmt: skip
    cells = tuple(Cell(cell.category, replace(cell.config, backbone="compact")) for cell in cells)
    study = Study(data=parts, results=results, dataset="Generated parts")
    said = f"{N_NORMAL} generated images a category, compact teacher"
    return plan_tasks(cells, study), study, said


def main() -> None:
    """Write results/bench/lost_node.json."""
    from ray.cluster_utils import Cluster

    os.environ[RAY_NICENESS] = "0"
    with tempfile.TemporaryDirectory() as folder:
        tasks, study, said = planned(Path(folder))
        head = {**NODE, "num_cpus": 0, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        doomed, _ = (cluster.add_node(num_cpus=1, **NODE) for _ in range(2))
        cluster.wait_for_nodes(timeout=60)
        began, ends = time.perf_counter(), []
        seconds: list[float] = []
        lost_at = 0.0
        for outcome in on_ray(tasks, study, cluster.address, Demand(memory_mib=1000)):
            assert outcome.state == "done", outcome.reason
            ends.append(time.perf_counter() - began)
            seconds.append(outcome.seconds)
            if len(ends) == len(tasks) // 2:
                cluster.remove_node(doomed, allow_graceful=False)
                lost_at = time.perf_counter() - began
        cluster.shutdown()
        runs, broken = scan_runs(study.folder)
    assert not broken
    assert len(runs) == len(tasks), "every cell once"
    before, after = sum(seconds[: len(tasks) // 2]), sum(seconds[len(tasks) // 2 :])
    row: dict[str, Any] = {
        "cells": len(tasks),
        "runs_stored": len(runs),
        "lost_after_s": round(lost_at, 1),
        "before_over_ideal": f"{lost_at / (before / 2) - 1:.1%}",
        "rest_s": round(ends[-1] - lost_at, 1),
        "rest_over_ideal": f"{(ends[-1] - lost_at) / after - 1:.1%}",
        "lost_and_waited_s": round(ends[-1] - lost_at - after, 1),
    }
    first, _, ideal = (__doc__ or "").split("\n\n")
    write("lost_node", [row], [], f"{first} {' '.join(ideal.split())} Here: {said}.")


if __name__ == "__main__":
    main()
