"""Score a stored run again: any layers, fusion and smoothing, any threshold, every PRO definition.

Everything starts from a run's distance maps; no model and no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betaincinv  # scipy.stats takes half a second to import

from rd4ad import metrics
from rd4ad.metrics.category import category_metrics
from rd4ad.runs.run import Run
from rd4ad.scoring import Maps, Scoring, anomaly_maps, scores

Masks = NDArray[np.bool_]
LIMITS = {"MVTec, limit 0.3": 0.3, "MVTec, limit 0.05": 0.05, "no limit (1.0)": 1.0}
PER_IMAGE = "released code, per image"


@dataclass(frozen=True, eq=False)
class Rescored:
    """A run under one scoring.

    Args:
        scores: (N,) image scores.
        metrics: fraction by metric; nan where undefined.
        reason: why metrics are undefined, empty if none is.
    """

    scores: NDArray[np.float64]
    metrics: dict[str, float]
    reason: str


def own_scoring(run: Run) -> Scoring:
    """Return the scoring that a run was stored with."""
    record = run.record["scoring"]
    return Scoring(
        layers=tuple(map(int, record["layers"].split("+"))),
        fusion=record["fusion"],
        sigma_px=record["sigma_px"],
        score=record.get("score", "max"),
    )


def area(curve: pd.DataFrame) -> float:
    """Return the area under a whole stored curve; nan of an empty one.

    >>> area(pd.DataFrame({"x": [0.0, 1.0], "y": [0.0, 1.0]}))
    0.5
    """
    return float(np.trapezoid(curve["y"], curve["x"])) if len(curve) else float("nan")


def rescore(
    distances: Mapping[int, NDArray[np.float32]],
    scoring: Scoring,
    size_px: int,
    labels: NDArray[np.int_],
    masks: Masks | None,
) -> Rescored:
    """Return scores and all metrics of a run under `scoring`; the maps, large, are not kept.

    Args:
        distances: distance maps by layer, (N, h, w).
        scoring: layers, fusion and smoothing.
        size_px: side of the maps.
        labels: (N,) 0 normal, 1 defective.
        masks: (N, S, S); None gives image metrics alone.
    """
    maps = anomaly_maps(distances, scoring, size_px)
    image_scores = scores(distances, scoring, size_px, maps)
    rows = category_metrics(maps, image_scores, labels, masks)
    reasons = [row["reason"] for row in rows if row["reason"]]
    values = {row["metric"]: float(row["value"]) for row in rows}
    return Rescored(image_scores, values, reasons[0] if reasons else "")


def confusion(images: pd.DataFrame, threshold: float) -> dict[str, int]:
    """Return the counts of a threshold: an image is called defective from it on.

    >>> table = pd.DataFrame({"label": [0, 0, 1, 1], "score": [0.1, 0.6, 0.4, 0.9]})
    >>> confusion(table, 0.5)
    {'found': 1, 'missed defect': 1, 'false alarm': 1, 'passed': 1}
    """
    outcomes = outcome(images, threshold)
    return {name: int((outcomes == name).sum()) for name in OUTCOMES}


OUTCOMES = ("found", "missed defect", "false alarm", "passed")
"""Defective and called so; defective but passed; normal but called defective; normal and passed."""


def outcome(images: pd.DataFrame, threshold: float) -> pd.Series:
    """Return one of `OUTCOMES` for every image (columns label, score)."""
    called, defective = images["score"] >= threshold, images["label"] == 1
    names = np.select(
        [called & defective, ~called & defective, called & ~defective], OUTCOMES[:3], OUTCOMES[3]
    )
    return pd.Series(names, images.index)


def rates(counts: Mapping[str, int]) -> dict[str, tuple[float, float, float]]:
    """Return each count's share of its row and the share's 95% interval (Clopper and Pearson).

    >>> {name: round(found[0], 2) for name, found in rates(
    ...     {"found": 3, "missed defect": 1, "false alarm": 0, "passed": 4}).items()}
    {'found': 0.75, 'missed defect': 0.25, 'false alarm': 0.0, 'passed': 1.0}

    Args:
        counts: as `confusion` returns them. Rows are defective and normal images; of one without
            images, all three numbers are nan.
    """
    found = {}
    for row in (("found", "missed defect"), ("false alarm", "passed")):
        n = sum(counts[name] for name in row)
        for name in row:
            k = counts[name]
            low = float(betaincinv(k, n - k + 1, 0.025)) if k else 0.0
            high = float(betaincinv(k + 1, n - k, 0.975)) if k < n else 1.0
            found[name] = (k / n, low, high) if n else (np.nan, np.nan, np.nan)
    return found


def least_cost(images: pd.DataFrame, missed_cost: float) -> float:
    """Return the threshold of least cost on some images; of a range of them the middle.

    Chosen on the very images that it is for, so it flatters: for looking, not for use.

    >>> table = pd.DataFrame({"label": [0, 0, 1, 1], "score": [0.1, 0.6, 0.4, 0.9]})
    >>> [round(least_cost(table, cost), 3) for cost in (0.5, 10)]
    [0.75, 0.25]

    Args:
        images: label and score.
        missed_cost: of a missed defect, in false alarms.
    """
    ascending = np.unique(images["score"].to_numpy(float))
    edges = np.r_[ascending[0] - 1e-3, ascending, ascending[-1] + 1e-3]
    middles = (edges[1:] + edges[:-1]) / 2  # an image is called defective from its score on
    normal = np.sort(images.loc[images["label"] == 0, "score"].to_numpy(float))
    defective = np.sort(images.loc[images["label"] == 1, "score"].to_numpy(float))
    missed = np.searchsorted(defective, middles, "left")
    alarms = len(normal) - np.searchsorted(normal, middles, "left")
    return float(middles[int(np.argmin(missed_cost * missed + alarms))])


def by_distance(images: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Return the images with `outcome`, those nearest to the threshold first.

    >>> table = pd.DataFrame({"label": [0, 1, 1], "score": [0.1, 0.4, 0.6]})
    >>> by_distance(table, 0.5)["score"].tolist()
    [0.4, 0.6, 0.1]
    """
    told = images.assign(outcome=outcome(images, threshold))
    margin = (told["score"] - threshold).abs().round(9)
    return told.loc[margin.sort_values(kind="stable").index]


def by_error(images: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Return the images with `outcome`: wrong ones first, the worst of them at the top.

    >>> table = pd.DataFrame({"label": [0, 1, 1], "score": [0.1, 0.4, 0.2]})
    >>> by_error(table, 0.5)["score"].tolist()
    [0.2, 0.4, 0.1]
    """
    told = images.assign(outcome=outcome(images, threshold))
    wrong = told["outcome"].isin(["missed defect", "false alarm"])
    margin = (told["score"] - threshold).abs()
    order = pd.DataFrame({"right": ~wrong, "margin": margin.where(~wrong, -margin)})
    return told.loc[order.sort_values(["right", "margin"], kind="stable").index]


def pro_by_definition(masks: Masks, maps: Maps) -> dict[str, float]:
    """Return PRO under every definition, fraction by its name.

    Args:
        masks: (N, H, W), True where defective.
        maps: (N, H, W) anomaly maps.

    Raises:
        ValueError: shapes that differ, maps that are not finite.
    """
    ranking = metrics.pixel_ranking(masks, maps)
    found = {name: metrics.area_up_to(ranking, limit) for name, limit in LIMITS.items()}
    return found | {PER_IMAGE: metrics.aupro_per_image(masks, maps)}


def pro_curve(masks: Masks, maps: Maps) -> pd.DataFrame:
    """Return the whole-category PRO curve, thinned: x, y, threshold."""
    curve = metrics.thin_curve(metrics.pro_curve(masks, maps), keep_x=0.3)
    return pd.DataFrame({"x": curve.x, "y": curve.y, "threshold": curve.threshold})


def per_image_curve(masks: Masks, maps: Maps) -> pd.DataFrame:
    """Return the mean over defective images of each one's own PRO curve, up to 0.3.

    Every image's false-positive rate is over its own pixels, which is what sets the released
    definition apart. Columns x, y and threshold; thresholds differ by image, so they are nan.
    """
    grid = np.linspace(0, 0.3, 121)
    curves = [
        metrics.pro_curve(mask[None], one[None])
        for mask, one in zip(masks, maps, strict=True)
        if mask.any() and not mask.all()
    ]
    heights = [np.interp(grid, curve.x, curve.y) for curve in curves]
    mean = np.mean(heights, axis=0) if heights else np.full(len(grid), np.nan)
    return pd.DataFrame({"x": grid, "y": mean, "threshold": np.nan})


def split_auroc(
    maps: Maps, masks: Masks, nominal: NDArray[np.bool_], of_them: NDArray[np.bool_]
) -> dict[str, float]:
    """Return pixel AUROC of misplaced parts: of the whole mask, and of its two halves.

    Each half is ranked against the same normal pixels: those of all images outside every mask.

    Args:
        maps: (N, S, S) anomaly maps.
        masks: (N, S, S) masks, which cover both where the part is and where it should be.
        nominal: (S, S) where the part should be.
        of_them: (N,) which images are misplaced parts.
    """
    inside = masks & of_them[:, None, None]
    halves = {
        "whole mask": inside,
        "where the part is": inside & ~nominal,
        "where it should be": inside & nominal,
    }
    normal = np.sort(maps[~masks])
    return {name: _auroc_against(normal, maps[half]) for name, half in halves.items()}


def _auroc_against(ascending: NDArray[np.floating], positives: NDArray[np.floating]) -> float:
    if not len(positives) or not len(ascending):
        return float("nan")
    below = np.searchsorted(ascending, positives, "left")
    level = np.searchsorted(ascending, positives, "right")
    return float((below + level).mean() / 2 / len(ascending))
