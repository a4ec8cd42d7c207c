"""The engine that runs a sweep's tasks on a Ray cluster, one Ray task a cell.

Ray is an optional extra and imported only inside. What a task leaves lies in the study's results,
so every node must reach these: a path that all nodes share, or a URL. Weights and checkpoints are
paths that exist on every node, and so does this package, in the same version.
"""

import os
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rd4ad.data.object_store import Place
from rd4ad.sweeps.tasks import Outcome, Study, Task, Work, record_lost_worker, run_task

CONNECT_SECONDS = 30
N_TRIES = 4  # of a cell whose node or worker is lost
# A cell waits for its lock: workers of a driver that was killed live on for a moment, and a node
# that vanished keeps its locks on NFS for 90 s.
LOCK_SECONDS, LOCK_SECONDS_AGAIN = 10.0, 100.0


class ClusterError(ConnectionError):
    """No cluster is there, or none that can run these cells; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What a cell takes of a node, beside the CPUs, which are its threads.

    Args:
        gpus: a share of one, or several.
        memory_mib: of main memory; Ray counts it and does not enforce it.
        at_once: most cells at once; None for as many as the cluster holds.
    """

    gpus: float = 0.0
    memory_mib: int = 3000
    at_once: int | None = None


def on_ray(
    tasks: Sequence[Task],
    study: Study,
    address: str,
    demand: Demand | None = None,
    work: Work = run_task,
) -> Iterator[Outcome]:
    """Run tasks on a Ray cluster, and yield how each ended as it ends.

    A task whose node or worker is lost is given to another, `N_TRIES` times in all. Ray's own
    retries are off, since a repeated task must wait longer for the lock of the one that was lost.
    While no node is left, tasks wait for one.

    Args:
        tasks, study: what is done; paths are those of every node.
        address: "auto" for the cluster that this machine is part of, "local" for one that lives as
            long as the sweep, or the HOST:PORT of a cluster's head.
        demand: what a cell takes.
        work: what a worker does with a task.

    Raises:
        ClusterError: Ray is not installed, no cluster answers within `CONNECT_SECONDS`, or no node
            of it is large enough for a cell.
    """
    demand = demand or Demand()
    ray = _connected(address)
    try:
        _check_fits(ray.nodes(), study.n_threads, demand)
        run = ray.remote(work).options(
            num_cpus=study.n_threads, num_gpus=demand.gpus,
            memory=demand.memory_mib * 2**20, max_retries=0,
        )  # fmt: skip
        yield from _outcomes(ray, run, tasks, _absolute(study), demand.at_once or len(tasks))
    finally:
        ray.shutdown()  # what is still at work is stopped with it


def _outcomes(
    ray: Any, run: Any, tasks: Sequence[Task], study: Study, at_once: int
) -> Iterator[Outcome]:
    first = replace(study, lock_seconds=LOCK_SECONDS)
    again = replace(study, lock_seconds=LOCK_SECONDS_AGAIN)
    waiting, running, tries = deque(tasks), dict[Any, Task](), Counter[str]()
    while waiting or running:
        while waiting and len(running) < at_once:
            task = waiting.popleft()
            running[run.remote(task, again if tries[task.run_id] else first)] = task
            tries[task.run_id] += 1
        (ended,), _ = ray.wait(list(running), num_returns=1)
        task = running.pop(ended)
        try:
            yield ray.get(ended)
        except ray.exceptions.RayTaskError as error:  # the node lacks this package, say
            yield record_lost_worker(task, study, f"{type(error.cause).__name__}: {error.cause}")
        except ray.exceptions.RayError as error:
            if tries[task.run_id] < N_TRIES:
                waiting.appendleft(task)
                continue
            reason = str(error).splitlines()[0]
            yield record_lost_worker(
                task, study, f"{N_TRIES} workers were lost with it, the last: {reason}"
            )


def _connected(address: str) -> Any:
    # Ray would tell its makers of a cluster that it starts.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ClusterError("this takes Ray: pip install '.[cluster]'") from error
    if address != "local":
        _check_answers(address)
    ray.init(address=address, include_dashboard=None if address != "local" else False,
             log_to_driver=False, logging_level="warning")  # fmt: skip
    return ray


def _check_answers(address: str) -> None:
    """Connect in a process of its own: where nothing answers, Ray waits for minutes, then exits."""
    code = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False)"
    hint = "start one by `ray start --head`, or name its head as --address HOST:PORT"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, address],
            capture_output=True, text=True, timeout=CONNECT_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        text = f"no Ray cluster answers at {address} within {CONNECT_SECONDS} seconds: {hint}"
        raise ClusterError(text) from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise ClusterError(f"no Ray cluster at {address} ({reason}): {hint}")


def _check_fits(nodes: Sequence[dict[str, Any]], n_cpus: int, demand: Demand) -> None:
    """Refuse what no node can hold: Ray would let it wait for ever."""
    needed = {"CPU": n_cpus, "GPU": demand.gpus, "memory": demand.memory_mib * 2**20}
    held = [node["Resources"] for node in nodes if node["Alive"]]
    if not any(all(node.get(k, 0) >= n for k, n in needed.items()) for node in held):
        raise ClusterError(
            f"no node of the cluster has {n_cpus} CPUs, {demand.gpus:g} GPUs and "
            f"{demand.memory_mib} MiB, which a cell takes: ask for less, or add a node"
        )


def _absolute(study: Study) -> Study:
    """Return the study with paths that hold in any working directory."""
    return replace(
        study,
        data=_absolute_path(study.data),
        results=_absolute_path(study.results),
        weights=study.weights and study.weights.absolute(),
        checkpoints=study.checkpoints and study.checkpoints.absolute(),
    )


def _absolute_path(place: Place) -> Place:
    return place.absolute() if isinstance(place, Path) else place
