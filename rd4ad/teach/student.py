"""Reverse distillation on the same photos, beside the memory, and which of the two to take.

It needs torch. A fifth of the photos is held out: their scores give the threshold, and defects
painted into them compare the detectors. No photo that one was fitted on judges it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
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
from rd4ad.teach.appraisal import Appraisal, appraised, maps_at
from rd4ad.teach.defects import Painted, painted
from rd4ad.teach.memory import Recipe
from rd4ad.teach.photos import Photo, images_of
from rd4ad.teach.threshold import threshold_for
from rd4ad.training.category import train
from rd4ad.training.precision import chosen_precision

HOLDOUT, AT_LEAST_HELD = 0.2, 2
SHARE_BY_SIZE = {128: 1 / 3, 256: 2 / 3}
"""Of the minutes, by the images' side: an epoch at 256 px takes four times as long."""
_EPOCHS = 1000  # more than any budget allows: the budget or patience ends it
_PATIENCE = 30
_NAME = "photos"


@dataclass(frozen=True, kw_only=True, eq=False)
class Student:
    """Reverse distillation at one size, and what it made of painted defects.

    Args:
        size_px: side of its images.
        n_epochs: that fitted into its share of the minutes.
        appraisal: of the defects.
        held_out_scores: of the held-out photos.
    """

    size_px: int
    n_epochs: int
    appraisal: Appraisal
    held_out_scores: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Students and the memory on the same held-out photos and painted defects.

    Args:
        students: one a size.
        memory: what a memory of the same other photos made of the defects.
    """

    students: tuple[Student, ...]
    memory: Appraisal

    @property
    def student(self) -> Student:
        """The better student."""
        return max(self.students, key=lambda one: one.appraisal.quality)

    @property
    def is_student_better(self) -> bool:
        """Whether to take the student: it ranks painted defects and their pixels as well or better.

        Where one is better by image and the other by pixel, the sum of both decides.
        """
        return self.student.appraisal.quality >= self.memory.quality

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a detector, the memory last: name, epochs and synthetic metrics."""
        named = [
            (f"reverse distillation, {one.size_px} px", one.n_epochs, one.appraisal)
            for one in self.students
        ]
        return [
            {
                "detector": name,
                "epochs": epochs,
                "image_auroc": found.image_auroc,
                "pixel_auroc": found.pixel_auroc,
                "aupro": found.aupro,
            }
            for name, epochs, found in [*named, ("memory of patches", None, self.memory)]
        ]

    def record(self) -> dict[str, Any]:
        """Return what goes beside `Lesson.record`."""
        student = f"reverse distillation, {self.student.size_px} px"
        return {
            "is_student_kept": self.is_student_better,
            "recommended": student if self.is_student_better else "memory of patches",
            "compared": self.rows(),
            "student": self.student.appraisal.record()
            | {"held_out_scores": self.student.held_out_scores},
            "advice": self.text,
        }

    @property
    def text(self) -> str:
        """Which size and which detector was taken, and why."""
        best = self.student
        others = [one for one in self.students if one is not best]
        size = "".join(
            f"{best.size_px} px was taken, not {one.size_px} px: on painted defects image AUROC is "
            f"{100 * best.appraisal.image_auroc:.1f}% instead of "
            f"{100 * one.appraisal.image_auroc:.1f}%, pixel AUROC "
            f"{100 * best.appraisal.pixel_auroc:.1f}% instead of "
            f"{100 * one.appraisal.pixel_auroc:.1f}%. "
            for one in others
        )
        if self.is_student_better:
            return f"{size}It ranks them as well as the memory or better, so it is recommended."
        return f"{size}The memory still ranks them better, so it stays recommended."


def compared(
    photos: Sequence[Photo],
    out: Path,
    *,
    recipe: Recipe,
    minutes: float,
    rate: float = 0.01,
    on_progress: Callable[[int, Any], None] = lambda size_px, progress: None,
    on_epoch: Callable[[Detector, int], bool] | None = None,
) -> Comparison:
    """Train reverse distillation at each size, write the best as `out`, compare with the memory.

    Stopped and called again with the same arguments, it goes on where it was.

    Args:
        photos: of good parts.
        out: checkpoint to write; checkpoints by size and their states lie beside it meanwhile.
        recipe: of the memory.
        minutes: of training at most, shared among the sizes by `SHARE_BY_SIZE`.
        rate: accepted share of false alarms.
        on_progress: called after every step with the size; see `rd4ad.training.session`.
        on_epoch: as in `rd4ad.train`; what it ends is the training at one size.

    Raises:
        OSError: `out` cannot be written.
        ValueError: a budget that is not over 0.
    """
    share = max(HOLDOUT, AT_LEAST_HELD / len(photos))
    _, held = split_holdout(len(photos), share, TrainingConfig().seed)
    is_held = np.isin(np.arange(len(photos)), held)
    images = images_of(photos)
    good, defects = images[is_held], painted(images[is_held])
    students, files = [], []
    for size_px, part in SHARE_BY_SIZE.items():
        file = out.with_name(f"{out.stem}.{size_px}{out.suffix}")
        files.append(file)
        if not file.exists():
            _train(
                photos, file, recipe.backbone, size_px, minutes * part, share,
                partial(on_progress, size_px), on_epoch,
            )  # fmt: skip
        detector = Detector.load(file)
        found = _appraised(partial(maps_at, detector), good, defects, rate)
        assert detector.calibration is not None
        detector.calibration = Calibration(
            scores=detector.calibration.scores,
            quantile=1 - rate,
            own_threshold=found.threshold.value,
        )
        detector.save(file)
        epochs = int(detector.config["epochs_done"])
        students.append(
            Student(
                size_px=size_px,
                n_epochs=epochs,
                appraisal=found,
                held_out_scores=detector.calibration.scores,
            )
        )
    memory = recipe.memory(recipe.patches(images[~is_held]))
    by_memory = _appraised(lambda x: recipe.maps(recipe.patches(x), memory), good, defects, rate)
    comparison = Comparison(students=tuple(students), memory=by_memory)
    files[students.index(comparison.student)].replace(out)
    for file in files:
        file.unlink(missing_ok=True)
    return comparison


def _train(
    photos: Sequence[Photo],
    out: Path,
    backbone: str,
    size_px: int,
    minutes: float,
    holdout: float,
    on_progress: Callable[[Any], None],
    on_epoch: Callable[[Detector, int], bool] | None,
) -> None:
    config = TrainingConfig(
        backbone=backbone, size_px=size_px, epochs=_EPOCHS, holdout=holdout,
        precision=chosen_precision(out),
    )  # fmt: skip
    stop = Stop(budget_minutes=minutes, patience=_PATIENCE)
    with TemporaryDirectory() as folder:
        good = Path(folder) / _NAME / "train" / "good"
        good.mkdir(parents=True)
        for number, photo in enumerate(photos):
            Image.fromarray(photo.image).save(good / f"{number:04d}.png")
        train(
            folder, _NAME, config, out=out, stop=stop,
            on_progress=on_progress, on_epoch=on_epoch,
        )  # fmt: skip


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
