"""Files of every accepted kind, and files that must be refused by name."""

import struct
import warnings
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from rd4ad.data.decoding import MAX_PIXELS, image_size
from rd4ad.data.folders import DatasetError
from rd4ad.data.images import read_gray, read_image

LEVELS = np.array([[0, 1, 127], [128, 200, 255]], dtype=np.uint8)


def png_of_size(path: Path, width: int, height: int) -> Path:
    """Write a PNG whose header claims this size and whose pixels are missing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".pgm", ".gif"])
def test_8_bit_gray_fills_three_channels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"gray{suffix}"
    Image.fromarray(LEVELS).save(path)
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.flags.writeable
    np.testing.assert_array_equal(image, np.repeat(LEVELS[:, :, None], 3, axis=2))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_gray_is_scaled_by_its_full_range(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"deep{suffix}"
    deep = np.array([[0, 128, 129, 257], [32768, 40000, 65406, 65535]], dtype=np.uint16)
    Image.fromarray(deep).save(path)
    expected = np.round(deep / 65535 * 255)
    np.testing.assert_array_equal(read_image(path)[:, :, 1], expected)


def test_16_bit_gray_of_either_byte_order_is_one_picture(tmp_path: Path) -> None:
    deep = np.array([[0, 257 * 7, 65535]], dtype=np.uint16)
    path = tmp_path / "deep.pgm"
    path.write_bytes(b"P5 3 1 65535\n" + deep.astype(">u2").tobytes())
    assert read_gray(path).tolist() == [[0, 7, 255]]
    motorola = Image.frombytes("I;16B", (3, 1), deep.astype(">u2").tobytes())
    assert read_image(motorola)[0, :, 0].tolist() == [0, 7, 255]


def test_alpha_is_dropped_as_in_the_released_loader(tmp_path: Path) -> None:
    path = tmp_path / "clear.png"
    Image.new("RGBA", (2, 2), (10, 20, 30, 0)).save(path)
    assert read_image(path)[0, 0].tolist() == [10, 20, 30]
    Image.new("LA", (2, 2), (40, 0)).save(path)
    assert read_image(path)[0, 0].tolist() == [40, 40, 40]


@pytest.mark.parametrize("transparency", [None, 0, b"\x00\x80"])
def test_a_palette_gives_its_colors(tmp_path: Path, transparency: int | bytes | None) -> None:
    path = tmp_path / "palette.png"
    image = Image.frombytes("P", (2, 1), b"\x00\x01")
    image.putpalette([255, 0, 0, 0, 90, 255])
    image.save(path, **({} if transparency is None else {"transparency": transparency}))
    assert read_image(path)[0].tolist() == [[255, 0, 0], [0, 90, 255]]


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    path = tmp_path / "bits.png"
    Image.fromarray(LEVELS > 127).save(path)
    np.testing.assert_array_equal(read_gray(path), np.where(LEVELS > 127, 255, 0))


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    path = tmp_path / "print.jpg"
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path, quality=95)
    assert np.abs(read_image(path)[8, 8].astype(int) - [255, 0, 0]).max() <= 3


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    path = tmp_path / "moving.gif"
    frames = [Image.new("L", (4, 4), level) for level in (50, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert read_image(path)[0, 0].tolist() == [50, 50, 50]


@pytest.mark.parametrize(
    "name", ["photo.jpg", "photo.png", "photo.webp", "photo.tif", "photo.avif"]
)
def test_exif_rotation_is_applied(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned a quarter clockwise
    path = tmp_path / name
    picture = np.zeros((16, 32, 3), dtype=np.uint8)
    picture[:, :16] = 255  # white on the left: on top once upright
    Image.fromarray(picture).save(path, exif=exif)
    upright = read_image(path)
    assert upright.shape == (32, 16, 3)
    assert upright[:12].min() > 240
    assert upright[20:].max() < 15
    assert image_size(path) == (16, 32)


def test_a_picture_in_memory_is_turned_and_left_as_it_was() -> None:
    picture = Image.new("RGB", (4, 2))
    picture.getexif()[0x0112] = 8
    assert read_image(picture).shape == (4, 2, 3)
    assert picture.size == (4, 2)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp", ".gif", ".avif"])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"half{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=rf"half\{suffix} cannot be decoded: expected a whole"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_image_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"photo\.png cannot be decoded"):
        read_image(path)
    with pytest.raises(DatasetError, match=r"photo\.png cannot be decoded"):
        image_size(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no image file at .*absent\.png"):
        read_image(tmp_path / "absent.png")
    with pytest.raises(DatasetError, match="Is a directory"):
        read_image(tmp_path)


@pytest.mark.parametrize("action", ["error", "ignore"])
@pytest.mark.parametrize("side", [10_000, 20_000])
def test_a_decompression_bomb_is_refused_before_decoding(
    tmp_path: Path, side: int, action: Literal["error", "ignore"]
) -> None:
    warnings.simplefilter(action)
    path = png_of_size(tmp_path / "bomb.png", side, side)
    with pytest.raises(DatasetError, match=rf"bomb\.png .*{side * side} pixels.*{MAX_PIXELS}"):
        read_image(path)
    with pytest.raises(DatasetError, match=r"bomb\.png is too large"):
        image_size(path)


def test_the_size_limit_is_the_last_size_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rd4ad.data.decoding.MAX_PIXELS", 12)
    assert read_image(Image.new("RGB", (4, 3))).shape == (3, 4, 3)
    with pytest.raises(DatasetError, match=r"the PIL image is too large.*13 x 1 = 13 pixels"):
        read_image(Image.new("RGB", (13, 1)))


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_a_picture_without_pixels_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(DatasetError, match="at least one pixel"):
        read_image(Image.new("RGB", size))
    with pytest.raises(DatasetError, match=r"none\.png"):
        read_image(png_of_size(tmp_path / "none.png", *size))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_32_bits_a_pixel_have_no_known_range(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "depth.tif"
    Image.fromarray(np.ones((2, 2), dtype=dtype)).save(path)
    with pytest.raises(DatasetError, match=r"depth\.tif has pixels of Pillow's mode '[FI]'"):
        read_image(path)
