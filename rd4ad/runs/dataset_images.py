"""A run's test images and masks: from the dataset on disk, or drawn again where generated.

No image is stored with a run. A generated part is drawn again from its name alone, and used only if
the mask drawn with it is the one that the run was measured with.
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rd4ad.data.folders import DatasetError, Sample, open_category
from rd4ad.data.images import read_image, read_masks, resize_image
from rd4ad.data.parts import PARTS, nominal_mask, render
from rd4ad.runs.run import Run

GENERATED = "Generated parts"
_DRAWN = re.compile(r"test/(?P<kind>\w+)/(?P<number>\d{1,6})\.png")
Image = NDArray[np.uint8]
Masks = NDArray[np.bool_]


def test_image(run: Run, name: str, data: Path) -> Image | None:
    """Return a test image (S, S, 3) of a run in the run's resolution; None where it is not here.

    Args:
        run: whose image.
        name: as the run's table of images has it: test/<type>/<stem>.png.
        data: folder of categories in MVTec layout.
    """
    size, category = int(run.record["size_px"]), str(run.record["category"])
    if run.record["dataset"] == GENERATED:
        match = _DRAWN.fullmatch(name)
        if match is None or match["kind"] not in ("good", *PARTS.get(category, ())):
            return None
        return resize_image(render(category, match["kind"], int(match["number"]))[0], size)
    path = data / category / name
    if not path.resolve().is_relative_to(data.resolve()):
        return None  # a run's table may have been written by anybody
    try:
        return resize_image(read_image(path), size)
    except (DatasetError, FileNotFoundError):
        return None


def masks_of(run: Run, names: list[str], data: Path) -> Masks | None:
    """Return the masks (N, S, S) of a run's test images: its own, or those on disk; None without.

    Those on disk are taken only if they have as many pixels as those that the run was measured
    with: another dataset may have a category, and images, of the same name.

    Args:
        run: whose masks.
        names: of its test images, in order.
        data: folder of categories in MVTec layout.
    """
    stored = run.masks()
    if stored is not None:
        return stored
    try:
        by_name = {s.name: s for s in open_category(data, run.record["category"]).test}
        samples: list[Sample] = [by_name[name] for name in names]
        masks = read_masks(samples, int(run.record["size_px"]))
    except (DatasetError, FileNotFoundError, KeyError):
        return None
    return masks if _are_those_measured_with(run, names, masks) else None


def _are_those_measured_with(run: Run, names: list[str], masks: Masks | None) -> bool:
    statistics = run.statistics()
    if masks is None or statistics is None:
        return True
    n_pixels = dict(zip(run.images()["image"], statistics.positives.sum(1), strict=True))
    return masks.sum((1, 2)).tolist() == [n_pixels.get(name) for name in names]


def nominal_place(run: Run, masks: Masks, defect_types: list[str]) -> NDArray[np.bool_] | None:
    """Return where a misplaced part should be, (S, S); None if the category has no such defect.

    For the generated transistor it is known. Otherwise it is estimated: what at least half of the
    masks of `misplaced` cover, since every one of them covers the place that is left empty.

    Args:
        run: whose category.
        masks: (N, S, S) of its test images.
        defect_types: of its test images.
    """
    of_them = np.array([kind == "misplaced" for kind in defect_types])
    if not of_them.any():
        return None
    if run.record["dataset"] == GENERATED and run.record["category"] == "transistor":
        return nominal_mask(int(run.record["size_px"]))
    estimated: NDArray[np.bool_] = masks[of_them].mean(axis=0) >= 0.5
    return estimated
