"""Jobs at work on a server: one lesson at a time in a thread, one training at a time in a process.

What is asked waits in the jobs' own folders, so that a server that was killed goes on where it was.
Everything of a job is deleted some hours after its last change.
"""

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from filelock import FileLock, Timeout

from rd4ad.home import PACKAGE
from rd4ad.teach.jobs import work
from rd4ad.teach.jobs.folder import Job
from rd4ad.teach.jobs.quota import Quota, QuotaError
from rd4ad.teach.memory import Recipe
from rd4ad.teach.photos import AT_LEAST, Photo

_SWEEP_SECONDS = 60.0
_POLL_SECONDS = 0.3
_WAITING = ("queued", "working")


class Classroom:
    """The jobs below a folder.

    Args:
        root: that holds them; no other server uses it.
        quota: the operator's limits.
        recipe: of the memories.
    """

    def __init__(self, root: Path, quota: Quota, recipe: Recipe | None = None) -> None:
        self.root, self.quota, self.recipe = root, quota, recipe or Recipe()
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lessons: queue.Queue[Job] = queue.Queue()
        self._trainings: queue.Queue[Job] = queue.Queue()
        self._clients: dict[str, str] = {}
        self._starting = threading.Lock()
        self._threads: dict[str, threading.Thread] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._is_closing = False
        self.resume()

    def resume(self) -> None:
        """Take up what was waiting or at work when the last server ended."""
        self.sweep()
        for job, state in Job.all_in(self.root):
            if state["lesson"]["state"] in _WAITING:
                self.learn(job)
            if state["student"]["state"] in _WAITING:
                self._queue_training(job, state["student"]["minutes"], state["student"]["watched"])

    def open(self, client: str = "", rate: float = 0.01) -> Job:
        """Return a new job.

        Args:
            client: the visitor's address.
            rate: accepted share of false alarms, in (0, 0.5].

        Raises:
            QuotaError: teaching is off, or there are too many jobs.
            ValueError: another rate.
        """
        if not self.quota.is_on:
            raise QuotaError("Teaching is switched off on this server.")
        if not 0 < rate <= 0.5:
            raise ValueError(f"the rate of false alarms must lie in (0, 0.5]; got {rate}")
        self.sweep()
        jobs = {job.token for job, _ in Job.all_in(self.root)}
        self._clients = {t: c for t, c in self._clients.items() if t in jobs}
        own = sum(one == client for one in self._clients.values())
        if own >= self.quota.jobs_per_client:
            raise QuotaError(
                f"You have {own} jobs already, as many as one visitor may have: delete one first."
            )
        if len(jobs) >= self.quota.jobs:
            raise QuotaError("There are too many jobs on this server: try again later.")
        job = Job.create(self.root, rate)
        self._clients[job.token] = client
        self._start()
        return job

    def find(self, token: str) -> Job | None:
        """Return the job of a token; None if it was deleted or never there."""
        job = Job.find(self.root, token)
        with suppress(FileNotFoundError):  # deleted a moment ago
            if job and self.expires(job.state()) > time.time():
                return job
        if job:
            self.delete(job)
        return None

    def detector(self, token: str) -> Path | None:
        """Return the recommended checkpoint of a token's job; None where there is none."""
        job = self.find(token)
        return job.detector() if job else None

    def expires(self, state: dict[str, Any]) -> float:
        """Return when a job of this state will be deleted, in seconds since 1970."""
        return float(state["changed"]) + 3600 * self.quota.hours

    def check_room(self, job: Job, n_photos: int) -> None:
        """Refuse photos that are too many, before they are read.

        Raises:
            QuotaError: over the quota's photos, megapixels or disk.
        """
        state = job.state()
        there = len(state["photos"]) + len(state["defects"])
        if there + n_photos > self.quota.photos:
            raise QuotaError(
                f"{there + n_photos} photos: at most {self.quota.photos:g} are taken in all. "
                "More would hardly change the detector."
            )
        if state["megapixels"] > self.quota.megapixels:
            raise QuotaError(
                f"The photos have over {self.quota.megapixels:.0f} megapixels together, which is "
                "as much as is read: make them smaller first."
            )
        if self.used_mib() > self.quota.mib:
            raise QuotaError("There is no room for photos at the moment: try again later.")

    def used_mib(self) -> float:
        """Return what all jobs take on disk."""
        files = (path for path in self.root.rglob("*") if path.is_file())
        return sum(path.stat().st_size for path in files) / 2**20

    def add_photos(self, job: Job, photos: Iterable[Photo]) -> None:
        """Add photos of good parts; what was learned before no longer counts until `learn`.

        Raises:
            QuotaError: see `check_room`.
        """
        photos = list(photos)
        self.check_room(job, len(photos))
        job.add_photos(photos)

    def learn(self, job: Job) -> None:
        """Fit the first detector when its turn comes; a lesson or training on other photos ends.

        Raises:
            QuotaError: too few photos.
        """
        n_photos = sum(not one["is_left_out"] for one in job.state()["photos"])
        if n_photos < AT_LEAST:
            raise QuotaError(f"{n_photos} photos: at least {AT_LEAST} are needed.")
        job.set_step("lesson", "queued", asked=time.time())
        self._start()
        self._lessons.put(job)

    def train(self, job: Job, minutes: float, watched: str = "") -> None:
        """Train reverse distillation when its turn comes; nothing happens if it is on its way.

        Args:
            job: whose photos.
            minutes: at most.
            watched: name of the photo whose heatmap is drawn meanwhile; by default the one least
                like the others.

        Raises:
            QuotaError: no torch, more minutes than are given, or no lesson yet.
        """
        if not can_train():
            raise QuotaError("Reverse distillation needs torch: pip install -r requirements.txt")
        if not 0 < minutes <= self.quota.minutes:
            raise QuotaError(f"Between 0 and {self.quota.minutes:g} minutes; got {minutes:g}.")
        if job.detector() is None:
            raise QuotaError("The first detector is not ready yet.")
        if job.state()["student"]["state"] in _WAITING:
            return
        job.forget_training()
        self._queue_training(job, minutes, watched)

    def _queue_training(self, job: Job, minutes: float, watched: str) -> None:
        asked = {"asked": time.time(), "minutes": minutes, "watched": watched}
        job.set_step("student", "queued", **asked)
        self._start()
        self._trainings.put(job)

    def stop(self, job: Job) -> None:
        """End a training with the epoch that it is in; what it has learned is kept."""
        if job.state()["student"]["state"] == "queued":
            job.set_step("student", "none")
        elif job.state()["student"]["state"] == "working":
            job.write("stop", "")

    def delete(self, job: Job) -> None:
        """Delete a job and all its files; what works on it ends."""
        job.delete()
        self._clients.pop(job.token, None)

    def place(self, job: Job, part: str) -> int:
        """Return how many jobs come before this one in its line, "lesson" or "student"."""
        own = job.state()[part].get("asked", 0.0)
        states = [state[part] for _, state in Job.all_in(self.root)]
        return sum(s["state"] in _WAITING and s.get("asked", own) < own for s in states)

    def sweep(self) -> None:
        """Delete the jobs whose time is over."""
        for job, state in Job.all_in(self.root):
            if self.expires(state) < time.time():
                self.delete(job)

    def close(self) -> None:
        """End the training that is going on; it goes on when a server takes the folder up again."""
        self._is_closing = True
        if self._child and self._child.poll() is None:
            self._child.terminate()

    def _start(self) -> None:
        """Start the two threads, and again one that an unforeseen error has ended."""
        lines = {
            "lesson": (self._lessons, self._teach),
            "student": (self._trainings, self._practice),
        }
        with self._starting:
            for part, (line, do) in lines.items():
                if part not in self._threads or not self._threads[part].is_alive():
                    self._threads[part] = threading.Thread(
                        target=self._serve, args=(part, line, do), daemon=True
                    )
                    self._threads[part].start()

    def _serve(self, part: str, line: "queue.Queue[Job]", do: Callable[[Job], None]) -> None:
        """Do what waits in a line, one after another, for as long as the server lives."""
        while True:
            try:
                job = line.get(timeout=_SWEEP_SECONDS)
            except queue.Empty:
                self.sweep()
                continue
            try:
                do(job)
            except (OSError, ValueError, RuntimeError, MemoryError) as error:
                with suppress(OSError):  # it was deleted, or the disk is full
                    job.set_step(part, "failed", error=work.reason(error))

    def _teach(self, job: Job) -> None:
        work.teach(job, self.recipe)

    def _practice(self, job: Job) -> None:
        asked = job.state()["student"]
        if asked["state"] != "queued":
            return  # stopped, or the photos changed meanwhile
        job.set_step("student", **{**asked, "state": "working"})
        command = [sys.executable, "-m", "rd4ad.teach.jobs.practice", str(job.folder)]
        path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
        with (job.folder / "practice.log").open("wb") as log:
            self._child = subprocess.Popen(
                [*command, "--minutes", str(asked["minutes"])],
                stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip
            while self._child.poll() is None:
                time.sleep(_POLL_SECONDS)
                if not job.exists or job.state()["student"]["state"] != "working":
                    self._child.kill()
        if self._is_closing or not job.exists or job.state()["student"]["state"] != "working":
            return  # the next server takes it up; or nobody waits for it
        work.end_training(job, self._child.returncode)


def can_train() -> bool:
    """Return whether reverse distillation can be trained here."""
    return find_spec("torch") is not None


@cache
def server_classroom() -> Classroom:
    """Return this server's classroom, with the folder and limits that RD4AD_TEACH_ variables name.

    Without RD4AD_TEACH_FOLDER it lies in the system's folder for temporary files; a second server
    takes the next free one.
    """
    base = _base()
    for number in range(1, 100):
        root = base if number == 1 else base.with_name(f"{base.name}-{number}")
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            _LOCKS.append(_locked(root))
        except Timeout:
            continue
        return Classroom(root, Quota.from_environment())
    raise OSError(f"{base}: every folder of jobs is in use")


def has_jobs() -> bool:
    """Return whether an earlier server left jobs, which may be at work or due to be deleted."""
    return next(_base().glob("*/job.json"), None) is not None


def _base() -> Path:
    given = os.environ.get("RD4AD_TEACH_FOLDER")
    return Path(given) if given else Path(gettempdir()) / f"rd4ad-teach-{os.getuid()}"


def _locked(root: Path) -> FileLock:
    lock = FileLock(root / "lock", blocking=False)
    lock.acquire()
    return lock


_LOCKS: list[FileLock] = []  # held until the process ends
