"""One file or PIL image -> an upright 8-bit PIL image, or an error that names it.

Pixels are what Pillow's `convert("RGB")` gives, as in the released loader, with two exceptions:
16-bit gray is scaled (Pillow would clip it) and an EXIF rotation is applied. No color profile is.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from rd4ad.data.folders import DatasetError

MAX_PIXELS = 89_478_485  # Pillow's own level: 256 MiB of RGB; more may be a decompression bomb
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "AVIF", "GIF", "PPM")  # none that runs a program
_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}
_ORIENTATION = 0x0112  # EXIF tag; values 5 to 8 turn the picture by a quarter
# RuntimeError: of the AVIF decoder.
_DECODING_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error, zlib.error
)  # fmt: skip


def image_size(path: str | Path) -> tuple[int, int]:
    """Return (width, height) in pixels after EXIF rotation, from the header alone.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("L", (5, 2)).save(Path(folder) / "a.png")
    ...     image_size(Path(folder) / "a.png")
    (5, 2)

    Raises:
        FileNotFoundError: no such file.
        DatasetError: not an image, or over `MAX_PIXELS`.
    """
    with opened(Path(path)) as image, _naming(str(path)):
        width, height = image.size
        if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
            return width, height  # turned already; or Pillow would decode it all to look for EXIF
        is_turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        return (height, width) if is_turned else (width, height)


def eight_bit(image: Image.Image, name: str) -> Image.Image:
    """Return the image turned upright, in mode L or RGB.

    >>> eight_bit(Image.new("CMYK", (5, 2)), "a picture").mode
    'RGB'
    >>> eight_bit(Image.new("F", (5, 2)), "a picture")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    rd4ad.data.folders.DatasetError: a picture has pixels of Pillow's mode 'F': ...

    Args:
        image: as Pillow opened or made it.
        name: what messages call it.

    Raises:
        DatasetError: truncated, over `MAX_PIXELS`, without pixels, or of 32 bits a channel.
    """
    _check_size(image, name)
    is_16_bit = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    if not is_16_bit and image.mode not in _MODES:
        raise DatasetError(
            f"{name} has pixels of Pillow's mode {image.mode!r}: expected 8 bits a channel or "
            "16-bit gray; convert it, choosing the range that matters"
        )
    with _naming(name):
        upright = ImageOps.exif_transpose(image)
        if is_16_bit:
            levels = (np.asarray(upright).astype(np.uint32) + 128) // 257  # 65535 = 255 * 257
            return Image.fromarray(levels.astype(np.uint8))
        if upright.mode in ("1", "L"):
            return upright.convert("L")
        if "transparency" in upright.info:  # of a palette; Pillow warns about the direct way
            upright = upright.convert("RGBA")
        return upright.convert("RGB")


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height == 0:
        raise DatasetError(f"{name} is {width} x {height} pixels: expected at least one pixel")
    if width * height > MAX_PIXELS:
        raise DatasetError(_too_large(name, f"{width} x {height} = {width * height} pixels"))


def _too_large(name: str, size: str) -> str:
    return (
        f"{name} is too large to decode safely: {size}, the limit is {MAX_PIXELS}; if the file is "
        "what you expect, make it smaller first"
    )


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open the file for decoding; only its header is read here."""
    with _opened(path, str(path)) as image:
        yield image


@contextmanager
def opened_bytes(content: bytes) -> Iterator[Image.Image]:
    """Open a file's content for decoding; messages call it "the file".

    >>> with opened_bytes(b"P1 2 1 0 1") as image:
    ...     image.size
    (2, 1)
    """
    with _opened(io.BytesIO(content), "the file") as image:
        yield image


@contextmanager
def _opened(source: Path | io.BytesIO, name: str) -> Iterator[Image.Image]:
    with _naming(name):
        image = Image.open(source, formats=FORMATS)
    with image:
        _check_size(image, name)
        yield image


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Turn what Pillow raises on a bad file into a DatasetError that names it."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"no image file at {name}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        size = str(error).partition(" exceeds")[0]  # Pillow tells the number of pixels alone
        raise DatasetError(_too_large(name, size)) from error
    except _DECODING_ERRORS as error:
        raise DatasetError(
            f"{name} cannot be decoded: expected a whole image ({', '.join(FORMATS)}), found: "
            f"{error or type(error).__name__}; replace the file or leave it out"
        ) from error
