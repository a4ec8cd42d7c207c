"""A threshold for an accepted rate of false alarms, and what the photos can promise about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy.special import betaincinv, stdtrit  # scipy.stats takes half a second to import

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A threshold and how sure it is.

    Args:
        value: a score above it is an alarm.
        rate: the accepted share of good parts above it.
        at_most: the share of good parts above it is at most this, with 95% confidence, whatever
            their scores' distribution.
        n_photos: held-out photos that it follows from.
        is_extrapolated: it lies beyond what so many photos can show, and rests on a log-normal
            distribution of scores.
    """

    value: float
    rate: float
    at_most: float
    n_photos: int
    is_extrapolated: bool

    @property
    def text(self) -> str:
        """What can be said of it, in words."""
        promise = (
            f"With {self.n_photos} photos nobody can promise less than "
            f"1 false alarm in {max(1, int(1 / self.at_most))} (95% confidence)."
        )
        if not self.is_extrapolated:
            return f"Set from the scores of {self.n_photos} held-out photos. {promise}"
        return (
            f"1 in {round(1 / self.rate)} is more than {self.n_photos} photos can show: the "
            f"threshold is extrapolated from the spread of their scores. {promise}"
        )


def threshold_for(scores: Sequence[float], rate: float = 0.01) -> Threshold:
    """Return the threshold that a good part exceeds with probability `rate`.

    Where enough photos are there it is the order statistic that the next of n + 1 exchangeable
    scores exceeds at most so often (split conformal prediction). Otherwise it is the prediction
    limit of the next of n + 1 log-normal scores, by Student's t, but no less than the largest.

    >>> threshold_for(range(1, 200), 0.01).value
    198.0
    >>> threshold_for([1.0, 1.1, 1.2, 1.3, 1.4], 0.01).is_extrapolated
    True

    Args:
        scores: of held-out normal photos, at least 2, all positive.
        rate: accepted share of false alarms, in (0, 0.5].

    Raises:
        ValueError: fewer scores, or another rate.
    """
    if len(scores) < 2 or not 0 < rate <= 0.5:
        raise ValueError(
            f"expected at least 2 scores and a rate in (0, 0.5]; got {len(scores)} and {rate}"
        )
    ordered = np.sort(np.asarray(scores, float))
    n = len(ordered)
    rank = ceil((n + 1) * (1 - rate) - 1e-9)
    is_extrapolated = rank > n
    if is_extrapolated:
        logs = np.log(np.maximum(ordered, 1e-12))
        reach = float(stdtrit(n - 1, 1 - rate)) * float(logs.std(ddof=1)) * np.sqrt(1 + 1 / n)
        value = max(float(np.exp(logs.mean() + reach)), float(ordered[-1]))
    else:
        value = float(ordered[rank - 1])
    n_above = int((ordered > value).sum())
    at_most = float(betaincinv(n_above + 1, n - n_above, CONFIDENCE))  # Clopper and Pearson
    return Threshold(
        value=value, rate=rate, at_most=at_most, n_photos=n, is_extrapolated=is_extrapolated
    )
