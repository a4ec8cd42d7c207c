"""Histograms of every image's pixels over one grid of thresholds, from which pixel metrics follow.

Histograms of images add up, so the metrics of any choice of images need no pixel any more, neither
mask nor map.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label as label_regions

from rd4ad.metrics.regions import Stack, aupro_per_image, checked_pairs

N_BINS = 512
_EIGHT_CONNECTED = np.ones((3, 3), dtype=int)


@dataclass(frozen=True, eq=False)
class PixelStatistics:
    """All that pixel metrics of any resample need to know of each image; bins strictest first.

    A bin holds the pixels of a stretch of scores. Inside it, defective and normal pixels are taken
    as evenly mixed, unless all of them have one score (`is_tied`): then the bin is exact. With p, n
    and w the shares of defective pixels, normal pixels and overlap in a bin, AUROC is off by at
    most half the sum of p n, so by half of the largest p; PRO by at most half the sum of w n over
    the limit; F1-max is too low by at most twice the largest p; AP is off by at most the sum of p
    times what precision may be at the bin's best order less at its worst. The largest p is 1 / 255
    with 512 bins. Detectors stay far below: on the generated parts no metric is off by 5e-4.

    Args:
        positives: (N, K) number of defective pixels.
        negatives: (N, K) number of normal pixels.
        overlap: (N, K) share of each region in the bin, summed over the image's regions.
        is_tied: (K,) whether all pixels of the bin have the same score.
        aupro_per_image: (N,) the released PRO of each image by itself; nan of one without defect.
    """

    positives: NDArray[np.uint32]
    negatives: NDArray[np.uint32]
    overlap: NDArray[np.float32]
    is_tied: NDArray[np.bool_]
    aupro_per_image: NDArray[np.float64]

    def __post_init__(self) -> None:
        shapes = [np.shape(getattr(self, field.name)) for field in fields(self)]
        if len(shapes[0]) != 2 or shapes != [shapes[0]] * 3 + [shapes[0][1:], shapes[0][:1]]:
            raise ValueError(f"expected arrays (N, K) x 3, (K,) and (N,); got {shapes}")

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.positives)

    def of(self, order: NDArray[np.intp]) -> "PixelStatistics":
        """Return the statistics of some of the images, in this order."""
        per_image = ("positives", "negatives", "overlap", "aupro_per_image")
        return replace(self, **{name: getattr(self, name)[order] for name in per_image})


def pixel_statistics(masks: Stack, maps: Stack, n_bins: int = N_BINS) -> PixelStatistics:
    """Return the histograms of every image over one grid of at most `n_bins` bins.

    >>> found = pixel_statistics(np.array([[[0, 1]]]), np.array([[[0.1, 0.9]]]))
    >>> found.positives.tolist(), found.negatives.tolist(), found.is_tied.tolist()
    ([[1, 0]], [[0, 1]], [True, True])

    Half of the thresholds are spaced evenly over the defective pixels, a quarter evenly over all
    pixels, and a quarter evenly in the logarithm of the rate at which pixels exceed them, since AP
    and PRO are decided where that rate is small.

    Args:
        masks: see `rd4ad.metrics.pixel_ranking`.
        maps: see `rd4ad.metrics.pixel_ranking`.
        n_bins: at least 4.

    Raises:
        ValueError: as `rd4ad.metrics.pixel_ranking`.
    """
    pairs = list(checked_pairs(masks, maps))
    pooled = np.sort(np.concatenate([one.ravel() for _, one in pairs]))
    defective = np.sort(np.concatenate([one[mask] for mask, one in pairs]))
    edges = _edges(pooled, defective, n_bins)
    first = np.searchsorted(pooled, edges)
    last = np.r_[first[1:], len(pooled)] - 1
    shape = len(pairs), len(edges)
    positives, negatives = np.zeros(shape, np.uint32), np.zeros(shape, np.uint32)
    overlap, per_image = np.zeros(shape, np.float32), np.full(len(pairs), np.nan)
    for i, (mask, one) in enumerate(pairs):
        bins = len(edges) - np.searchsorted(edges, one, side="right")  # strictest first
        negatives[i] = np.bincount(bins[~mask], minlength=len(edges))
        if mask.any():
            inside = label_regions(mask, structure=_EIGHT_CONNECTED)[0][mask]
            weight = 1 / np.bincount(inside)[inside]
            positives[i] = np.bincount(bins[mask], minlength=len(edges))
            overlap[i] = np.bincount(bins[mask], weight, len(edges))
            per_image[i] = aupro_per_image(mask[None], one[None])
    is_tied = pooled[np.minimum(first, last)] == pooled[last]  # an empty bin counts as one
    return PixelStatistics(positives, negatives, overlap, is_tied[::-1].copy(), per_image)


def _edges(
    pooled: NDArray[np.floating], defective: NDArray[np.floating], n_bins: int
) -> NDArray[np.floating]:
    """Return the lower ends of the bins, ascending."""
    distinct = pooled[np.r_[True, pooled[1:] != pooled[:-1]]]
    if len(distinct) <= n_bins:
        return distinct
    quarter, n = n_bins // 4, len(pooled)
    even = np.linspace(0, n - 1, quarter)
    logarithmic = n - np.geomspace(1, n, quarter)
    chosen = [pooled[np.r_[even, logarithmic].astype(int)]]
    if len(defective):
        chosen.append(defective[np.linspace(0, len(defective) - 1, 2 * quarter).astype(int)])
    edges = np.sort(np.concatenate(chosen))
    frequent = edges[1:][edges[1:] == edges[:-1]]  # chosen twice: gets a bin of its own
    infinity = np.array(np.inf, edges.dtype)
    return np.unique(np.r_[edges, np.nextafter(frequent, infinity)])
