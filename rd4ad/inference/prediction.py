"""What a detector says of one image, and what normal images said before; no torch, no networks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from rd4ad.scoring import IMAGE, Maps, Scoring, anomaly_maps, scores


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What normal images that were held out of training scored.

    >>> round(Calibration(scores=(0.1, 0.2, 0.3), quantile=0.5).threshold, 3)
    0.2

    Args:
        scores: their scores, ascending.
        quantile: the share of normal images meant to stay under the threshold.
        own_threshold: the threshold where it follows from the scores otherwise than as a quantile.
    """

    scores: tuple[float, ...]
    quantile: float
    own_threshold: float | None = None

    @property
    def threshold(self) -> float:
        """The score above which an image is called anomalous."""
        if self.own_threshold is not None:
            return self.own_threshold
        return float(np.quantile(self.scores, self.quantile))


@dataclass(frozen=True)
class Prediction:
    """What a detector says of one image.

    Args:
        score: higher is more anomalous; unbounded above.
        anomaly_map: (size_px, size_px) float32, higher is more anomalous.
        distance_maps: one (h, w) float32 a layer of the detector, finest first, each in [0, 2].
        is_anomalous: score above the calibrated threshold; None where the detector carries none.
    """

    score: float
    anomaly_map: Maps
    distance_maps: list[Maps] = field(repr=False)
    is_anomalous: bool | None = None


def predictions(
    distances: Mapping[int, Maps],
    scoring: Scoring,
    size_px: int,
    calibration: Calibration | None = None,
    compute: Callable[[Mapping[int, Maps], Scoring, int], Maps] = anomaly_maps,
) -> list[Prediction]:
    """Return one prediction an image, in order.

    >>> both = {3: np.stack([np.zeros((2, 2)), np.ones((2, 2))])}
    >>> found = predictions(both, Scoring(layers=(3,)), 32, Calibration(scores=(0.5,), quantile=1))
    >>> [one.is_anomalous for one in found]
    [False, True]

    Args:
        distances: distance maps by layer, (N, h, w) each.
        scoring: see `Scoring`.
        size_px: side of the anomaly maps in pixels.
        calibration: what the threshold follows from, if there is one.
        compute: `rd4ad.scoring.anomaly_maps`, or what gives the same elsewhere.
    """
    maps = compute(distances, scoring, size_px)
    threshold = calibration.threshold if calibration else None
    return [
        Prediction(
            score=float(score),
            anomaly_map=maps[i],
            distance_maps=[stack[i] for layer, stack in distances.items() if layer != IMAGE],
            is_anomalous=None if threshold is None else bool(score > threshold),
        )
        for i, score in enumerate(scores(distances, scoring, size_px, maps))
    ]
