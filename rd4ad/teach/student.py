"""Reverse distillation on the same photos, beside the memory, and which of the two to take.

It needs torch. A fifth of the photos is held out: their scores give the threshold, and defects
painted into them compare the two detectors. No photo that either was fitted on judges it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rd4ad.config import Stop, TrainingConfig
from rd4ad.data.folders import split_holdout
from rd4ad.inference.detector import Detector
from rd4ad.inference.prediction import Calibration
from rd4ad.scoring import Maps
from rd4ad.teach.appraisal import Appraisal, appraised
from rd4ad.teach.defects import Painted, painted
from rd4ad.teach.lesson import Lesson
from rd4ad.teach.threshold import threshold_for
from rd4ad.training.category import train

HOLDOUT = 0.2
_EPOCHS = 1000  # more than any budget allows: the budget or patience ends it
_PATIENCE = 30
_NAME = "photos"


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """The student and the memory on the same held-out photos and painted defects.

    Args:
        detector: reverse distillation, calibrated by the held-out photos.
        student: what it made of the defects.
        memory: what a memory of the same other photos made of them.
        n_epochs: that fitted into the budget.
    """

    detector: Detector
    student: Appraisal
    memory: Appraisal
    n_epochs: int

    @property
    def is_student_better(self) -> bool:
        """Whether to take the student: it ranks painted defects and their pixels as well or better.

        Where one is better by image and the other by pixel, the sum of both decides.
        """
        return _quality(self.student) >= _quality(self.memory)


def _quality(appraisal: Appraisal) -> float:
    return appraisal.image_auroc + appraisal.pixel_auroc


def compared(
    lesson: Lesson,
    out: Path,
    *,
    minutes: float,
    rate: float = 0.01,
    on_progress: Callable[[Any], None] | None = None,
) -> Comparison:
    """Train reverse distillation on a lesson's photos, write `out` and compare it with the memory.

    Args:
        lesson: the first detector.
        out: checkpoint to write; its state file lies beside it until training has ended.
        minutes: of training at most.
        rate: accepted share of false alarms.
        on_progress: called after every step; see `rd4ad.training.session`.

    Raises:
        OSError: `out` cannot be written.
        ValueError: a budget that is not over 0.
    """
    config = TrainingConfig(
        backbone=lesson.recipe.backbone,
        size_px=lesson.recipe.size_px,
        epochs=_EPOCHS,
        holdout=HOLDOUT,
    )
    stop = Stop(budget_minutes=minutes, patience=_PATIENCE)
    with TemporaryDirectory() as folder:
        good = Path(folder) / _NAME / "train" / "good"
        good.mkdir(parents=True)
        for number, photo in enumerate(lesson.photos):
            Image.fromarray(photo.image).save(good / f"{number:04d}.png")
        detector = train(folder, _NAME, config, out=out, stop=stop, on_progress=on_progress)
    _, held = split_holdout(len(lesson.photos), HOLDOUT, config.seed)
    is_held = np.isin(np.arange(len(lesson.photos)), held)
    images = np.stack([photo.image for photo in lesson.photos])
    defects = painted(images[is_held])
    recipe = lesson.recipe
    memory = recipe.memory(lesson.patches[~is_held])
    student = _appraised(lambda x: _student_maps(detector, x), images[is_held], defects, rate)
    by_memory = _appraised(
        lambda x: recipe.maps(recipe.patches(x), memory), images[is_held], defects, rate
    )
    assert detector.calibration is not None
    detector.calibration = Calibration(
        scores=detector.calibration.scores,
        quantile=1 - rate,
        own_threshold=student.threshold.value,
    )
    detector.save(out)
    epochs = int(detector.config["epochs_done"])
    return Comparison(detector=detector, student=student, memory=by_memory, n_epochs=epochs)


def _student_maps(detector: Detector, images: NDArray[np.uint8]) -> Maps:
    """Return the anomaly maps (N, S, S) of photos, which have the detector's size."""
    return np.stack([one.anomaly_map for one in detector.judge(detector.distances(images))])


def _appraised(
    maps_of: Callable[[NDArray[np.uint8]], Maps],
    good: NDArray[np.uint8],
    defects: list[Painted],
    rate: float,
) -> Appraisal:
    good_maps = maps_of(good)
    threshold = threshold_for(good_maps.max((1, 2)).tolist(), rate)
    defect_maps = maps_of(np.stack([one.image for one in defects]))
    return appraised(good_maps, defects, defect_maps, threshold)
