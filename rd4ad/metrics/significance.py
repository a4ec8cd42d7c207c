"""How far a metric may be off by the choice of test images: the bootstrap, without sorting again.

A resample draws as many test images as there are, with replacement, and is one count an image.
Pixels are sorted once, into histograms of every image over one grid of thresholds. Histograms add
up, so those of all resamples are one matrix product, (resamples x images) times (images x bins),
and every metric of a resample follows from cumulative sums.

Images are drawn from all test images at once, not normal and defective ones apart: AP and F1 depend
on the share of defects, and that share is as much an accident of a test set as its images are. A
resample that has no normal image, or no defect, has no metric; it is left out.

What the interval is about: other test images of the same kind, and the same trained model. It does
not cover another training seed. And a resample holds no image that the test set does not: where
every metric is 1, so is every resample's, and the interval [1, 1] says nothing about rarer defects.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rd4ad.metrics.histograms import PixelStatistics
from rd4ad.metrics.ranking import image_ranking

Rows = NDArray[np.float64]
N_RESAMPLES = 1000
CONFIDENCE = 0.95
_CHUNK = 2**20  # numbers in one array: 8 MiB, and some twenty such arrays at a time


def resamples(n_images: int, n_resamples: int, seed: int, width: int) -> Iterator[Rows]:
    """Yield how often every image is drawn, (a number of resamples, `n_images`).

    >>> [counts.sum(axis=1).tolist() for counts in resamples(5, 3, seed=0, width=5)]
    [[5.0, 5.0, 5.0]]

    Args:
        n_images: number of test images, and of images drawn in a resample.
        n_resamples: number of resamples over all that is yielded.
        seed: the same for two runs that are compared on the same images: then their resamples are
            the same, whatever `width` is.
        width: numbers that the caller keeps a resample; what is yielded at a time depends on it.
    """
    rng = np.random.default_rng(seed)
    n_at_a_time = max(1, _CHUNK // max(width, n_images))
    for start in range(0, n_resamples, n_at_a_time):
        counts = np.zeros((min(n_at_a_time, n_resamples - start), n_images))
        for row in counts:
            row += np.bincount(rng.integers(n_images, size=n_images), minlength=n_images)
        yield counts


def bootstrap(
    exact: Mapping[str, float],
    labels: ArrayLike,
    scores: ArrayLike,
    pixels: PixelStatistics | None = None,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> dict[str, Rows]:
    """Return every metric that is in `exact` and defined, for every resample; nan where undefined.

    >>> exact = {"image_auroc": 0.75}
    >>> found = bootstrap(exact, [0, 0, 1], [0.1, 0.4, 0.4], n_resamples=200)
    >>> found["image_auroc"].shape, interval(found["image_auroc"])
    ((200,), (0.5, 1.0))

    Image metrics are exact. Pixel metrics of a grid are shifted by what the grid is off on the
    whole test set (exact minus binned), so that the interval lies around the exact metric.

    Args:
        exact: the metrics of the whole test set by name, as in `metrics.category.DEFINITIONS`.
        labels: (N,) 0 normal, 1 defect.
        scores: (N,) image scores.
        pixels: see `pixel_statistics`; None gives image metrics alone.
        n_resamples: number of resamples.
        seed: of the resamples; see `resamples`.

    Raises:
        ValueError: as `rd4ad.metrics.image_ranking`, or `pixels` of another number of images.
    """
    image_ranking(labels, scores)  # checks both
    label, score = np.asarray(labels), np.asarray(scores, np.float64)
    if pixels is not None and pixels.n_images != len(label):
        raise ValueError(f"expected statistics of {len(label)} images; got {pixels.n_images}")
    width = max(len(label), 0 if pixels is None else pixels.positives.shape[1])
    whole = metrics_of_counts(np.ones((1, len(label))), label, score, pixels)
    parts = [
        metrics_of_counts(counts, label, score, pixels)
        for counts in resamples(len(label), n_resamples, seed, width)
    ]
    return {
        name: np.clip(np.concatenate([p[name] for p in parts]) + exact[name] - binned[0], 0, 1)
        for name, binned in whole.items()
        if np.isfinite(exact.get(name, np.nan))
    }


def interval(values: Rows) -> tuple[float, float]:
    """Return the 95% percentile interval of a metric over resamples, undefined ones left out.

    >>> interval(np.array([0.5, 0.6, 0.7, np.nan]))
    (0.505, 0.695)

    Args:
        values: (R,) as `bootstrap` returns them; at least one is not nan.
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)


@np.errstate(invalid="ignore")  # 0 / 0 is nan: undefined
def metrics_of_counts(
    counts: Rows,
    labels: NDArray[np.int_],
    scores: NDArray[np.float64],
    pixels: PixelStatistics | None,
) -> dict[str, Rows]:
    """Return every metric (R,) of images that count several times or not at all, as binned.

    >>> counts = np.array([[1.0, 1, 1], [1, 1, 0]])  # without the only defect, undefined
    >>> labels, scores = np.array([0, 0, 1]), np.array([0.1, 0.4, 0.4])
    >>> metrics_of_counts(counts, labels, scores, None)["image_auroc"].tolist()
    [0.75, nan]

    Args:
        counts: (R, N) how often every image counts.
        labels: see `bootstrap`.
        scores: see `bootstrap`.
        pixels: see `bootstrap`.
    """
    order = np.argsort(-scores, kind="stable")
    is_defect, drawn = labels[order] == 1, counts[:, order]
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])  # of every distinct score
    images = _Ranked(
        np.add.reduceat(drawn * is_defect, starts, axis=1),
        np.add.reduceat(drawn * ~is_defect, starts, axis=1),
    )
    found = {
        "image_auroc": images.auroc(),
        "image_ap": images.average_precision(np.ones(len(starts), bool)),
        "image_f1_max": images.f1_max(),
    }
    if pixels is None:
        return found
    ranked = _Ranked(counts @ pixels.positives, counts @ pixels.negatives)
    overlap = counts @ pixels.overlap
    has_mask = np.isfinite(pixels.aupro_per_image)
    own = np.where(has_mask, pixels.aupro_per_image, 0)
    return found | {
        "pixel_auroc": ranked.auroc(),
        "pixel_ap": ranked.average_precision(pixels.is_tied),
        "pixel_f1_max": ranked.f1_max(),
        "aupro": ranked.area_up_to(0.3, overlap),
        "aupro_0.05": ranked.area_up_to(0.05, overlap),
        "aupro_per_image": counts @ own / (counts @ has_mask),
    }


class _Ranked:
    """Positives among negatives by bin, strictest first, for every resample (R, K).

    The metrics are those of `rd4ad.metrics.ranking`, for many rows of weights at once.
    """

    def __init__(self, positives: Rows, negatives: Rows) -> None:
        self.positives, self.negatives = positives, negatives
        self.hits, self.level = positives.cumsum(axis=1), negatives.cumsum(axis=1)
        self.n_positives, self.n_negatives = self.hits[:, -1], self.level[:, -1]

    def auroc(self) -> Rows:
        beaten_by = self.level - self.negatives / 2
        pairs = self.n_positives * self.n_negatives
        return self._defined(1 - np.einsum("rk,rk->r", self.positives, beaten_by) / pairs)

    def average_precision(self, is_tied: NDArray[np.bool_]) -> Rows:
        end = _ratio(self.hits, self.level)
        above = self.hits - self.positives, self.level - self.negatives
        begin = np.where(above[0] + above[1] > 0, _ratio(*above), end)
        precision = np.where(is_tied, end, (begin + end) / 2)
        gained = np.einsum("rk,rk->r", self.positives, precision)
        return self._defined(gained / self.n_positives)

    def f1_max(self) -> Rows:
        f1 = 2 * self.hits / (self.n_positives[:, None] + self.hits + self.level)
        return self._defined(f1.max(axis=1))

    def area_up_to(self, fpr_limit: float, overlap: Rows) -> Rows:
        rate = self.level / self.n_negatives[:, None]
        width = self.negatives / self.n_negatives[:, None]
        # how far the ramp's two ends lie below the limit, and how much of the ramp does
        end = np.maximum(fpr_limit - rate, 0)
        start = np.maximum(fpr_limit - (rate - width), 0)
        below = np.divide(start - end, width, out=np.ones_like(width), where=width > 0)
        area = np.einsum("rk,rk->r", overlap, below * (start + end) / 2)
        return self._defined(area / overlap.sum(axis=1) / fpr_limit)

    def _defined(self, values: Rows) -> Rows:
        return np.where((self.n_positives > 0) & (self.n_negatives > 0), values, np.nan)


def _ratio(hits: Rows, level: Rows) -> Rows:
    """Return precision; zero where nothing is detected."""
    found = hits + level
    return np.divide(hits, found, out=np.zeros_like(found), where=found > 0)
