"""From photos of good parts to a calibrated detector, step by step; the core of every front end."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rd4ad.data.folders import DatasetError
from rd4ad.inference.checkpoint import write_checkpoint
from rd4ad.inference.detector import Detector
from rd4ad.inference.prediction import Calibration
from rd4ad.scoring import Maps
from rd4ad.teach.appraisal import Appraisal, appraised, quality
from rd4ad.teach.augmentation import Augmentation, copies, variations
from rd4ad.teach.defects import Painted, painted
from rd4ad.teach.growth import Growth, Result
from rd4ad.teach.memory import Patches, Recipe
from rd4ad.teach.photos import Finding, Photo, findings, images_of
from rd4ad.teach.threshold import Threshold, threshold_for

OnStep = Callable[[str], None]
OnScores = Callable[[NDArray[np.int64], Maps, Threshold], None]
N_FOLDS = 5  # at most the fewest photos, `photos.AT_LEAST`
MOST_COPIED = 100  # more photos than these show by themselves how the parts vary


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """A first detector and all that is known of it.

    Args:
        photos: that it was fitted on.
        findings: about the photos.
        recipe: of the memory.
        patches: of the photos, (N, P, C).
        memory: (M, C).
        held_out_maps: every photo's anomaly map by a memory that lacks it, (N, S, S).
        threshold: from those maps' scores.
        defects: painted into the photos of one fold.
        appraisal: of these defects by a memory that lacks the photos.
        augmentations: kinds of copies that were tried.
        growth: what doubling the photos brought.
    """

    photos: tuple[Photo, ...]
    findings: tuple[Finding, ...]
    recipe: Recipe
    patches: Patches
    memory: Patches
    held_out_maps: Maps
    threshold: Threshold
    defects: tuple[Painted, ...]
    appraisal: Appraisal
    augmentations: tuple[Augmentation, ...]
    growth: Growth

    @property
    def held_out_scores(self) -> NDArray[np.float32]:
        """Every photo's score by a memory that lacks it, (N,)."""
        scores: NDArray[np.float32] = self.held_out_maps.max((1, 2))
        return scores

    def least_alike(self, count: int = 3) -> list[int]:
        """Return the indices of the photos that look least like the others."""
        return np.argsort(-self.held_out_scores)[:count].tolist()

    def most_similar(self, image: NDArray[np.uint8]) -> int:
        """Return the index of the good photo that looks most like an image (S, S, 3)."""
        return self.recipe.most_similar(self.patches.mean(1), image)

    def record(self) -> dict[str, Any]:
        """Return all that is known, ready for JSON; what is of painted defects says so."""
        return {
            "n_photos": len(self.photos),
            "findings": [asdict(finding) for finding in self.findings],
            "augmentations": [
                asdict(one) | {"is_taken": one.is_taken, "text": one.text}
                for one in self.augmentations
            ],
            "growth": asdict(self.growth)
            | {"is_enough": self.growth.is_enough, "text": self.growth.text},
            "recipe": asdict(self.recipe),
            "least_alike": [self.photos[i].name for i in self.least_alike()],
            "photos": [photo.name for photo in self.photos],
            "held_out_scores": self.held_out_scores.round(4).tolist(),
            **self.appraisal.record(),
        }

    def save(self, path: Path, name: str = "") -> Detector:
        """Write the checkpoint and return the detector that was read from it.

        Args:
            path: .safetensors.
            name: of the part, by default the file's.
        """
        calibration = Calibration(
            scores=tuple(sorted(map(float, self.held_out_scores))),
            quantile=1 - self.threshold.rate,
            own_threshold=self.threshold.value,
        )
        config = {"category": name or path.stem, "n_images": len(self.photos), "taught": True}
        write_checkpoint(path, *self.recipe.checkpoint(self.memory, calibration, config))
        return Detector.load(path)


def first_lesson(
    photos: Sequence[Photo],
    *,
    rate: float = 0.01,
    recipe: Recipe | None = None,
    on_step: OnStep = lambda step: None,
    on_scores: OnScores = lambda indices, maps, threshold: None,
) -> Lesson:
    """Fit a memory of patches to photos of good parts, and learn what can be known of it.

    Args:
        photos: of good parts.
        rate: accepted share of false alarms.
        recipe: of the memory.
        on_step: called with what is being done.
        on_scores: called with indices of photos, their held-out maps (n, S, S) and a threshold:
            for a fifth of the photos as soon as they can be known, then for all.

    Raises:
        DatasetError: too few photos.
    """
    found = findings(photos)
    for finding in found:
        if finding.stops:
            raise DatasetError(finding.text)
    recipe = recipe or Recipe()
    images = images_of(photos)
    on_step("reading features")
    plain = replace(recipe, place=0.0).patches(images)
    recipe = recipe.settled(photos, plain)
    patches = recipe.with_places(plain)
    fold_of = np.arange(len(photos)) % N_FOLDS
    on_step("fitting the memory")
    early = recipe.memory(patches[fold_of != 0])
    _show_early(recipe, patches, fold_of, early, rate, on_scores)
    exam = _Exam(recipe, images[fold_of == 0], patches[fold_of == 0])
    tried, pool, pool_fold = _with_copies(exam, photos, images, patches, fold_of, on_step)
    on_step("scoring each photo by the others")
    memory = recipe.memory(pool)
    memories = [
        early if fold == 0 and len(pool) == len(patches) else recipe.memory(pool[pool_fold != fold])
        for fold in range(N_FOLDS)
    ]
    good_maps = recipe.held_out_maps(patches, fold_of, memories)
    threshold = threshold_for(good_maps.max((1, 2)).tolist(), rate)
    on_scores(np.arange(len(photos)), good_maps, threshold)
    on_step("painting defects")
    defect_maps = recipe.maps(exam.defect_patches, memories[0])
    appraisal = appraised(good_maps, exam.defects, defect_maps, threshold)
    on_step("comparing with half of the photos")
    others = patches[fold_of != 0]
    return Lesson(
        photos=tuple(photos),
        findings=tuple(found),
        recipe=recipe,
        patches=patches,
        memory=memory,
        held_out_maps=good_maps,
        threshold=threshold,
        defects=exam.defects,
        appraisal=appraisal,
        augmentations=tried,
        growth=Growth(half=exam.taken(others[::2]), whole=exam.taken(others)),
    )


def _show_early(
    recipe: Recipe,
    patches: Patches,
    fold_of: NDArray[np.int64],
    memory: Patches,
    rate: float,
    on_scores: OnScores,
) -> None:
    """Say what the first fold's photos look like to a memory of the others, if they are several."""
    held = np.flatnonzero(fold_of == 0)
    if len(held) > 1:
        maps = recipe.maps(patches[held], memory)
        on_scores(held, maps, threshold_for(maps.max((1, 2)).tolist(), rate))


@dataclass(frozen=True, eq=False)
class _Exam:
    """Held-out photos and defects painted into them, for memories of other photos."""

    recipe: Recipe
    images: NDArray[np.uint8]
    patches: Patches

    @cached_property
    def defects(self) -> tuple[Painted, ...]:
        return tuple(painted(self.images))

    @cached_property
    def defect_patches(self) -> Patches:
        return self.recipe.patches(np.stack([one.image for one in self.defects]))

    def taken(self, patches: Patches) -> Result:
        """Return what a memory of some patches makes of half of it, which is enough to compare."""
        recipe = replace(self.recipe, n_rows=self.recipe.n_rows // 2)
        memory = recipe.memory(patches)
        good_maps = recipe.maps(self.patches, memory)
        defect_maps = recipe.maps(self.defect_patches[::2], memory)
        return Result(
            n_photos=len(patches),
            good_score=float(np.median(good_maps.max((1, 2)))),
            quality=quality(good_maps, self.defects[::2], defect_maps),
        )


def _with_copies(
    exam: _Exam,
    photos: Sequence[Photo],
    images: NDArray[np.uint8],
    patches: Patches,
    fold_of: NDArray[np.int64],
    on_step: OnStep,
) -> tuple[tuple[Augmentation, ...], Patches, NDArray[np.int64]]:
    """Return the kinds of copies that were tried, and the patches with those that helped."""
    tried, pool, folds = [], [patches], [fold_of]
    spreads = variations(photos) if len(photos) <= MOST_COPIED else {}
    without = exam.taken(patches[fold_of != 0]).quality if spreads else 0.0
    for kind, spread in spreads.items():
        on_step(f"trying copies that are {kind}")
        more, more_fold = exam.recipe.patches(copies(images, kind, spread)), fold_of.repeat(2)
        both = np.concatenate([patches[fold_of != 0], more[more_fold != 0]])
        one = Augmentation(
            kind=kind,
            spread=spread,
            quality_without=without,
            quality_with=exam.taken(both).quality,
        )
        tried.append(one)
        if one.is_taken:
            pool.append(more)
            folds.append(more_fold)
    return tuple(tried), np.concatenate(pool), np.concatenate(folds)
