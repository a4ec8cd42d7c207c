"""Reverse distillation for a job, as a process: `python -m rd4ad.teach.jobs.practice FOLDER`.

It runs at low priority, writes where it stands into the job's folder, ends early when a file `stop`
appears there, and ends at once when the server that started it is gone. Started again, it goes on.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from rd4ad.inference.detector import Detector
from rd4ad.inference.overlay import common_range, marked
from rd4ad.teach.jobs.folder import STUDENT, Job
from rd4ad.teach.memory import Recipe
from rd4ad.teach.pictures import jpeg
from rd4ad.teach.student import compared

_REPORT_SECONDS, _PICTURE_SECONDS = 1.0, 4.0
STOP, COMPARISON, PROGRESS = "stop", "comparison.json", "progress.json"


class Watch:
    """Writes progress and a heatmap now and then, and sees whether to go on.

    Args:
        job: whose.
        parent: the process that started this one.
    """

    def __init__(self, job: Job, parent: int) -> None:
        self.job, self.parent = job, parent
        self.losses: list[list[float]] = []
        self._reported = self._pictured = 0.0
        photos = job.photos()
        least_alike = (job.read_json("lesson.json") or {})["least_alike"]
        watched = job.state()["student"]["watched"] or least_alike[0]
        self.photo = next((one for one in photos if one.name == watched), photos[0])
        self.size_px = 0

    def progress(self, size_px: int, now_at: Any) -> None:
        """Write where the training stands, at most once a second."""
        if os.getppid() != self.parent or not self.job.exists:
            os._exit(3)  # nobody waits for this any more
        if size_px != self.size_px:
            self.size_px, self.losses = size_px, []
        if now_at.loss == now_at.loss and (not self.losses or self.losses[-1][1] != now_at.loss):
            self.losses.append([len(self.losses) + 1, now_at.loss])
        if time.monotonic() - self._reported > _REPORT_SECONDS:
            self._reported = time.monotonic()
            rate = round(now_at.images_per_second, 1)
            record = {"size_px": size_px, "losses": self.losses, "images_per_second": rate}
            self.job.write(PROGRESS, json.dumps(record | {"step": now_at.stage}))

    def epoch(self, detector: Detector, epochs_done: int) -> bool:
        """Draw the heatmap as it is now; return whether the visitor asked to stop."""
        if time.monotonic() - self._pictured > _PICTURE_SECONDS:
            found = detector.predict(self.photo.image)[0]
            low, high = common_range([found.anomaly_map])
            drawn = marked(
                self.photo.image, found.anomaly_map, low, high, opacity=0.75, threshold=None
            )
            self.job.write("student.jpg", jpeg(np.concatenate([self.photo.image, drawn], 1)))
            self._pictured = time.monotonic()
        return (self.job.folder / STOP).exists()


def train_student(job: Job, minutes: float, parent: int) -> None:
    """Train, compare with the memory, and write detector and comparison into the job's folder."""
    watch, state = Watch(job, parent), job.state()
    lesson = job.read_json("lesson.json") or {}
    comparison = compared(
        job.photos(),
        job.folder / STUDENT,
        recipe=Recipe.from_record(lesson["recipe"]),
        minutes=minutes,
        rate=state["rate"],
        on_progress=watch.progress,
        on_epoch=watch.epoch,
    )
    job.write(COMPARISON, json.dumps(comparison.record()))


def main() -> None:
    """Read the arguments and practice."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    options = parser.parse_args()
    os.nice(10)
    train_student(Job(options.folder), options.minutes, os.getppid())


if __name__ == "__main__":
    main()
