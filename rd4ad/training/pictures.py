"""The photographs and drawings from which the bundled teacher learns: free ones out of packages.

Debian's packages of wallpapers, educational pictures, surfaces and games hold pictures under free
licenses. They are unpacked outside this repository and gathered into one file of pixels; nothing of
them is kept in it. `SOURCES` names each package with its license.
"""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from rd4ad.inference.checkpoint import replace_file

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".rcc")
SMALLEST_PX = 64  # a picture's shorter side


@dataclass(frozen=True, kw_only=True)
class Source:
    """A Debian package of pictures.

    Args:
        license: of its pictures, as its copyright file says.
        side_px: longer side that its pictures are reduced to.
        most: number of pictures taken, evenly over the sorted file names.
        weight: how often one of its pictures is drawn, relative to others.
        inside: only files whose path holds this text.
    """

    license: str
    side_px: int = 1024
    most: int = 400
    weight: float = 1.0
    inside: str = ""


SOURCES = {
    "gcompris-qt-data": Source(license="CC-BY-SA, GPL-3+, public domain", side_px=512, most=800),
    "tuxpaint-stamps-default": Source(license="GPL-2+, public domain", side_px=512, most=480),
    "redeclipse-data": Source(license="CC-BY-SA-3.0, CC0", side_px=512, most=330, weight=0.7),
    "supertuxkart-data": Source(license="CC-BY-SA, GPL, CC0", side_px=512, most=260, weight=0.5),
    "torcs-data": Source(license="GPL-2+, Free Art", side_px=512, most=150, weight=0.5),
    "plasma-workspace-wallpapers": Source(license="CC-BY-SA-4.0, LGPL-3", weight=3, most=80),
    "opencv-doc": Source(license="Apache-2.0, BSD-3", most=60, weight=1.5),
    "stellarium-data": Source(license="public domain, CC-BY-SA", side_px=512, most=60, weight=0.5),
    "mate-backgrounds": Source(license="CC-BY-SA, GPL-2+", weight=3),
    "lomiri-wallpapers-16.04": Source(license="CC-BY-SA-3.0", weight=3),
    "lomiri-wallpapers-20.04": Source(license="CC-BY-SA-3.0", weight=3),
    "gnome-backgrounds": Source(license="CC-BY-SA-3.0", weight=3),
    "ukui-wallpapers": Source(license="CC-BY-SA-4.0, GPL-3+", weight=3),
    "mypaint-data-extras": Source(license="CC0", weight=3),
}


@dataclass(frozen=True)
class Pictures:
    """Pictures of any size in one array of bytes, as `collect` wrote them.

    Args:
        pixels: all of them one after another, (bytes,) uint8.
        rows: a picture each: `start`, `height`, `width`, `channels` (3, or 4 with transparency),
            `package`, `file`, `sha256`.
    """

    pixels: NDArray[np.uint8]
    rows: list[dict[str, Any]]

    def __getitem__(self, number: int) -> Image.Image:
        """Return one picture, RGB, or RGBA where parts of it are transparent."""
        row = self.rows[number]
        shape = row["height"], row["width"], row["channels"]
        flat = self.pixels[row["start"] : row["start"] + int(np.prod(shape))]
        return Image.fromarray(flat.reshape(shape))

    def numbers(self, *, transparent: bool) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return which pictures are (not) cut-outs, and how often to draw each, adding up to 1."""
        chosen = [i for i, row in enumerate(self.rows) if (row["channels"] == 4) == transparent]
        weights = np.array([SOURCES[self.rows[i]["package"]].weight for i in chosen])
        return np.array(chosen), weights / weights.sum()


def collect(folder: Path, out: Path) -> None:
    """Gather the pictures of unpacked packages into `out`/pictures.bin and `out`/pictures.json.

    Args:
        folder: holds a folder a package, named like it, as `dpkg-deb -x` leaves it.
        out: folder to write into.

    Raises:
        FileNotFoundError: a package of `SOURCES` is missing; the message says how to get it.
    """
    missing = [name for name in SOURCES if not (folder / name).is_dir()]
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks the unpacked packages {', '.join(missing)}; "
            f"apt-get download NAME, then dpkg-deb -x NAME_*.deb {folder}/NAME"
        )
    rows: list[dict[str, Any]] = []
    start = 0
    out.mkdir(parents=True, exist_ok=True)
    with (out / "pictures.bin").open("wb") as file:
        for package, source in SOURCES.items():
            for name, picture in tqdm(_chosen(folder / package, source), desc=package):
                pixels = np.asarray(picture)
                file.write(data := pixels.tobytes())
                height, width, channels = pixels.shape
                rows.append(
                    {"start": start, "height": height, "width": width, "channels": channels}
                    | {"package": package, "file": name, "sha256": hashlib.sha256(data).hexdigest()}
                )
                start += len(data)
    replace_file(out / "pictures.json", lambda beside: beside.write_text(json.dumps(rows)))


def read(folder: Path) -> Pictures:
    """Return the pictures that `collect` wrote into a folder; their pixels stay on disk."""
    rows = json.loads((folder / "pictures.json").read_text())
    return Pictures(np.memmap(folder / "pictures.bin", np.uint8, "r"), rows)


def _chosen(folder: Path, source: Source) -> Iterator[tuple[str, Image.Image]]:
    """Yield at most `source.most` different pictures of a package, each with its file's name."""
    files = [
        (f"{path.relative_to(folder)}", data)
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and source.inside in str(path) and path.is_file()
        for data in _pictures_in(path)
    ]
    step = max(1.0, len(files) / source.most)
    seen: set[str] = set()
    for index in np.arange(0, len(files), step).astype(int):
        name, data = files[index]
        digest = hashlib.sha256(data).hexdigest()
        picture = _decoded(data, source.side_px)
        if picture is not None and digest not in seen:
            seen.add(digest)
            yield name, picture


def _pictures_in(path: Path) -> list[bytes]:
    """Return a file's content; of a Qt resource file (.rcc) the WebP pictures inside it."""
    data = path.read_bytes()
    if path.suffix.lower() != ".rcc":
        return [data]
    found, place = [], data.find(b"RIFF")
    while place >= 0:
        size = int.from_bytes(data[place + 4 : place + 8], "little") + 8
        if data[place + 8 : place + 12] == b"WEBP":
            found.append(data[place : place + size])
        place = data.find(b"RIFF", place + 4)
    return found


def _decoded(data: bytes, side_px: int) -> Image.Image | None:
    """Return a picture at most `side_px` a side, or None of one that is too small or broken."""
    try:
        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        if min(picture.size) < SMALLEST_PX:
            return None
        picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
        rgba = picture.convert("RGBA")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return None
    if min(rgba.size) < SMALLEST_PX // 2:
        return None
    is_cut_out = np.mean(np.asarray(rgba)[..., 3] < 128) > 0.05
    return rgba if is_cut_out else rgba.convert("RGB")
