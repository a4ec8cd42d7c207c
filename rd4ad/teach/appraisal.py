"""How good a detector is with no real defect at hand: painted ones, and the good photos' scores."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from rd4ad import metrics
from rd4ad.data.images import resize_image
from rd4ad.inference.detector import Detector
from rd4ad.scoring import Maps
from rd4ad.teach.defects import Painted
from rd4ad.teach.threshold import Threshold


@dataclass(frozen=True, kw_only=True, eq=False)
class Appraisal:
    """What a detector made of painted defects, all of them in photos that it was not fitted on.

    Args:
        table: a row a defect: `kind`, `size_px` (of an image of 256 px), `score`, `is_found`.
        image_auroc, pixel_auroc, aupro: of painted defects and held-out photos; synthetic.
        maps: of the defects, (N, S, S).
        threshold: at which `is_found` holds.
    """

    table: pd.DataFrame
    image_auroc: float
    pixel_auroc: float
    aupro: float
    maps: Maps
    threshold: Threshold

    @property
    def quality(self) -> float:
        """What detectors are compared by: the mean of image and pixel AUROC, in [0, 1]."""
        return (self.image_auroc + self.pixel_auroc) / 2

    def record(self) -> dict[str, Any]:
        """Return all but the maps, ready for JSON; synthetic."""
        return {
            "threshold": asdict(self.threshold) | {"text": self.threshold.text},
            "painted": self.table.round(4).to_dict("records"),
            "painted_image_auroc": self.image_auroc,
            "painted_pixel_auroc": self.pixel_auroc,
            "painted_aupro": self.aupro,
            "smallest_found_px": self.smallest_found_px,
        }

    def found_by_size(self) -> pd.DataFrame:
        """Return the share found, a row a kind and a column a size."""
        return self.table.pivot_table(index="kind", columns="size_px", values="is_found")

    @property
    def smallest_found_px(self) -> int | None:
        """The smallest size from which on at least nine in ten are found, of 256 px; or none."""
        by_size = self.table.groupby("size_px")["is_found"].mean().sort_index(ascending=False)
        reliable = by_size[(by_size >= 0.9).cummin()]
        return int(reliable.index.min()) if len(reliable) else None


def appraised(
    good_maps: Maps, defects: Sequence[Painted], defect_maps: Maps, threshold: Threshold
) -> Appraisal:
    """Return what a detector made of painted defects.

    Args:
        good_maps: anomaly maps of held-out photos (N, S, S).
        defects: painted into such photos.
        defect_maps: theirs, (M, S, S).
        threshold: of the detector.
    """
    scores = defect_maps.max((1, 2))
    table = pd.DataFrame(
        {
            "kind": [one.kind for one in defects],
            "size_px": [one.size_px for one in defects],
            "score": scores,
            "is_found": scores > threshold.value,
        }
    )
    labels = np.repeat([0, 1], [len(good_maps), len(defects)])
    all_scores = np.concatenate([good_maps.max((1, 2)), scores])
    masks = np.concatenate([np.zeros(good_maps.shape, bool), _masks(defects)])
    pixel = metrics.pixel_metrics(masks, np.concatenate([good_maps, defect_maps]))
    return Appraisal(
        table=table,
        image_auroc=metrics.image_auroc(labels, all_scores),
        pixel_auroc=pixel["pixel_auroc"],
        aupro=pixel["aupro"],
        maps=defect_maps,
        threshold=threshold,
    )


def quality(good_maps: Maps, defects: Sequence[Painted], defect_maps: Maps) -> float:
    """Return the mean of image and pixel AUROC, as of an `Appraisal`; arguments as of `appraised`.

    No threshold is asked for, so one good photo is enough.
    """
    labels = np.repeat([0, 1], [len(good_maps), len(defects)])
    maps = np.concatenate([good_maps, defect_maps])
    masks = np.concatenate([np.zeros(good_maps.shape, bool), _masks(defects)])
    by_image = metrics.image_auroc(labels, maps.max((1, 2)))
    return (by_image + metrics.pixel_auroc(masks, maps)) / 2


def maps_at(detector: Detector, images: NDArray[np.uint8]) -> Maps:
    """Return the anomaly maps (N, S, S) of photos (N, S, S, 3), whatever the detector's size."""
    side = images.shape[1]
    small = np.stack([resize_image(image, detector.size_px) for image in images])
    found = (one.anomaly_map for one in detector.judge(detector.distances(small)))
    shape, smooth = (side, side), Image.Resampling.BILINEAR
    return np.stack([np.asarray(Image.fromarray(one).resize(shape, smooth)) for one in found])


def _masks(defects: Sequence[Painted]) -> NDArray[np.bool_]:
    return np.stack([one.mask for one in defects])
