"""Run the cells of a grid, each once and none in the way of the others.

A cell is a training and its evaluation; what it leaves is a run folder, whose name follows from all
that determines it. So a cell is done when that folder is there, whoever wrote it: another sweep of
another grid, another machine with the same folder of results, or `rd4ad evaluate`. Until then it
works in a folder of its own, results/.sweep/<run id>, with its log and the training's state, and
holds a lock beside it, which two sweeps at once respect. What holds where results is a URL,
`rd4ad.data.object_store` says.

What runs tasks is an engine, `run_locally` here or `on_ray` in `rd4ad.sweeps.ray_engine`: given
tasks and their study, it yields an `Outcome` as each ends.
"""

import shutil
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from rd4ad.catalogue import NO_BACKBONE
from rd4ad.data.folders import open_category, split_holdout
from rd4ad.data.object_store import Place, fetched, has_run, publish, scratch
from rd4ad.evaluation.category import evaluate, run_identity
from rd4ad.inference.checkpoint import sha256
from rd4ad.methods.backbones import find_weights
from rd4ad.runs.store import run_id
from rd4ad.sweeps.grid import Cell
from rd4ad.training.category import record_of, train

_FAILED, _LOG = "failed.txt", "log.txt"


@dataclass(frozen=True, kw_only=True)
class Study:
    """What the cells of a grid have in common.

    Args:
        data: folder of categories in MVTec layout, or its URL.
        results: folder of runs, or its URL.
        dataset: the dataset's name in the runs.
        weights: file or folder of teachers' weights; found as in `find_weights` otherwise.
        n_threads: of torch in a cell.
        checkpoints: folder in which every cell's checkpoint is trained and stays; None keeps none.
        device: a torch device, on which cells are trained and evaluated.
        lock_seconds: how long a cell waits for another sweep's lock before it is left to that one.
    """

    data: Place
    results: Place
    dataset: str
    weights: Path | None = None
    n_threads: int = 1
    checkpoints: Path | None = None
    device: str = "cpu"
    lock_seconds: float = 0.0

    @property
    def folder(self) -> Path:
        """Return the folder of results in which cells of this node work."""
        return scratch(self.results) if isinstance(self.results, str) else self.results

    def images(self, category: str) -> Path:
        """Return the folder of categories on this node, in which that one is."""
        return fetched(self.data, category) if isinstance(self.data, str) else self.data


@dataclass(frozen=True)
class Task:
    """A cell and the id of the run that it leaves."""

    run_id: str
    cell: Cell

    def place(self, study: Study) -> Path:
        """Return the folder that the cell works in."""
        return study.folder / ".sweep" / self.run_id

    def run(self, study: Study) -> Path:
        """Return the run folder that the cell writes on this node."""
        return study.folder / "runs" / self.run_id

    def is_done(self, study: Study) -> bool:
        """Return whether its run is there."""
        if isinstance(study.results, str):
            return has_run(study.results, self.run_id)
        return (self.run(study) / "run.json").is_file()

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


Work = Callable[[Task, Study], Outcome]
Engine = Callable[[Sequence[Task], Study], Iterator[Outcome]]


def plan_tasks(cells: Sequence[Cell], study: Study) -> list[Task]:
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
            counts[cell.category] = n_normal(study, cell.category)
        kept, held = split_holdout(counts[cell.category], config.holdout, config.seed)
        record = record_of(config, [cell.category], len(kept), len(held), hashes[backbone])
        found = run_id(
            run_identity(
                config.method, backbone, config.size_px, record | {"skipped": []},
                config.scoring(), hashes[backbone], study.dataset, cell.category,
            )
        )  # fmt: skip
        tasks.setdefault(found, Task(found, cell))
    return list(tasks.values())


def n_normal(study: Study, category: str) -> int:
    """Return how many normal images per category has to train on."""
    return len(open_category(study.images(category), category).train)


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
    lock = FileLock(place.with_name(f"{place.name}.lock"), timeout=study.lock_seconds)
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
    if not (task.run(study) / "run.json").is_file():  # it may be here, and only not published yet
        _measure(task, study, place)
    if isinstance(study.results, str):
        publish(task.run(study), study.results)
        shutil.rmtree(task.run(study))


def _measure(task: Task, study: Study, place: Path) -> None:
    torch.set_num_threads(study.n_threads)
    checkpoint = (study.checkpoints or place) / f"{task.run_id}.safetensors"
    category, config = task.cell.category, task.cell.config
    data = study.images(category)
    detector = train(
        data, category, config, out=checkpoint, weights=study.weights, device=study.device
    )
    run = evaluate(detector, data, category, dataset=study.dataset, results=study.folder)
    if run.record["run_id"] != task.run_id:
        raise RuntimeError(
            f"planned as {task.run_id}, measured as {run.record['run_id']}: the images or weights "
            "have changed since the sweep began"
        )


def run_locally(
    tasks: Sequence[Task], study: Study, n_workers: int, work: Work = run_task
) -> Iterator[Outcome]:
    """Run tasks in worker processes of this machine, and yield how each ended as it ends.

    A worker that dies takes the task with it that it was at, and no other.

    Args:
        tasks, study: what is done.
        n_workers: tasks at once.
        work: what a worker does with a task; a function that can be pickled.
    """
    waiting, running = deque(tasks), dict[Future[Outcome], tuple[int, Task]]()
    pools = {number: _worker() for number in range(min(n_workers, len(tasks)))}
    idle = list(pools)
    try:
        while waiting or running:
            while waiting and idle:
                number, task = idle.pop(), waiting.popleft()
                running[pools[number].submit(work, task, study)] = number, task
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                number, task = running.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    outcome = record_lost_worker(
                        task,
                        study,
                        "its process was killed, for memory perhaps: try fewer --workers",
                    )
                    pools[number] = _worker()
                idle.append(number)
                yield outcome
    finally:
        for pool in pools.values():
            pool.shutdown(cancel_futures=True)


def _worker() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def record_lost_worker(task: Task, study: Study, reason: str) -> Outcome:
    """Return the outcome of a task whose process is gone, and note it in its folder."""
    _note_failure(task.place(study), reason + "\n")
    return Outcome(task, "failed", reason)
