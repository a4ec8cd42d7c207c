"""Distance maps rounded to as few bits as their metrics allow."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rd4ad.metrics.category import category_metrics, scoring_grid
from rd4ad.runs.run import MOST_BITS, bits_of, decode, encode
from rd4ad.scoring import IMAGE, Maps, Scoring, anomaly_maps, scores

FEWEST_BITS = 12
TOLERANCE = 1e-5  # of a metric
_JUMPS = "aupro_per_image"
"""Its 200 thresholds and its cut at the last rate under 0.3 are steps: it moves by 1e-4 with the
last bit of 16. It counts at a detector's own scoring alone, where it is quoted."""


def rounded(
    distances: Mapping[int, Maps],
    scoring: Scoring,
    size_px: int,
    labels: NDArray[np.int_],
    masks: NDArray[np.bool_] | None,
) -> tuple[dict[int, Maps], int]:
    """Return the distance maps as a run keeps them, and the bits of the finest layer's codes.

    Those are three quarters of a run. They get the fewest bits, from `FEWEST_BITS` on, that move no
    metric at any scoring of the grid by more than 1e-5; other layers' codes have 16.

    >>> maps = {1: np.linspace(0, 1, 2 * 64, dtype=np.float32).reshape(2, 8, 8)}
    >>> kept, bits = rounded(maps, Scoring(layers=(1,)), 32, np.array([0, 1]), None)
    >>> bits, bool(abs(kept[1] - maps[1]).max() < 2**-12)
    (12, True)

    Args:
        distances: distance maps by layer, (N, h, w) each.
        scoring: the detector's own.
        size_px: side of its anomaly maps.
        labels: (N,) 0 normal, 1 defect.
        masks: (N, S, S); None where there are none.
    """
    layers = tuple(layer for layer in distances if layer != IMAGE)
    grid = [one for one in scoring_grid(scoring, layers, size_px) if min(layers) in one.layers]

    def measured(maps: Mapping[int, Maps], choice: Scoring) -> NDArray[np.float64]:
        anomaly = anomaly_maps(maps, choice, size_px)
        found = category_metrics(anomaly, scores(maps, choice, size_px, anomaly), labels, masks)
        counted = [row for row in found if choice == scoring or row["metric"] != _JUMPS]
        return np.array([row["value"] for row in counted])

    @cache
    def wanted(choice: Scoring) -> NDArray[np.float64]:
        return measured(distances, choice)

    grid.sort(key=lambda choice: choice != scoring)  # most is at stake there
    for bits in range(FEWEST_BITS, MOST_BITS):
        kept = _as_kept(distances, bits)
        if all(
            np.allclose(measured(kept, one), wanted(one), rtol=0, atol=TOLERANCE, equal_nan=True)
            for one in grid
        ):
            return kept, bits
    return _as_kept(distances, MOST_BITS), MOST_BITS


def _as_kept(distances: Mapping[int, Maps], bits: int) -> dict[int, Any]:
    each = bits_of(distances, bits)
    return {layer: decode(*encode(stack, each[layer])) for layer, stack in distances.items()}
