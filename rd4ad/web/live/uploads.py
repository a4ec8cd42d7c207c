"""Images from strangers: small enough, really images, one picture each; else a clear refusal."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rd4ad.data.decoding import FORMATS, eight_bit, opened_bytes
from rd4ad.data.folders import DatasetError

MAX_BYTES = 10 * 2**20
MAX_PIXELS = 25_000_000


class RefusedError(ValueError):
    """An upload that is not judged; the message is for the person who sent it."""


def read_upload(content: bytes) -> NDArray[np.uint8]:
    """Return an uploaded image as (H, W, 3) uint8, upright; only its content counts, not its name.

    16-bit gray is scaled, CMYK and palettes are converted, a rotation in EXIF is applied.

    Raises:
        RefusedError: over `MAX_BYTES` or `MAX_PIXELS`, not an image, truncated, or animated.
    """
    with _opened(content) as image:
        return np.asarray(eight_bit(image, "The upload").convert("RGB"))


def read_upload_file(path: str | Path) -> NDArray[np.uint8]:
    """Return the image in an uploaded file; see `read_upload`."""
    return read_upload(_content(Path(path)))


def check_header(content: bytes) -> None:
    """Refuse what `read_upload` refuses, as far as the header shows it; no pixel is decoded."""
    with _opened(content):
        pass


def check_header_of_file(path: Path) -> None:
    """Refuse an uploaded file by its header; see `check_header`."""
    check_header(_content(path))


def _content(file: Path) -> bytes:
    if file.stat().st_size > MAX_BYTES:
        raise RefusedError(f"The file is larger than the {MAX_BYTES // 2**20} MB that are read.")
    return file.read_bytes()


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    if len(content) > MAX_BYTES:
        raise RefusedError(
            f"The file has {len(content) / 2**20:.1f} MB; at most {MAX_BYTES // 2**20} MB are read."
        )
    try:
        with opened_bytes(content) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise RefusedError(
                    f"The image has {width} x {height} pixels; at most {MAX_PIXELS // 10**6} "
                    "megapixels are read. Make it smaller first."
                )
            n_frames: int = getattr(image, "n_frames", 1)
            if n_frames > 1:
                raise RefusedError(f"The file holds {n_frames} frames: save the one that matters.")
            yield image
    except DatasetError as error:
        raise RefusedError(_for_people(str(error))) from error


def _for_people(message: str) -> str:
    if "cannot be decoded" in message:
        return f"This is not a whole image that can be read ({', '.join(FORMATS)})."
    return message


def png(image: NDArray[np.uint8]) -> bytes:
    """Return an image (H, W, 3) as PNG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
