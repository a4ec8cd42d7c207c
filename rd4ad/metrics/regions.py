"""Pixel metrics of a category: AUROC, AP, F1-max and per-region overlap (PRO), from one sort.

PRO has several definitions in use; each has its own function here (docs/METHOD.md lists them).

`aupro`, MVTec's: at every threshold, the mean over all regions of the category of the share of the
region that is detected, against the share of all normal pixels of the category that are; area up to
a false-positive rate of 0.3, divided by 0.3. That mean of shares is a sum over defective pixels,
each weighted by 1 / (number of regions x size of its region). So a pixel with score s adds its
weight times a ramp, from the rate of normal pixels above s to the rate of those at or above s, and
the area under all ramps up to the limit is exact, ties included, without drawing the curve.
"""

import os
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label as label_regions

from rd4ad.data.images import prefetch
from rd4ad.metrics.ranking import (
    Curve,
    Floats,
    Ranking,
    auroc,
    average_precision,
    f1_max,
    rank,
    rate_curve,
)

Stack = NDArray[np.generic] | Sequence[NDArray[np.generic]]
_EIGHT_CONNECTED = np.ones((3, 3), dtype=int)
_N_THRESHOLDS = 200  # hq-deng/RD4AD test.py, compute_pro(num_th=200)
_LIMIT = 0.3  # MVTec evaluation code and hq-deng/RD4AD test.py


def pixel_ranking(masks: Stack, maps: Stack) -> Ranking:
    """Return the ranking of pixels, each weighted so that every region weighs the same.

    >>> masks = np.array([[[1, 1, 0, 1]]])  # regions of two pixels and of one
    >>> pixel_ranking(masks, np.array([[[0.9, 0.8, 0.1, 0.5]]])).weights.tolist()
    [0.25, 0.25, 0.5]

    Args:
        masks: (N, H, W) or a sequence of (H, W), two values at most, nonzero where defective.
        maps: anomaly maps of the same shapes, finite, higher is more anomalous.

    Raises:
        ValueError: other shapes, masks of more than two values, a map that is not finite.
    """
    defective, weights = [], []
    for mask, anomaly_map in checked_pairs(masks, maps):
        if mask.any():
            regions, _ = label_regions(mask, structure=_EIGHT_CONNECTED)
            inside = regions[mask]
            defective.append(anomaly_map[mask])
            weights.append(1 / np.bincount(inside)[inside])
    # Once more for the normal pixels: what is computed when asked for is never there as a whole.
    normal = (anomaly_map[~mask] for mask, anomaly_map in checked_pairs(masks, maps))
    n_regions = sum(round(float(weight.sum())) for weight in weights)
    if not defective:
        return rank(np.empty(0), normal)
    weight = np.concatenate(weights) / n_regions
    return rank(np.concatenate(defective), normal, weight)


def checked_pairs(
    masks: Stack, maps: Stack
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.floating]]]:
    """Yield (mask, map) of every image as bool and floating arrays; see `pixel_ranking`."""
    if len(masks) != len(maps) or len(maps) == 0:
        raise ValueError(f"expected a mask for every map; got {len(masks)} and {len(maps)}")
    for index, (raw_mask, raw_map) in enumerate(zip(masks, maps, strict=True)):
        mask, anomaly_map = np.asarray(raw_mask), np.asarray(raw_map)
        if mask.ndim != 2 or mask.shape != anomaly_map.shape:
            raise ValueError(
                f"image {index}: expected a mask and a map of one shape (H, W); got "
                f"{mask.shape} and {anomaly_map.shape}"
            )
        if mask.dtype != np.bool_:
            values = np.unique(mask)
            if len(values) > 2 or (len(values) == 2 and values[0] != 0):
                raise ValueError(
                    f"image {index}: a mask has 0 for normal and one other value; got {values[:5]}"
                )
            mask = mask != 0
        if anomaly_map.dtype.kind != "f" or anomaly_map.dtype == np.float16:
            anomaly_map = anomaly_map.astype(np.float32 if anomaly_map.itemsize < 4 else float)
        if not np.isfinite(anomaly_map).all():
            raise ValueError(f"image {index}: the map holds NaN or infinity")
        yield mask, anomaly_map


def pixel_auroc(masks: Stack, maps: Stack) -> float:
    """Return the AUROC over all pixels of all images pooled, in [0, 1]; nan if undefined.

    >>> pixel_auroc(np.array([[[0, 1]]]), np.array([[[0.1, 0.9]]]))
    1.0

    Args, Raises: see `pixel_ranking`. Undefined without a defective or without a normal pixel.
    """
    return auroc(pixel_ranking(masks, maps))


def pixel_ap(masks: Stack, maps: Stack) -> float:
    """Return the average precision over all pixels pooled, in [0, 1]; nan if undefined.

    >>> round(pixel_ap(np.array([[[0, 1, 0, 1]]]), np.array([[[0.1, 0.2, 0.3, 0.4]]])), 4)
    0.8333
    """
    return average_precision(pixel_ranking(masks, maps))


def aupro(masks: Stack, maps: Stack, fpr_limit: float = _LIMIT) -> float:
    """Return MVTec's AU-PRO, in [0, 1], higher is better; nan if undefined.

    >>> round(aupro(np.array([[[0, 1, 0]]]), np.array([[[0.1, 0.9, 0.2]]])), 6)
    1.0

    Args:
        masks: see `pixel_ranking`.
        maps: see `pixel_ranking`.
        fpr_limit: false-positive rate up to which the area is taken, in (0, 1].

    Raises:
        ValueError: as `pixel_ranking`, or a limit outside (0, 1].

    Source: Bergmann et al., IJCV 2021; MVTec's evaluation code (pro_curve_util.py).
    """
    return area_up_to(pixel_ranking(masks, maps), fpr_limit)


def area_up_to(ranking: Ranking, fpr_limit: float) -> float:
    """Return the area under the weighted `rate_curve` up to a rate, divided by that rate.

    >>> ranking = pixel_ranking(np.array([[[0, 0, 1, 1]]]), np.array([[[0.1, 0.7, 0.6, 0.9]]]))
    >>> area_up_to(ranking, 0.5)
    0.5
    """
    if not 0 < fpr_limit <= 1:
        raise ValueError(f"fpr_limit must lie in (0, 1]; got {fpr_limit}")
    if not ranking.is_defined:
        return float("nan")
    start, end = ranking.above / ranking.n_negatives, ranking.level / ranking.n_negatives
    whole = fpr_limit - (start + end) / 2  # the ramp ends before the limit
    with np.errstate(divide="ignore", invalid="ignore"):
        cut = (fpr_limit - start) ** 2 / (2 * (end - start))  # the limit cuts the ramp
    area = np.where(end <= fpr_limit, whole, np.where(start < fpr_limit, cut, 0.0))
    return float(np.dot(ranking.weights, area) / fpr_limit)


def pro_curve(masks: Stack, maps: Stack) -> Curve:
    """Return the whole PRO curve by MVTec's definition: overlap over false-positive rate.

    >>> curve = pro_curve(np.array([[[0, 0, 1, 1]]]), np.array([[[0.1, 0.7, 0.6, 0.9]]]))
    >>> curve.x[1:].tolist(), curve.y[1:].tolist()
    ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0])

    Args, Raises: see `pixel_ranking`. Exact: its trapezoids give `aupro`.
    """
    ranking = pixel_ranking(masks, maps)
    return rate_curve(ranking, ranking.weights)


def aupro_per_image(masks: Stack, maps: Stack) -> float:
    """Return the PRO metric of the released RD4AD code; nan if undefined.

    >>> masks = np.array([[[0, 0, 0, 0, 0, 0, 1, 1]]])
    >>> round(aupro_per_image(masks, np.linspace(0, 1, 8)[None, None]), 6)
    1.0

    For each defective image on its own: 200 linear thresholds from the map's minimum to its
    maximum; overlap is the mean over that image's regions; the false-positive rate is over that
    image's normal pixels; points at 0.3 and above are dropped, the rates divided by the largest one
    kept, and the trapezoids summed. Then the mean over defective images. Normal images play no
    part.

    Undefined without a defective image, and where a map is constant or jumps over all rates below
    0.3.

    Source: hq-deng/RD4AD test.py, compute_pro and evaluation.
    """
    defective = (pair for pair in checked_pairs(masks, maps) if pair[0].any())
    futures = prefetch(  # sorting is most of it
        lambda pair: _release_area(*pair), defective, 2 * (os.cpu_count() or 1)
    )
    values = [future.result() for future in futures]
    return float(np.mean(values)) if values else float("nan")


def _release_area(mask: NDArray[np.bool_], anomaly_map: Floats) -> float:
    lowest, highest = anomaly_map.min(), anomaly_map.max()
    if lowest == highest or mask.all():
        return float("nan")
    thresholds = np.arange(lowest, highest, (highest - lowest) / _N_THRESHOLDS)
    regions, n_regions = label_regions(mask, structure=_EIGHT_CONNECTED)
    covered = [
        _share_above(anomaly_map[regions == region], thresholds)
        for region in range(1, n_regions + 1)
    ]
    overlap = np.mean(covered, axis=0)
    rate = _share_above(anomaly_map[~mask], thresholds)
    kept = rate < _LIMIT
    if kept.sum() < 2 or rate[kept].max() == 0:
        return float("nan")
    x, y = rate[kept][::-1], overlap[kept][::-1]
    return float(np.trapezoid(y, x / x.max()))


def _share_above(values: Floats, thresholds: Floats) -> NDArray[np.float64]:
    share: NDArray[np.float64] = 1 - np.searchsorted(np.sort(values), thresholds, "right") / len(
        values
    )
    return share


def pixel_metrics(masks: Stack, maps: Stack) -> dict[str, float]:
    """Return every pixel metric of a category; the negatives are sorted once.

    >>> sorted(pixel_metrics(np.array([[[0, 1]]]), np.array([[[0.1, 0.9]]])))
    ['aupro', 'aupro_0.05', 'aupro_per_image', 'pixel_ap', 'pixel_auroc', 'pixel_f1_max']

    Args, Raises: see `pixel_ranking`.
    """
    return metric_rows(pixel_ranking(masks, maps)) | {
        "aupro_per_image": aupro_per_image(masks, maps)
    }


def metric_rows(ranking: Ranking) -> dict[str, float]:
    """Return the pixel metrics that follow from a `pixel_ranking`.

    >>> ranking = pixel_ranking(np.array([[[0, 0, 1, 1]]]), np.array([[[0.1, 0.2, 0.6, 0.9]]]))
    >>> metric_rows(ranking)["pixel_auroc"]
    1.0
    """
    return {
        "pixel_auroc": auroc(ranking),
        "pixel_ap": average_precision(ranking),
        "pixel_f1_max": f1_max(ranking)[0],
        "aupro": area_up_to(ranking, _LIMIT),
        "aupro_0.05": area_up_to(ranking, 0.05),
    }
