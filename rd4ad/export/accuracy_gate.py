"""A detector in lower precision is offered only where it judges as the one in float32 does."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rd4ad.data.folders import split_holdout
from rd4ad.evaluation.category import EvaluationSet
from rd4ad.inference.onnx_session import Outputs
from rd4ad.inference.prediction import Calibration
from rd4ad.metrics.category import category_metrics

GATE = 0.003
"""No metric of `JUDGED_BY` may move by more; `rd4ad export` refuses otherwise."""
JUDGED_BY = ("image_auroc", "pixel_auroc", "aupro")


Judge = Callable[[NDArray[np.uint8]], Outputs]


class RefusedError(ValueError):
    """The lower precision judges otherwise than float32; the message has the metrics."""


def gated(
    whole: Judge, lower: Judge, test: EvaluationSet, images: NDArray[np.uint8], name: str
) -> list[dict[str, Any]]:
    """Return the metrics of both, as `compared` does.

    Args:
        whole: the detector in float32.
        lower: the same in lower precision.
        test: labels and masks of the images.
        images: (N, S, S, 3).
        name: the lower precision's.

    Raises:
        RefusedError: a metric moves by more than `GATE`, or is undefined.
    """
    rows = compared(whole, lower, test, images, name)
    if any(not abs(row["difference"]) <= GATE for row in rows):
        told = ", ".join(f"{row['metric']} {row['float32']:.4f} to {row[name]:.4f}" for row in rows)
        raise RefusedError(
            f"in {name} these images are judged otherwise, by more than {GATE}: {told}; nothing is "
            "written. Stay with float32"
        )
    return rows


def compared(
    whole: Judge, lower: Judge, test: EvaluationSet, images: NDArray[np.uint8], name: str
) -> list[dict[str, Any]]:
    """Return the metrics of `JUDGED_BY` of both on test images, and how far they move."""
    found = [metric_rows(judge, test, images) for judge in (whole, lower)]
    return [
        {
            "metric": metric,
            "float32": found[0][metric],
            name: found[1][metric],
            "difference": found[1][metric] - found[0][metric],
        }
        for metric in JUDGED_BY
    ]


def metric_rows(judge: Judge, test: EvaluationSet, images: NDArray[np.uint8]) -> dict[str, float]:
    """Return the metrics of `JUDGED_BY` of what is said of test images."""
    said = judge(images)
    every = category_metrics(said.anomaly_maps, said.scores.astype(float), test.labels, test.masks)
    return {row["metric"]: row["value"] for row in every if row["metric"] in JUDGED_BY}


def recalibrated(
    judge: Judge, normal: NDArray[np.uint8], config: Mapping[str, Any], quantile: float
) -> Calibration:
    """Return the calibration by the images that were held out of a detector's training.

    Args:
        judge: the detector in lower precision.
        normal: all images that it was trained on or calibrated by, (N, S, S, 3).
        config: the record of its training.
        quantile: see `Calibration`.

    Raises:
        ValueError: another number of images than it was trained on.
    """
    if len(normal) != config["n_images"] + config["n_held_out"]:
        raise ValueError(f"the detector was trained on other images than the {len(normal)} here")
    _, held = split_holdout(len(normal), config["holdout"], config["seed"])
    scores = sorted(map(float, judge(normal[held]).scores))
    return Calibration(scores=tuple(scores), quantile=quantile)
