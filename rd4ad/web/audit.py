"""Maps and masks that somebody drops in, checked before anything is computed from them."""

import io
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 200 * 2**20
"""Of the unpacked arrays of one file."""


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
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile as error:
        raise ValueError("this is not an NPZ file: save it with numpy.savez") from error
    if size > MAX_BYTES:
        raise ValueError(
            f"the arrays take {size / 2**20:.0f} MiB; at most {MAX_BYTES // 2**20} are read"
        )
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            missing = [name for name in ("maps", "masks") if name not in arrays.files]
            if missing:
                raise ValueError(f"the file lacks the array {missing[0]!r}; it has {arrays.files}")
            maps, masks = arrays["maps"], arrays["masks"]
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"this NPZ file cannot be read: {error}") from error
    return checked(maps, masks)


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
