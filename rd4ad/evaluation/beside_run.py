"""Maps of another program beside a stored run on the same test images; nothing is stored."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rd4ad import metrics
from rd4ad.evaluation.map_files import resized
from rd4ad.metrics.category import category_metrics
from rd4ad.runs.comparison import Difference, differences, resample, resample_images
from rd4ad.runs.rescoring import own_scoring
from rd4ad.runs.run import Run
from rd4ad.scoring import Maps, anomaly_maps

NO_LIMIT = "aupro_1.0"
KEPT_PX = 64  # side of the maps that are kept to be looked at
BY_TYPE = ("image_auroc", "pixel_auroc", "aupro")
"""Metrics of every defect type by itself, each against all normal images."""


@dataclass(frozen=True, eq=False)
class Beside:
    """What the maps of another program give beside a run.

    Args:
        run_id: the run's.
        size_px: side at which both were measured.
        images: image, defect_type, label, `score` by the maps, `score_run` by the run; the run's
            order.
        metrics: metric, definition, value, ci_low, ci_high, reason; fractions.
        differences: by metric, the maps' minus the run's.
        by_type: defect_type, n, and for each of `BY_TYPE` the columns metric and metric_run.
        maps: (N, 64, 64) float16, all of them together from 0 to 1, to look at.
    """

    run_id: str
    size_px: int
    images: pd.DataFrame
    metrics: pd.DataFrame
    differences: dict[str, Difference]
    by_type: pd.DataFrame
    maps: NDArray[np.float16]


def beside(run: Run, maps: Iterable[Maps], masks: NDArray[np.bool_] | None) -> Beside:
    """Return the metrics of maps on a run's test images, and how they differ from the run's.

    Each map is resized to the run's resolution, where its masks are; an image's score is the
    maximum of its map as it came. Metrics of images need no masks.

    Args:
        run: a stored one.
        maps: one a test image, (H, W), in the run's order; higher is more anomalous.
        masks: (N, S, S); None where they are not at hand.

    Raises:
        DatasetError: as the maps raise it when they are read.
        ValueError: a file of the run is damaged; the message names it.
    """
    size_px, table = int(run.record["size_px"]), run.images()
    labels = table["label"].to_numpy()
    stack = np.empty((len(table), size_px, size_px), np.float32)
    peaks = np.empty(len(table))
    for place, one in enumerate(maps):
        peaks[place] = one.max()
        stack[place] = resized(one, size_px)
    rows = category_metrics(stack, peaks, labels, masks)
    pixels = None if masks is None else metrics.pixel_statistics(masks, stack)
    of = str(run.record["dataset"]), str(run.record["category"])
    mine = resample_images(of, table.assign(score=peaks), pd.DataFrame(rows), pixels)
    found = pd.DataFrame(rows)
    for metric, values in mine.values.items():
        ends = metrics.interval(values)
        found.loc[found["metric"] == metric, ["ci_low", "ci_high"]] = ends
    theirs = anomaly_maps(run.distances(), own_scoring(run), size_px)
    apart = differences(mine, resample(run))
    if masks is not None and masks.any():
        first, second = (metrics.aupro(masks, one, fpr_limit=1.0) for one in (stack, theirs))
        apart[NO_LIMIT] = Difference(first, second, reason="no interval is computed of it")
        whole = found[found["metric"] == "aupro"].assign(
            metric=NO_LIMIT, definition="MVTec, no limit", ci_low=np.nan, ci_high=np.nan,
            value=first,
        )  # fmt: skip
        found = pd.concat([found, whole], ignore_index=True)
    images = table.rename(columns={"score": "score_run"}).assign(score=peaks)
    return Beside(
        run_id=str(run.record["run_id"]),
        size_px=size_px,
        images=images,
        metrics=found,
        differences=apart,
        by_type=_by_type(images, stack, theirs, masks),
        maps=_to_look_at(stack),
    )


def _by_type(
    images: pd.DataFrame, maps: Maps, theirs: Maps, masks: NDArray[np.bool_] | None
) -> pd.DataFrame:
    kinds, labels = images["defect_type"].to_numpy(str), images["label"].to_numpy()
    rows = []
    for kind in dict.fromkeys(kinds[labels == 1]):
        some = np.flatnonzero((kinds == kind) | (labels == 0))
        own = None if masks is None else masks[some]
        row: dict[str, object] = {"defect_type": kind, "n": int((kinds == kind).sum())}
        for suffix, stack, column in (("", maps, "score"), ("_run", theirs, "score_run")):
            scores = images[column].to_numpy()[some]
            for one in category_metrics(stack[some], scores, labels[some], own):
                if one["metric"] in BY_TYPE:
                    row[f"{one['metric']}{suffix}"] = one["value"]
        rows.append(row)
    return pd.DataFrame(rows)


def _to_look_at(stack: Maps) -> NDArray[np.float16]:
    small = np.stack([resized(one, KEPT_PX) for one in stack])
    least = small.min()
    return ((small - least) / max(float(small.max() - least), 1e-30)).astype(np.float16)
