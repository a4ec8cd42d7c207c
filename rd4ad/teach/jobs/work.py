"""What is done for a job when its turn comes, and what is written into its folder then."""

import json
import time

import numpy as np
from numpy.typing import NDArray

from rd4ad import metrics
from rd4ad.inference.detector import Detector
from rd4ad.scoring import Maps
from rd4ad.teach import pictures, report
from rd4ad.teach.appraisal import maps_at
from rd4ad.teach.jobs.folder import FIRST, STUDENT, Job
from rd4ad.teach.lesson import first_lesson
from rd4ad.teach.memory import Recipe
from rd4ad.teach.photos import images_of
from rd4ad.teach.threshold import Threshold

_FULL = "The server's disk is full: nothing was lost, try again later."


def end_training(job: Job, code: int) -> None:
    """Take in what a training's process left when it ended with a code."""
    comparison = job.read_json("comparison.json")
    if code or comparison is None:
        if code < 0:  # with the server: it will be taken up again
            return
        lines = (job.folder / "practice.log").read_text(errors="replace").strip().splitlines()
        job.set_step("student", "failed", error=lines[-1] if lines else "The training ended.")
        return
    lesson = job.read_json("lesson.json") or {}
    job.write("lesson.json", json.dumps(lesson | comparison))
    (job.folder / "comparison.json").unlink()
    judge_defects(job)
    write_report(job)
    job.set_step("student", "ready")


def teach(job: Job, recipe: Recipe) -> None:
    """Fit the first detector and write all that is known of it."""
    state = job.state()
    if state["lesson"]["state"] != "queued":
        return
    started = time.monotonic()
    job.set_step("student", "none")
    (job.folder / STUDENT).unlink(missing_ok=True)
    photos = job.photos()
    asked = state["lesson"]["asked"]

    def on_step(step: str) -> None:
        job.set_step("lesson", "working", asked=asked, step=step)

    def on_scores(indices: NDArray[np.int64], maps: Maps, threshold: Threshold) -> None:
        shown = [photos[i] for i in indices]
        for name, content in pictures.of_scores(shown, maps, threshold).items():
            job.write(name, content)

    try:
        on_step("looking at the photos")
        for name, content in pictures.of_photos(photos).items():
            job.write(name, content)
        lesson = first_lesson(
            photos, rate=state["rate"], recipe=recipe, on_step=on_step, on_scores=on_scores
        )
        for old in job.folder.glob("*-?.jpg"):
            old.unlink()
        for name, content in pictures.all_pictures(lesson).items():
            job.write(name, content)
        lesson.save(job.folder / FIRST, state["name"])
        means = lesson.patches.mean(1)
        np.save(job.folder / "means.npy", means)
        job.write("lesson.json", json.dumps(lesson.record() | {"name": state["name"]}))
        judge_defects(job)
        write_report(job)
        job.set_step("lesson", "ready", seconds=round(time.monotonic() - started, 1))
    except FileNotFoundError:
        raise
    except OSError:
        job.set_step("lesson", "failed", error=_FULL)
    except ValueError as error:
        job.set_step("lesson", "failed", error=str(error))


def judge_defects(job: Job) -> None:
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


def write_report(job: Job) -> None:
    """Write report.html from what the folder holds."""
    lesson = job.read_json("lesson.json")
    if lesson:
        shown = {path.name: path.read_bytes() for path in job.folder.glob("*.jpg")}
        job.write("report.html", report.html(lesson, shown))
