"""Pictures of a lesson as JPEG: mean and spread, photos least like the others, painted defects."""

import io
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rd4ad.inference.overlay import calibrated_range, marked
from rd4ad.scoring import Maps
from rd4ad.teach.lesson import Lesson
from rd4ad.teach.photos import Photo, mean_and_spread
from rd4ad.teach.threshold import Threshold

N_SHOWN = 3
_OPACITY = 0.75


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """Return an image (H, W, 3) as JPEG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=88)
    return file.getvalue()


def heatmap(
    image: NDArray[np.uint8], anomaly_map: Maps, scores: Sequence[float], threshold: float
) -> NDArray[np.uint8]:
    """Return photo and heatmap side by side, (S, 2S, 3).

    Args:
        image: (S, S, 3).
        anomaly_map: (S, S).
        scores: of held-out good photos; they set where colors begin.
        threshold: what lies above it is outlined.
    """
    low, high = calibrated_range(scores, threshold)
    drawn = marked(image, anomaly_map, low, high, opacity=_OPACITY, threshold=threshold)
    return np.concatenate([image, drawn], 1)


def of_photos(photos: Sequence[Photo]) -> dict[str, bytes]:
    """Return the pictures that need no detector: the mean photo, and where the photos differ."""
    mean, spread = mean_and_spread(photos)
    return {"mean.jpg": jpeg(mean), "spread.jpg": jpeg(spread)}


def of_scores(photos: Sequence[Photo], maps: Maps, threshold: Threshold) -> dict[str, bytes]:
    """Return the photos that look least like the others, each beside its heatmap.

    Args:
        photos: all of them.
        maps: their held-out maps (N, S, S).
        threshold: of the detector.
    """
    scores = maps.max((1, 2))
    least = np.argsort(-scores)[:N_SHOWN]
    pictures = (heatmap(photos[i].image, maps[i], scores.tolist(), threshold.value) for i in least)
    return {f"least-{rank}.jpg": jpeg(one) for rank, one in enumerate(pictures)}


def of_defects(lesson: Lesson) -> dict[str, bytes]:
    """Return painted defects that were found and that were missed, each beside its heatmap.

    Found are those nearest above the threshold, one a kind; missed are the largest.
    """
    table = lesson.appraisal.table
    found = table[table["is_found"]].sort_values("score").groupby("kind").head(1)
    missed = table[~table["is_found"]].sort_values(["size_px", "score"], ascending=False)
    return _examples(lesson, "found", found.index) | _examples(lesson, "missed", missed.index)


def _examples(lesson: Lesson, name: str, indices: Iterable[int]) -> dict[str, bytes]:
    scores, threshold = lesson.held_out_scores.tolist(), lesson.threshold.value
    shown = list(indices)[:N_SHOWN]
    return {
        f"{name}-{rank}.jpg": jpeg(
            heatmap(lesson.defects[i].image, lesson.appraisal.maps[i], scores, threshold)
        )
        for rank, i in enumerate(shown)
    }


def all_pictures(lesson: Lesson) -> dict[str, bytes]:
    """Return every picture of a lesson by its name."""
    return (
        of_photos(lesson.photos)
        | of_scores(lesson.photos, lesson.held_out_maps, lesson.threshold)
        | of_defects(lesson)
    )
