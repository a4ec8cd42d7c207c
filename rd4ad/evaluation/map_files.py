"""Anomaly maps as other programs write them: in folders, in one NPZ file, in a ZIP file.

A map belongs to the test image of its name: for test/<type>/<stem>.png it is <type>/<stem>.tiff (or
.tif, .npy, .png). In a folder these lie below it, its `test`, its `<category>/test` (as MVTec's
evaluation code has them) or its `images` (as anomalib saves them); in a ZIP file, below whatever.
In an NPZ file all maps are one array `maps` (N, H, W), in the order of its `names`, or of the
sorted test images.
"""

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tokenize import TokenError
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import DecompressionBombError
from tifffile import TiffFile, TiffFileError

from rd4ad.data.archives import UNREADABLE, open_zip
from rd4ad.data.folders import DatasetError
from rd4ad.scoring import Maps

SUFFIXES = (".tiff", ".tif", ".npy", ".png")
MAX_MAP_BYTES = 64 * 2**20
"""Of one map when it is unpacked: 4096 x 4096 in float32."""
_BROKEN = (  # what damaged NPY, PNG and TIFF files raise; each was seen
    *UNREADABLE, TiffFileError, DecompressionBombError, ArithmeticError, LookupError, MemoryError,
    SyntaxError, TokenError, TypeError,
)  # fmt: skip
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_maps(source: Path, category: str, names: Sequence[str]) -> Iterator[Maps]:
    """Yield the map (H, W) of each test image out of a folder or an NPZ file.

    Args:
        source: see this module.
        category: its name, a folder that may be there.
        names: of the test images, test/<type>/<stem>.png.

    Raises:
        DatasetError: a missing, unreadable or wrongly shaped map; the message names it.
    """
    if source.suffix == ".npz":
        yield from _of_npz(source, names)
        return
    homes = [source, source / "test", source / category / "test", source / "images"]
    for name in names:
        key = _key(name)
        candidates = [home / f"{key}{suffix}" for home in homes for suffix in SUFFIXES]
        path = next((one for one in candidates if one.is_file()), None)
        if path is None:
            raise DatasetError(f"no map of {name}: expected {candidates[0]} (or .tif, .npy, .png)")
        yield decoded(path.read_bytes(), str(path))


def _of_npz(source: Path, names: Sequence[str]) -> Iterator[Maps]:
    try:
        with np.load(source, allow_pickle=False) as arrays:
            if "maps" not in arrays:
                raise DatasetError(f"{source} lacks the array 'maps'; it has {arrays.files}")
            stack = arrays["maps"]
            given = [str(name) for name in arrays["names"]] if "names" in arrays else None
    except UNREADABLE as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{source} is not a readable .npz file: {error}") from error
    if stack.ndim != 3 or len(stack) != len(names):
        raise DatasetError(
            f"{source}: expected maps ({len(names)}, H, W), one a test image; found {stack.shape}"
        )
    places = dict(zip(map(_key, names), range(len(names)), strict=True))
    if given is not None:
        places = {_key(name): place for place, name in enumerate(given)}
        missing = [name for name in names if _key(name) not in places]
        if missing:
            raise DatasetError(f"{source}: its names lack {missing[0]}")
    for name in names:
        place = places[_key(name)]
        yield checked(stack[place], f"{source}, map {place}")


@dataclass(frozen=True)
class MapArchive:
    """The maps and masks in a ZIP file that somebody sent, by "<type>/<stem>".

    Nothing is unpacked to disk, and what an entry's path says beyond its last folder and its name
    is not looked at. Masks lie below a folder `ground_truth`.
    """

    archive: ZipFile
    maps: dict[str, ZipInfo]
    masks: dict[str, ZipInfo]

    @classmethod
    def open(cls, content: bytes) -> "MapArchive":
        """Return what is in a ZIP file.

        Raises:
            DatasetError: not a ZIP file, a damaged one, one without a map, or with two of a name.
        """
        archive = open_zip(content)
        found: dict[bool, dict[str, ZipInfo]] = {False: {}, True: {}}
        for entry in archive.infolist():
            path = PurePosixPath(entry.filename)
            folders = path.parts[:-1]
            named = [part for part in path.parts if part != ".."]
            is_hidden = any(part.startswith((".", "__MACOSX")) for part in named)
            if entry.is_dir() or is_hidden or not folders or path.suffix.lower() not in SUFFIXES:
                continue
            is_mask = "ground_truth" in folders
            stem = path.stem.removesuffix("_mask") if is_mask else path.stem
            key = f"{folders[-1]}/{stem}"
            if key in found[is_mask]:
                kind = "masks" if is_mask else "maps"
                raise DatasetError(f"The ZIP file holds two {kind} of {key}: keep one of them.")
            found[is_mask][key] = entry
        if not found[False]:
            raise DatasetError(
                "The ZIP file holds no map: expected <type>/<stem>.tiff, .tif, .npy or .png."
            )
        return cls(archive, found[False], found[True])

    def read_maps(self, names: Sequence[str]) -> Iterator[Maps]:
        """Yield the map (H, W) of each test image.

        Raises:
            DatasetError: a missing, unreadable or wrongly shaped map; the message names it.
        """
        missing = [name for name in names if _key(name) not in self.maps]
        if missing:
            raise DatasetError(
                f"{len(missing)} of {len(names)} test images have no map, such as {missing[0]}: "
                f"expected {_key(missing[0])}.tiff, .tif, .npy or .png."
            )
        for name in names:
            entry = self.maps[_key(name)]
            yield decoded(self._content(entry), entry.filename)

    def read_masks(self, names: Sequence[str], side: int) -> NDArray[np.bool_] | None:
        """Return masks (N, side, side), resized as `read_mask` does; None if there is none at all.

        Raises:
            DatasetError: one cannot be read, or a defect has none while others have.
        """
        if not self.masks:
            return None
        masks = np.zeros((len(names), side, side), bool)
        for place, name in enumerate(names):
            entry = self.masks.get(_key(name))
            if entry is not None:
                one = 255 * (decoded(self._content(entry), entry.filename) > 0).astype(np.uint8)
                image = Image.fromarray(one).resize((side, side), Image.Resampling.BILINEAR)
                masks[place] = np.asarray(image) > 127
            elif not name.startswith("test/good/"):
                raise DatasetError(
                    f"{name} has no mask, and others have: add ground_truth/{_key(name)}_mask.png."
                )
        return masks

    def _content(self, entry: ZipInfo) -> bytes:
        if entry.file_size > MAX_MAP_BYTES:
            raise DatasetError(f"{entry.filename} takes more than {MAX_MAP_BYTES >> 20} MiB.")
        try:
            with self.archive.open(entry) as file:
                return file.read(MAX_MAP_BYTES + 1)
        except UNREADABLE as error:
            raise DatasetError(f"{entry.filename} cannot be read: {error}") from error


def decoded(content: bytes, name: str) -> Maps:
    """Return the map (H, W) float32 in a file's content; its size is looked at before its pixels.

    >>> file = io.BytesIO()
    >>> np.save(file, np.eye(2))
    >>> decoded(file.getvalue(), "crack/000.npy").tolist()
    [[1.0, 0.0], [0.0, 1.0]]

    Args:
        content: of the file.
        name: its name, which says what it is, and what errors name.

    Raises:
        DatasetError: not such a file, or not one channel of finite numbers.
    """
    read = {".npy": _npy, ".png": _png}.get(Path(name).suffix.lower(), _tiff)
    try:
        found = read(content)
    except _BROKEN as error:
        raise DatasetError(f"{name} is not a readable map: {error}") from error
    return checked(found, name)


def checked(found: NDArray[Any], where: str) -> Maps:
    """Return a map as float32.

    Raises:
        DatasetError: it is not one channel of finite numbers; names `where`.
    """
    if found.ndim != 2 or found.dtype.kind not in "bfiu":
        raise DatasetError(f"{where}: expected a 2-D map, found {found.shape} of {found.dtype}")
    if not np.isfinite(found).all():
        raise DatasetError(f"{where} holds NaN or infinity: every pixel needs a finite score")
    as_float: Maps = found.astype(np.float32, copy=False)
    return as_float


def resized(one: Maps, side: int) -> Maps:
    """Return a map (H, W) as (side, side): the means of its cells, or bilinear where it is smaller.

    >>> resized(np.float32([[0, 1], [2, 3]]), 1).tolist()
    [[1.5]]
    """
    if one.shape == (side, side):
        return one
    kind = Image.Resampling.BOX if min(one.shape) > side else Image.Resampling.BILINEAR
    found: Maps = np.asarray(Image.fromarray(one).resize((side, side), kind), np.float32)
    return found


def _npy(content: bytes) -> NDArray[Any]:
    file = io.BytesIO(content)
    read_header = _HEADERS.get(npy.read_magic(file))
    if read_header is None:
        raise ValueError("a header of an unknown version")
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    _check_size(shape, dtype)
    file.seek(0)
    array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return array


def _png(content: bytes) -> NDArray[Any]:
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        _check_size(image.size, np.dtype(np.float32))
        return np.asarray(image)


def _tiff(content: bytes) -> NDArray[Any]:
    with TiffFile(io.BytesIO(content)) as file:
        page = file.pages.first
        _check_size(page.shape, np.dtype(page.dtype))
        found: NDArray[Any] = page.asarray()
        return found.squeeze()


def _check_size(shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    if math.prod(shape) * dtype.itemsize > MAX_MAP_BYTES:
        raise ValueError(f"{' x '.join(map(str, shape))} is more than {MAX_MAP_BYTES >> 20} MiB")


def _key(name: str) -> str:
    """Return "<type>/<stem>" of an image or map.

    >>> _key("test/bent/003.png")
    'bent/003'
    """
    return PurePosixPath(name.removeprefix("test/")).with_suffix("").as_posix()
