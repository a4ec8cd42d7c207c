"""Run the cells of a grid, each once and none in the way of the others.

A cell is a training and its evaluation; what it leaves is a run folder, whose name follows from all
that determines it. So a cell is done when that folder is there, whoever wrote it: another sweep of
another grid, another machine with the same folder of results, or `rd4ad evaluate`. Until then it
works in a folder of its own, results/.sweep/<run id>, with its log and the training's state, and
holds a lock beside it, which two sweeps at once respect.
"""

import json
import os
import shutil
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch
from filelock import FileLock, Timeout

from rd4ad.catalogue import NO_BACKBONE
from rd4ad.checkpoint import sha256
from rd4ad.data.folders import open_category, split_holdout
from rd4ad.evaluation import determining, evaluate
from rd4ad.grid import Cell
from rd4ad.methods.backbones import find_weights
from rd4ad.store import run_id
from rd4ad.training import record_of, train

_FAILED, _LOG = "failed.txt", "log.txt"


@dataclass(frozen=True, kw_only=True)
class Study:
    """What the cells of a grid have in common.

    Args:
        data: folder of categories in MVTec layout.
        results: folder of runs.
        dataset: the data set's name in the runs.
        weights: file or folder of teachers' weights; found as in `find_weights` otherwise.
        n_threads: of torch in a cell.
        checkpoints: folder in which every cell's checkpoint is trained and stays; None keeps none.
    """

    data: Path
    results: Path
    dataset: str
    weights: Path | None = None
    n_threads: int = 1
    checkpoints: Path | None = None


@dataclass(frozen=True)
class Task:
    """A cell and the id of the run that it leaves."""

    run_id: str
    cell: Cell

    def place(self, study: Study) -> Path:
        """Return the folder that the cell works in."""
        return study.results / ".sweep" / self.run_id

    def is_done(self, study: Study) -> bool:
        """Return whether its run is there."""
        return (study.results / "runs" / self.run_id / "run.json").is_file()

    def has_failed(self, study: Study) -> bool:
        """Return whether it failed, and has not been tried again."""
        return (self.place(study) / _FAILED).is_file()

    def state(self, study: Study) -> str:
        """Return "done", "failed", "begun" or "new"."""
        if self.is_done(study):
            return "done"
        if self.has_failed(study):
            return "failed"
        return "begun" if self.place(study).is_dir() else "new"


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Args:
        task: which.
        state: "done", "failed", or "elsewhere" where another sweep is at it.
        reason: what it failed with, in a line; empty otherwise.
        seconds: that it took here.
    """

    task: Task
    state: str
    reason: str = ""
    seconds: float = 0.0


def planned(cells: Sequence[Cell], study: Study) -> list[Task]:
    """Return the tasks of cells, each run id once, in order.

    Raises:
        DatasetError: a category that is not there, or has too few normal images.
        FileNotFoundError: a teacher's weights are not here.
    """
    hashes: dict[str, str] = {NO_BACKBONE: ""}
    counts: dict[str, int] = {}
    tasks: dict[str, Task] = {}
    for cell in cells:
        config, backbone = cell.config, str(cell.config.backbone)
        if backbone not in hashes:
            hashes[backbone] = sha256(find_weights(backbone, study.weights))
        if cell.category not in counts:
            counts[cell.category] = len(open_category(study.data, cell.category).train)
        kept, held = split_holdout(counts[cell.category], config.holdout, config.seed)
        record = record_of(config, cell.category, len(kept), len(held), hashes[backbone])
        found = run_id(
            determining(
                config.method, backbone, config.size_px, record | {"skipped": []},
                config.scoring(), hashes[backbone], study.dataset, cell.category,
            )
        )  # fmt: skip
        tasks.setdefault(found, Task(found, cell))
    return list(tasks.values())


def shard(tasks: Sequence[Task], number: int, of: int) -> list[Task]:
    """Return every `of`-th task, from the `number`-th (1 is the first).

    >>> shard([Task(name, None) for name in "abcde"], 2, of=3)
    [Task(run_id='b', cell=None), Task(run_id='e', cell=None)]
    """
    return list(tasks[number - 1 :: of])


def run_task(task: Task, study: Study) -> Outcome:
    """Train and evaluate a cell in this process, going on from where it was stopped.

    What it prints, and what it fails with, goes into files in its folder; nothing is raised.
    """
    place, began = task.place(study), time.monotonic()
    lock = FileLock(place.with_name(f"{place.name}.lock"), timeout=0)
    try:
        with lock:
            if not task.is_done(study):
                place.mkdir(parents=True, exist_ok=True)
                with (place / _LOG).open("a") as log, redirect_stdout(log), redirect_stderr(log):
                    _work(task, study, place)
            shutil.rmtree(place, ignore_errors=True)
            Path(lock.lock_file).unlink(missing_ok=True)  # whoever waits for it finds the run done
    except Timeout:
        return Outcome(task, "elsewhere")
    except Exception as error:  # noqa: BLE001  (a cell that fails stops no other)
        _note_failure(place, traceback.format_exc())
        return Outcome(task, "failed", f"{type(error).__name__}: {error}")
    return Outcome(task, "done", seconds=time.monotonic() - began)


def _note_failure(place: Path, text: str) -> None:
    with suppress(OSError):  # a full disk: the outcome says it all the same
        (place / _FAILED).write_text(text)


def _work(task: Task, study: Study, place: Path) -> None:
    (place / _FAILED).unlink(missing_ok=True)
    torch.set_num_threads(study.n_threads)
    checkpoint = (study.checkpoints or place) / f"{task.run_id}.safetensors"
    category, config = task.cell.category, task.cell.config
    detector = train(study.data, category, config, out=checkpoint, weights=study.weights)
    run = evaluate(detector, study.data, category, dataset=study.dataset, results=study.results)
    if run.record["run_id"] != task.run_id:
        raise RuntimeError(
            f"planned as {task.run_id}, measured as {run.record['run_id']}: the images or weights "
            "have changed since the sweep began"
        )


def locally(tasks: Sequence[Task], study: Study, n_workers: int) -> Iterator[Outcome]:
    """Run tasks in worker processes of this machine, and yield how each ended as it ends.

    A worker that dies takes the task with it that it was at, and no other.
    """
    waiting, running = deque(tasks), dict[Future[Outcome], tuple[int, Task]]()
    pools = {number: _worker() for number in range(min(n_workers, len(tasks)))}
    idle = list(pools)
    try:
        while waiting or running:
            while waiting and idle:
                number, task = idle.pop(), waiting.popleft()
                running[pools[number].submit(run_task, task, study)] = number, task
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                number, task = running.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    outcome = _died(task, study)
                    pools[number] = _worker()
                idle.append(number)
                yield outcome
    finally:
        for pool in pools.values():
            pool.shutdown(cancel_futures=True)


def _worker() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def _died(task: Task, study: Study) -> Outcome:
    reason = "its process was killed, for memory perhaps: try fewer --workers"
    _note_failure(task.place(study), reason + "\n")
    return Outcome(task, "failed", reason)


@dataclass(frozen=True)
class Estimate:
    """What tasks will take, judged by earlier runs of the same method, backbone and size.

    Args:
        seconds: of one worker; of the tasks that are known.
        megabytes: of the run folders; of the tasks that are known.
        n_unknown: tasks of which there is no earlier run.
    """

    seconds: float
    megabytes: float
    n_unknown: int

    def told(self, n_workers: int) -> str:
        """Return it in words.

        >>> Estimate(seconds=7200, megabytes=3.14, n_unknown=2).told(n_workers=2)
        'about 1.0 hours on 2 workers and 3.1 MB by earlier runs, and 2 of which there is none'
        """
        hours = self.seconds / 3600 / n_workers
        told = f"about {hours:.1f} hours on {n_workers} workers and {self.megabytes:.1f} MB"
        more = f", and {self.n_unknown} of which there is none" if self.n_unknown else ""
        return f"{told} by earlier runs{more}"


def estimate(tasks: Sequence[Task], study: Study) -> Estimate:
    """Return what tasks will take; training time is proportional to images and epochs."""
    known: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
    for path in (study.results / "runs").glob("*/run.json"):
        with suppress(ValueError, KeyError, TypeError):  # a damaged run tells nothing
            record = json.loads(path.read_text())
            training = record["training"]
            passes = training["n_images"] * max(training["epochs"] or 0, 1)
            size = sum(file.stat().st_size for file in path.parent.iterdir()) / 1e6
            key = record["method"], record["backbone"], record["size_px"]
            known.setdefault(key, []).append((training["seconds"] / passes, size))
    seconds, megabytes, n_unknown = 0.0, 0.0, 0
    for task in tasks:
        config = task.cell.config
        earlier = known.get((config.method, str(config.backbone), config.size_px))
        if earlier is None:
            n_unknown += 1
            continue
        n_images = len(open_category(study.data, task.cell.category).train)
        passes = n_images * max(config.epochs or 0, 1)
        seconds += median(rate for rate, _ in earlier) * passes
        megabytes += median(size for _, size in earlier)
    return Estimate(seconds, megabytes, n_unknown)


def workers_for(study: Study, mib_each: int = 3000) -> int:
    """Return how many cells fit this machine at once, by its cores and its free memory.

    Args:
        study: for the threads of a cell.
        mib_each: memory of a cell: features kept, networks, optimiser, test images.
    """
    cores = (os.cpu_count() or 1) // study.n_threads
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return max(cores, 1)
    free = next(x for x in meminfo.read_text().splitlines() if x.startswith("MemAvailable"))
    return max(min(cores, int(free.split()[1]) // 1024 // mib_each), 1)
