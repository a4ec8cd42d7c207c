"""What is done for a job when its turn comes, and what is written into its folder then."""

import json
import time
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from rd4ad import metrics
from rd4ad.inference.detector import Detector
from rd4ad.scoring import Maps
from rd4ad.teach import pictures, report
from rd4ad.teach.appraisal import maps_at
from rd4ad.teach.jobs.folder import FIRST, Job
from rd4ad.teach.lesson import first_lesson
from rd4ad.teach.memory import Recipe
from rd4ad.teach.photos import images_of
from rd4ad.teach.threshold import Threshold


def end_training(job: Job, code: int) -> None:
    """Take in what a training's process left when it ended with a code."""
    comparison = job.read_json("comparison.json")
    if code or comparison is None:
        lines = (job.folder / "practice.log").read_text(errors="replace").strip().splitlines()
        ended = f"The system ended the training (signal {-code}): its memory may be too small."
        job.set_step("student", "failed", error=ended if code < 0 else (lines or ["It ended."])[-1])
        return
    lesson = job.read_json("lesson.json") or {}
    job.write("lesson.json", json.dumps(lesson | comparison))
    (job.folder / "comparison.json").unlink()
    write_report(job)
    job.set_step("student", "ready")


def teach(job: Job, recipe: Recipe) -> None:
    """Fit the first detector and write all that is known of it.

    Where it is asked for again meanwhile, with other photos, this one ends without a result.

    Raises:
        OSError: the job was deleted, or the disk is full.
        ValueError: nothing can be fitted to these photos; says why.
    """
    state = job.state()
    if state["lesson"]["state"] != "queued":
        return
    started = time.monotonic()
    job.set_step("student", "none")
    job.forget_training()
    photos = job.photos()
    asked = state["lesson"]["asked"]

    def on_step(step: str) -> None:
        if job.state()["lesson"]["asked"] != asked:
            raise _SupersededError
        job.set_step("lesson", "working", asked=asked, step=step)

    def on_scores(indices: NDArray[np.int64], maps: Maps, threshold: Threshold) -> None:
        shown = [photos[i] for i in indices]
        for name, content in pictures.of_scores(shown, maps, threshold).items():
            job.write(name, content)

    with suppress(_SupersededError):
        on_step("looking at the photos")
        for name, content in pictures.of_photos(photos).items():
            job.write(name, content)
        lesson = first_lesson(
            photos, rate=state["rate"], recipe=recipe, on_step=on_step, on_scores=on_scores
        )
        on_step("writing the report")
        for old in job.folder.glob("*-?.jpg"):
            old.unlink()
        for name, content in pictures.all_pictures(lesson).items():
            job.write(name, content)
        lesson.save(job.folder / FIRST, state["name"])
        np.save(job.folder / "means.npy", lesson.patches.mean(1))
        job.write("lesson.json", json.dumps(lesson.record() | {"name": state["name"]}))
        write_report(job)
        on_step("done")
        job.set_step("lesson", "ready", seconds=round(time.monotonic() - started, 1))


class _SupersededError(Exception):
    """The lesson was asked for again: this one's result is not wanted any more."""


def reason(error: Exception) -> str:
    """Return what a visitor is told of an error."""
    if isinstance(error, ValueError):
        return str(error)
    if isinstance(error, OSError):
        return "The server's disk is full: nothing was lost, try again later."
    return "The server has not enough memory for this: try again later, or with fewer photos."


def write_report(job: Job) -> None:
    """Judge the real defects, if there are any, and write report.html from what the folder holds.

    Raises:
        OSError: the job was deleted, or the disk is full.
    """
    _judge_defects(job)
    lesson = job.read_json("lesson.json")
    if lesson:
        shown = {path.name: path.read_bytes() for path in job.folder.glob("*.jpg")}
        job.write("report.html", report.html(lesson, shown))


def _judge_defects(job: Job) -> None:
    """Put the metrics of real defects into lesson.json.

    Image AUROC is against the held-out scores of good photos; pixel metrics are of the photos with
    masks alone, since maps of good photos that the detector was fitted on would flatter it.
    """
    defects, lesson, path = job.defects(), job.read_json("lesson.json"), job.detector()
    if not defects or lesson is None or path is None:
        return
    detector = Detector.load(path)
    found = detector.predict([photo.image for photo, _ in defects])
    scores = [one.score for one in found]
    assert detector.calibration is not None
    good = list(detector.calibration.scores)
    labels = np.repeat([0, 1], [len(good), len(scores)])
    real = {
        "image_auroc": metrics.image_auroc(labels, np.array([*good, *scores])),
        "found_at_the_threshold": float(np.mean([bool(one.is_anomalous) for one in found])),
    }
    drawn = [(photo, mask) for photo, mask in defects if mask is not None and mask.any()]
    if drawn:
        maps = maps_at(detector, images_of(photo for photo, _ in drawn))
        pixel = metrics.pixel_metrics(np.stack([mask for _, mask in drawn]), maps)
        real |= {"pixel_auroc": pixel["pixel_auroc"], "aupro": pixel["aupro"]}
    job.write("lesson.json", json.dumps(lesson | {"real": real}))
