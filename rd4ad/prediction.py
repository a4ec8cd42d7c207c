"""What a detector says of one image, and what normal images said before; no torch, no networks."""

from dataclasses import dataclass, field

import numpy as np

from rd4ad.scoring import Maps


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What normal images that were held out of training scored.

    >>> round(Calibration(scores=(0.1, 0.2, 0.3), quantile=0.5).threshold, 3)
    0.2

    Args:
        scores: their scores, ascending.
        quantile: the share of normal images meant to stay under the threshold.
    """

    scores: tuple[float, ...]
    quantile: float

    @property
    def threshold(self) -> float:
        """The score above which an image is called anomalous."""
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
