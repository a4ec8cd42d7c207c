"""Every metric of a category with its definition, under one scoring or a grid, and its curves."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rd4ad import metrics
from rd4ad.scoring import (
    FUSIONS,
    IMAGE,
    Maps,
    Scoring,
    anomaly_maps,
    layers_name,
    scaled_sigma,
    scores,
)

MetricRow = dict[str, Any]
Masks = NDArray[np.bool_] | Sequence[NDArray[np.bool_]]

DEFINITIONS = {
    "image_auroc": "exact",
    "image_ap": "exact",
    "image_f1_max": "exact",
    "pixel_auroc": "exact, pooled",
    "pixel_ap": "exact, pooled",
    "pixel_f1_max": "exact, pooled",
    "aupro": "MVTec, limit 0.3",
    "aupro_0.05": "MVTec, limit 0.05",
    "aupro_per_image": "released code",
}
"""Definition of every metric, as it is named beside the metric everywhere."""


def scoring_grid(scoring: Scoring, layers: tuple[int, ...], size_px: int) -> Iterator[Scoring]:
    """Yield every scoring that a run records: layer subsets x fusions x smoothings.

    >>> len(list(scoring_grid(Scoring(), (1, 2, 3), 256))), len(list(
    ...     scoring_grid(Scoring(), (1, 2, 3), 128)))
    (11, 22)
    """
    sigmas = sorted({scoring.sigma_px, 4.0, scaled_sigma(size_px)})
    for n in range(1, len(layers) + 1):
        for subset in combinations(layers, n):
            for fusion in FUSIONS if n > 1 else FUSIONS[:1]:  # of one layer, both are the same
                for sigma in sigmas:
                    yield replace(scoring, layers=subset, fusion=fusion, sigma_px=sigma)


def metric_grid(
    distances: Mapping[int, NDArray[np.floating]],
    labels: NDArray[np.int_],
    masks: Masks | None,
    scoring: Scoring,
    size_px: int,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[MetricRow]:
    """Return the rows of metrics.csv: every metric under every scoring of the grid."""
    layers = tuple(layer for layer in distances if layer != IMAGE)
    grid = list(scoring_grid(scoring, layers, size_px))
    rows = []
    for done, choice in enumerate(grid, start=1):
        maps = anomaly_maps(distances, choice, size_px)
        where = {
            "layers": layers_name(choice.layers),
            "fusion": choice.fusion,
            "smoothing": choice.sigma_px,
        }
        found = category_metrics(maps, scores(distances, choice, size_px, maps), labels, masks)
        rows += [where | row for row in found]
        report(done, len(grid))
    return rows


def category_metrics(
    maps: Maps | Sequence[Maps],
    image_scores: NDArray[np.float64],
    labels: NDArray[np.int_],
    masks: Masks | None,
) -> list[MetricRow]:
    """Return every metric of a category with its definition; an undefined one with the reason."""
    values = metrics.image_metrics(labels, image_scores)
    if masks is not None:
        values |= metrics.pixel_metrics(masks, maps)
    reason = why_undefined(labels, masks)
    return [
        {
            "metric": metric,
            "definition": definition,
            "value": values.get(metric, np.nan),
            "ci_low": np.nan,
            "ci_high": np.nan,
            "reason": reason if np.isnan(values.get(metric, np.nan)) else "",
        }
        for metric, definition in DEFINITIONS.items()
    ]


def why_undefined(labels: NDArray[np.int_], masks: Masks | None) -> str:
    """Return why metrics of such a test set may be undefined."""
    if labels.all():
        return "the test set has no normal image"
    if not labels.any():
        return "the test set has no defect"
    if masks is None:
        return "the category has no masks"
    if any(np.any(mask) for mask in masks):
        return "some map is constant, or every pixel is defective"
    return "no pixel is marked as defective"


def curve_points(
    labels: NDArray[np.int_],
    image_scores: NDArray[np.float64],
    masks: Masks | None,
    maps: Maps,
) -> pd.DataFrame:
    """Return the rows of curves.parquet: image and pixel ROC and PR, and PRO, thinned."""
    images = metrics.image_ranking(labels, image_scores)
    curves: dict[str, metrics.Curve] = {}
    if images.is_defined:
        curves |= {
            "image_roc": metrics.roc_curve(images),
            "image_pr": metrics.precision_curve(images),
        }
    if masks is not None:
        pixels = metrics.pixel_ranking(masks, maps)
        curves |= {
            "pixel_roc": metrics.roc_curve(pixels),
            "pixel_pr": metrics.precision_curve(pixels),
            "pro": metrics.rate_curve(pixels, pixels.weights),
        }
    tables = []
    for name, whole in curves.items():
        curve = metrics.thin_curve(whole, keep_x=0.3 if name == "pro" else None)
        points = {"curve": name, "x": curve.x, "y": curve.y, "threshold": curve.threshold}
        tables.append(pd.DataFrame(points))
    return pd.concat(tables) if tables else pd.DataFrame(columns=["curve", "x", "y", "threshold"])
