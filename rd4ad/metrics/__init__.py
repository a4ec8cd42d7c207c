"""Exact metrics of anomaly detection: of images (labels, scores) and of pixels (masks, maps).

Every function takes a whole category at once. An undefined metric, such as an AUROC without normal
images, is nan. Definitions: docs/METHOD.md.
"""

from numpy.typing import ArrayLike

from rd4ad.metrics import ranking as _ranking
from rd4ad.metrics.histograms import PixelStatistics, pixel_statistics
from rd4ad.metrics.ranking import (
    Curve,
    Ranking,
    image_ranking,
    precision_curve,
    rate_curve,
    roc_curve,
    thin_curve,
)
from rd4ad.metrics.regions import (
    area_up_to,
    aupro,
    aupro_per_image,
    pixel_ap,
    pixel_auroc,
    pixel_metrics,
    pixel_ranking,
    pro_curve,
)
from rd4ad.metrics.significance import bootstrap, interval

__all__ = [
    "Curve",
    "PixelStatistics",
    "Ranking",
    "area_up_to",
    "aupro",
    "aupro_per_image",
    "best_threshold",
    "bootstrap",
    "f1_max",
    "image_ap",
    "image_auroc",
    "image_metrics",
    "image_ranking",
    "interval",
    "pixel_ap",
    "pixel_auroc",
    "pixel_metrics",
    "pixel_ranking",
    "pixel_statistics",
    "precision_curve",
    "pro_curve",
    "rate_curve",
    "roc_curve",
    "thin_curve",
]


def image_auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the AUROC of images, in [0, 1], higher is better; nan without both kinds.

    >>> image_auroc([0, 0, 1], [0.1, 0.4, 0.4])
    0.75

    Args, Raises: see `image_ranking`.
    """
    return _ranking.auroc(image_ranking(labels, scores))


def image_ap(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the average precision of images, in [0, 1]; nan without both kinds.

    >>> round(image_ap([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4]), 4)  # (1 + 2/3) / 2
    0.8333
    """
    return _ranking.average_precision(image_ranking(labels, scores))


def f1_max(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the largest F1 over all thresholds, in [0, 1]; nan without both kinds.

    >>> f1_max([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])
    0.8
    """
    return _ranking.f1_max(image_ranking(labels, scores))[0]


def best_threshold(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the threshold (score >= it) that reaches `f1_max`; nan without both kinds.

    Chosen on the very images that it is for, so it flatters: for looking, not for use.

    >>> best_threshold([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])
    0.2
    """
    return _ranking.f1_max(image_ranking(labels, scores))[1]


def image_metrics(labels: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    """Return every image metric of a category by name.

    >>> image_metrics([0, 0, 1], [0.1, 0.2, 0.3])
    {'image_auroc': 1.0, 'image_ap': 1.0, 'image_f1_max': 1.0}
    """
    found = image_ranking(labels, scores)
    return {
        "image_auroc": _ranking.auroc(found),
        "image_ap": _ranking.average_precision(found),
        "image_f1_max": _ranking.f1_max(found)[0],
    }
