"""Maps and masks that somebody drops in, checked before anything is computed from them."""

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib import format as npy
from numpy.typing import NDArray

from rd4ad.data.archives import UNREADABLE, open_zip
from rd4ad.data.folders import DatasetError
from rd4ad.runs.dataset_images import GENERATED
from rd4ad.web.explorer.screens.metric_cells import qualified

MAX_BYTES = 100 * 2**20
"""Of one unpacked array."""
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


DEFINITIONS = {
    "MVTec, limit 0.3": "Every defect region of the category weighs the same. The false-positive "
    "rate is over all normal pixels of the category. The area up to a rate of 0.3 is divided by "
    "0.3.",
    "MVTec, limit 0.05": "The same curve, but only up to a rate of 0.05: what counts where false "
    "alarms are rare. Values are much lower.",
    "no limit (1.0)": "The same curve as a whole: most of its area lies where half of all normal "
    "pixels would be false alarms. Values are much higher.",
    "released code": "200 thresholds for each defective image by itself, its own false-positive "
    "rate, divided by the largest rate kept; the mean over images. Normal images are left out.",
}
"""What each definition of PRO measures, in a few sentences (docs/METHOD.md)."""


def example_category(runs: pd.DataFrame) -> str | None:
    """Return the category to begin with: a generated part, whose masks are stored; None without.

    Args:
        runs: rows with `dataset` and `category`.
    """
    drawn = runs.loc[runs["dataset"] == GENERATED, "category"]
    return qualified(GENERATED, str(drawn.iloc[0])) if len(drawn) else None


@dataclass(frozen=True, eq=False)
class Upload:
    """Maps (N, H, W) float32 and masks (N, H, W) bool of one category."""

    maps: NDArray[np.float32]
    masks: NDArray[np.bool_]


def read_npz(content: bytes) -> Upload:
    """Return the arrays `maps` and `masks` of an NPZ file.

    Raises:
        ValueError: not such a file, too large when unpacked, an array missing, of another shape or
            kind, masks of more than two values, or maps that are not finite; says which.
    """
    try:
        with open_zip(content) as archive:
            maps, masks = (_array(archive, name) for name in ("maps", "masks"))
    except DatasetError as error:
        raise ValueError("this is not an NPZ file: save it with numpy.savez") from error
    except UNREADABLE as error:
        raise ValueError(f"this NPZ file cannot be read: {error}") from error
    return checked(maps, masks)


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Return an array of an archive whose header promises no more than is there.

    NumPy makes room for what a header says before it reads on, be it a terabyte.
    """
    try:
        entry = archive.getinfo(f"{name}.npy")
    except KeyError:
        there = [Path(file).stem for file in archive.namelist()[:10]]
        raise ValueError(f"the file lacks the array {name!r}; it has {there}") from None
    if entry.file_size > MAX_BYTES:
        raise ValueError(
            f"{name} takes {entry.file_size / 2**20:.0f} MiB; at most {MAX_BYTES // 2**20} are read"
        )
    with archive.open(entry) as file:
        read_header = _HEADERS.get(npy.read_magic(file))
        if read_header is None:
            raise ValueError(f"{name} has a header of an unknown version")
        shape, _, dtype = read_header(file)
        if dtype.hasobject:
            raise ValueError(f"{name} holds Python objects: expected numbers")
        if math.prod(shape) * dtype.itemsize > entry.file_size:
            raise ValueError(f"{name} should be {dtype} {shape}, but the file ends before")
    with archive.open(entry) as file:
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return array


def checked(maps: NDArray[Any], masks: NDArray[Any]) -> Upload:
    """Return maps and masks as an `Upload`; see `read_npz` for what is raised.

    >>> upload = checked(np.zeros((2, 4, 4)), np.zeros((2, 4, 4), np.uint8))
    >>> upload.maps.dtype.name, upload.masks.dtype.name
    ('float32', 'bool')
    """
    if maps.ndim != 3 or maps.dtype.kind not in "fiu":
        raise ValueError(f"maps: expected numbers (N, H, W), found {maps.dtype} {maps.shape}")
    if masks.shape != maps.shape or masks.dtype.kind not in "biu":
        raise ValueError(
            f"masks: expected whole numbers or booleans {maps.shape}, as the maps; found "
            f"{masks.dtype} {masks.shape}"
        )
    if len(np.unique(masks)) > 2:
        raise ValueError("masks hold more than two values: expected 0 and one other")
    if not np.isfinite(maps).all():
        raise ValueError("maps hold NaN or infinity: every pixel needs a finite score")
    return Upload(maps.astype(np.float32), masks > 0)
