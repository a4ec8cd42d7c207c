"""AUROC, AP, F1-max and their curves, exact: every distinct score is a threshold, ties are merged.

Positives are few and negatives many, so only the negatives are sorted as a whole. Every metric
follows from how many negatives lie above each positive, which is one binary search a positive:

- AUROC is the mean over positives of the share of negatives below it, ties counting half;
- recall changes only at positives' scores, so AP and F1-max need no other threshold.
"""

import heapq
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rd4ad.data.images import prefetch

Floats = NDArray[np.floating]
MAX_POINTS = 500
_PART, _LARGE_PART = 2**21, 2**24  # scores worth a thread; more only where positives are many
_MANY = 2**22  # positives, whose counts in a part take 100 MB: one part at a time


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of a curve from its strictest threshold to its laxest.

    Args:
        x: (P,) false-positive rate (ROC, PRO) or recall (PR), ascending, in [0, 1].
        y: (P,) true-positive rate, precision or per-region overlap, in [0, 1].
        threshold: (P,) the point is what scores >= threshold give; inf where nothing is detected.
    """

    x: Floats
    y: Floats
    threshold: Floats

    def area(self) -> float:
        """Return the area under the points joined by straight lines."""
        return float(np.trapezoid(self.y, self.x))


@dataclass(frozen=True, eq=False)
class Ranking:
    """Positives among negatives, from which every metric follows.

    Args:
        positives: (P,) distinct scores of positives, descending.
        counts: (P,) number of positives at each of these scores.
        weights: (P,) weight of these positives where they do not all weigh the same; sums to one.
        above: (P,) number of negatives that score higher.
        level: (P,) number of negatives that score higher or the same.
        n_negatives: number of negatives.
    """

    positives: Floats
    counts: NDArray[np.int64]
    weights: NDArray[np.float64]
    above: NDArray[np.int64]
    level: NDArray[np.int64]
    n_negatives: int

    @property
    def n_positives(self) -> int:
        """Number of positives."""
        return int(self.counts.sum())

    @property
    def is_defined(self) -> bool:
        """Whether there are both positives and negatives."""
        return len(self.counts) > 0 and self.n_negatives > 0


def rank(
    positives: Floats,
    negatives: Iterable[Floats],
    weights: NDArray[np.float64] | None = None,
) -> Ranking:
    """Return the ranking of positive scores (P,) among negative ones.

    >>> rank(np.array([0.9, 0.5, 0.5]), [np.array([0.1, 0.5, 0.7])]).above.tolist()
    [0, 1]

    Args:
        positives: finite scores, in any order.
        negatives: finite scores in any number of arrays, in any order; few are held at once.
        weights: (P,) weight of each positive, summing to one; equal weights by default.
    """
    if weights is None:
        weights = np.full(len(positives), 1 / max(len(positives), 1))
    order = np.argsort(positives)[::-1]
    ordered = positives[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: len(ordered)])
    distinct = ordered[first]
    above, level, n_negatives = _negatives_over(distinct, negatives)
    return Ranking(
        positives=distinct,
        counts=np.diff(np.r_[first, len(ordered)]),
        weights=np.add.reduceat(weights[order], first) if len(first) else weights,
        above=above,
        level=level,
        n_negatives=n_negatives,
    )


def _negatives_over(
    descending: Floats, negatives: Iterable[Floats]
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return how many negatives lie above each of these scores, how many at it or above, and all.

    Counts of parts add up, so threads share the sorting: NumPy lets go of the interpreter for it.
    Each score is searched for in every part; a part is as long as there are scores, at least, so
    that time stays linear.
    """
    ascending = np.ascontiguousarray(descending[::-1])  # searched in the order of memory: faster
    lowest = np.array([-np.inf], ascending.dtype)  # in every part, so that something lies below

    def count(arrays: list[Floats]) -> tuple[NDArray[np.int64], int]:
        part = np.concatenate([lowest, *arrays])
        part.sort()
        not_above = np.searchsorted(part, ascending, "right")
        below = not_above.copy()
        tied = part[not_above - 1] == ascending  # few, so the second search is short
        below[tied] = np.searchsorted(part, ascending[tied], "left")
        return len(part) - np.stack([not_above, below]), len(part) - 1

    size = max(_PART, min(8 * len(ascending), _LARGE_PART), len(ascending))
    total, n_negatives = np.zeros((2, len(ascending)), np.int64), 0
    n_ahead = 1 if len(ascending) > _MANY else os.cpu_count() or 1
    for future in prefetch(count, _parts(negatives, size), n_ahead):
        counts, n = future.result()
        total += counts
        n_negatives += n
    above, level = total
    return above[::-1], level[::-1], n_negatives


def _parts(arrays: Iterable[Floats], size: int) -> Iterator[list[Floats]]:
    """Yield arrays in groups of at least so many elements; the last may have fewer."""
    group: list[Floats] = []
    for array in arrays:
        group.append(array)
        if sum(map(len, group)) >= size:
            yield group
            group = []
    if group:
        yield group


def auroc(ranking: Ranking) -> float:
    """Return the area under the ROC curve, nan without positives or negatives.

    >>> auroc(rank(np.array([0.9, 0.5]), [np.array([0.1, 0.5])]))
    0.875
    """
    if not ranking.is_defined:
        return float("nan")
    beaten_by = (ranking.above + ranking.level) / 2  # negatives above, ties counting half
    pairs = ranking.n_positives * ranking.n_negatives
    return float(1 - np.dot(ranking.counts, beaten_by) / pairs)


def average_precision(ranking: Ranking) -> float:
    """Return the sum over thresholds of precision times recall gained (scikit-learn's AP).

    >>> average_precision(rank(np.array([0.4, 0.2]), [np.array([0.1, 0.3])]))
    0.8333333333333333
    """
    if not ranking.is_defined:
        return float("nan")
    return float(np.dot(ranking.counts, _precision(ranking)) / ranking.n_positives)


def f1_max(ranking: Ranking) -> tuple[float, float]:
    """Return the largest F1 over all thresholds and the threshold (score >= it) that reaches it.

    >>> f1_max(rank(np.array([0.4, 0.2]), [np.array([0.1, 0.3])]))
    (0.8, 0.2)
    """
    if not ranking.is_defined:
        return float("nan"), float("nan")
    hits = np.cumsum(ranking.counts)
    f1 = 2 * hits / (ranking.n_positives + hits + ranking.level)
    best = int(np.argmax(f1))
    return float(f1[best]), float(ranking.positives[best])


def _precision(ranking: Ranking) -> NDArray[np.float64]:
    hits = np.cumsum(ranking.counts)
    precision: NDArray[np.float64] = hits / (hits + ranking.level)
    return precision


def roc_curve(ranking: Ranking) -> Curve:
    """Return true-positive rate over false-positive rate, exact between its points.

    >>> curve = roc_curve(rank(np.array([0.4, 0.2]), [np.array([0.1, 0.3])]))
    >>> curve.x[1:].tolist(), curve.y[1:].tolist()
    ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0])
    """
    return rate_curve(ranking, ranking.counts / max(ranking.n_positives, 1))


def rate_curve(ranking: Ranking, gains: NDArray[np.float64]) -> Curve:
    """Return the sum of `gains` of the positives detected over false-positive rate.

    >>> ranking = rank(np.array([0.4, 0.2]), [np.array([0.1, 0.3])])
    >>> rate_curve(ranking, np.array([0.9, 0.1])).area()  # 0.9 all the way, 0.1 half of it
    0.95

    Between two points the true curve is a straight line: one stands at both ends of every stretch
    in which positives are gained.

    Args:
        ranking: see `Ranking`.
        gains: (P,) what the positives at each distinct score add, summing to one.
    """
    gained = np.cumsum(gains)
    x = np.stack([ranking.above, ranking.level], 1).ravel() / max(ranking.n_negatives, 1)
    y = np.stack([np.r_[0, gained[:-1]], gained], 1).ravel()
    # the first end of a stretch is what the next higher threshold gives
    higher = np.nextafter(ranking.positives, np.array(np.inf, ranking.positives.dtype))
    threshold = np.stack([higher, ranking.positives], 1).ravel()
    return Curve(np.r_[0, x, 1], np.r_[0, y, 1], np.r_[np.inf, threshold, -np.inf])


def precision_curve(ranking: Ranking) -> Curve:
    """Return precision over recall, one point a distinct score of a positive.

    >>> precision_curve(rank(np.array([0.4, 0.2]), [np.array([0.1, 0.3])])).y.round(2).tolist()
    [1.0, 0.67]
    """
    recall = np.cumsum(ranking.counts) / max(ranking.n_positives, 1)
    return Curve(recall, _precision(ranking), ranking.positives)


def thin_curve(curve: Curve, n_points: int = MAX_POINTS, keep_x: float | None = None) -> Curve:
    """Return at most `n_points` of the curve's points, chosen to keep its area.

    >>> line = np.linspace(0, 1, 1001)
    >>> thin = thin_curve(Curve(x=line, y=line**2, threshold=1 - line), 50)
    >>> len(thin.x), round(thin.area(), 3)
    (50, 0.333)

    Starting from both ends, the stretch whose area is furthest from a straight line's is split in
    the middle of its length, again and again. Curves of anomaly maps move by far less than 1e-4.

    Args:
        curve: any curve with ascending x.
        n_points: at least 3.
        keep_x: the last point up to this x and the first one after it are kept.
    """
    n = len(curve.x)
    if n <= n_points:
        return curve
    steps = np.diff(curve.x)
    area = np.r_[0, np.cumsum(steps * (curve.y[1:] + curve.y[:-1]) / 2)]
    length = np.r_[0, np.cumsum(np.hypot(steps, np.diff(curve.y)))]

    def stretch(i: int, j: int) -> tuple[float, int, int]:
        straight = (curve.x[j] - curve.x[i]) * (curve.y[i] + curve.y[j]) / 2
        return -abs(area[j] - area[i] - straight), i, j

    chosen = {0, n - 1}
    if keep_x is not None:
        after = int(np.searchsorted(curve.x, keep_x, side="right"))
        chosen |= {max(after - 1, 0), min(after, n - 1)}
    ends = sorted(chosen)
    heap = [stretch(i, j) for i, j in pairwise(ends)]
    heapq.heapify(heap)
    while len(chosen) < n_points and heap:
        _, i, j = heapq.heappop(heap)
        if j - i < 2:
            continue
        middle = int(np.searchsorted(length, (length[i] + length[j]) / 2))
        middle = min(max(middle, i + 1), j - 1)
        chosen.add(middle)
        heapq.heappush(heap, stretch(i, middle))
        heapq.heappush(heap, stretch(middle, j))
    index = np.array(sorted(chosen))
    return Curve(curve.x[index], curve.y[index], curve.threshold[index])


def image_ranking(labels: ArrayLike, scores: ArrayLike) -> Ranking:
    """Return the ranking of images.

    >>> image_ranking([0, 1, 1], [0.2, 0.1, 0.3]).n_positives
    2

    Args:
        labels: (N,), 0 normal, 1 defect.
        scores: (N,), finite, higher is more anomalous.

    Raises:
        ValueError: different lengths, labels other than 0 and 1, or a score that is not finite.
    """
    label, score = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if label.ndim != 1 or label.shape != score.shape:
        raise ValueError(
            f"expected one label and one score an image; got {label.shape} and {score.shape}"
        )
    if not np.isin(label, (0, 1)).all():
        raise ValueError(f"labels must be 0 (normal) or 1 (defect); got {np.unique(label)[:5]}")
    if not np.isfinite(score).all():
        raise ValueError(f"the score of image {int(np.argmin(np.isfinite(score)))} is not finite")
    return rank(score[label == 1], [score[label == 0]])
