"""From photos of good parts to a calibrated detector, step by step; the core of every front end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rd4ad.data.folders import DatasetError
from rd4ad.inference.checkpoint import write_checkpoint
from rd4ad.inference.detector import Detector
from rd4ad.inference.prediction import Calibration
from rd4ad.scoring import Maps
from rd4ad.teach.appraisal import Appraisal, appraised
from rd4ad.teach.defects import Painted, painted
from rd4ad.teach.memory import Patches, Recipe
from rd4ad.teach.photos import Finding, Photo, findings, images_of
from rd4ad.teach.threshold import Threshold, threshold_for

OnStep = Callable[[str], None]
N_FOLDS = 5  # at most the fewest photos, `photos.AT_LEAST`


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """A first detector and all that is known of it.

    Args:
        photos: that it was fitted on.
        findings: about the photos.
        recipe: of the memory.
        patches: of the photos (N, P, C), so that one more or less costs a fit alone.
        memory: (M, C).
        held_out_maps: every photo's anomaly map by a memory that lacks it, (N, S, S).
        threshold: from those maps' scores.
        defects: painted into the photos of one fold.
        appraisal: of these defects by a memory that lacks the photos.
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
        own = self.recipe.patches(image[None])[0].mean(0)
        return int(np.linalg.norm(self.patches.mean(1) - own, axis=1).argmin())

    def save(self, path: Path) -> Detector:
        """Write the checkpoint and return the detector that was read from it."""
        calibration = Calibration(
            scores=tuple(sorted(map(float, self.held_out_scores))),
            quantile=1 - self.threshold.rate,
            own_threshold=self.threshold.value,
        )
        config = {"category": path.stem, "n_images": len(self.photos), "taught": True}
        write_checkpoint(path, *self.recipe.checkpoint(self.memory, calibration, config))
        return Detector.load(path)


def first_lesson(
    photos: Sequence[Photo],
    *,
    rate: float = 0.01,
    recipe: Recipe | None = None,
    patches: Patches | None = None,
    on_step: OnStep = lambda step: None,
) -> Lesson:
    """Fit a memory of patches to photos of good parts, and learn what can be known of it.

    Args:
        photos: of good parts.
        rate: accepted share of false alarms.
        recipe: of the memory.
        patches: the photos', if they are there already.
        on_step: called with what is being done.

    Raises:
        DatasetError: too few photos.
    """
    found = findings(photos)
    for finding in found:
        if finding.stops:
            raise DatasetError(finding.text)
    recipe = recipe or Recipe()
    images = images_of(photos)
    if patches is None:
        on_step("reading features")
        patches = recipe.patches(images)
    on_step("fitting the memory")
    memory = recipe.memory(patches)
    on_step("scoring each photo by the others")
    fold_of = np.arange(len(photos)) % N_FOLDS
    memories = recipe.memories_without(patches, fold_of)
    good_maps = recipe.held_out_maps(patches, fold_of, memories)
    threshold = threshold_for(good_maps.max((1, 2)).tolist(), rate)
    on_step("painting defects")
    defects = painted(images[fold_of == 0])
    defect_patches = recipe.patches(np.stack([one.image for one in defects]))
    defect_maps = recipe.maps(defect_patches, memories[0])
    return Lesson(
        photos=tuple(photos),
        findings=tuple(found),
        recipe=recipe,
        patches=patches,
        memory=memory,
        held_out_maps=good_maps,
        threshold=threshold,
        defects=tuple(defects),
        appraisal=appraised(good_maps, defects, defect_maps, threshold),
    )
