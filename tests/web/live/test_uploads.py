import io

import numpy as np
import pytest
from PIL import Image

from rd4ad.data.images import fitted
from rd4ad.web.live import uploads
from rd4ad.web.live.uploads import RefusedError, read_upload, read_upload_file

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM"])
def test_every_format_is_known_by_its_content(kind):
    assert read_upload(saved(PICTURE, kind)).shape == (40, 60, 3)


def test_a_picture_named_as_something_else_is_read_all_the_same(tmp_path):
    file = tmp_path / "photo.txt"
    file.write_bytes(saved(PICTURE, "PNG"))
    np.testing.assert_array_equal(read_upload_file(file), np.asarray(PICTURE))


def test_16_bit_gray_is_scaled():
    deep = Image.fromarray(np.full((8, 8), 65535 // 2, np.uint16))
    assert set(np.unique(read_upload(saved(deep, "PNG")))) <= {127, 128}


def test_cmyk_palette_alpha_and_gray_become_rgb():
    for mode in ("CMYK", "P", "LA", "L", "1"):
        kind = "TIFF" if mode == "CMYK" else "PNG"
        assert read_upload(saved(PICTURE.convert(mode), kind)).shape == (40, 60, 3)


def test_a_rotation_in_exif_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_upload(saved(PICTURE, "JPEG", exif=exif)).shape == (60, 40, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a whole image"),
        (b"hello", "not a whole image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a whole image"),
        (b"%PDF-1.4", "not a whole image"),
        (b"GIF89a", "not a whole image"),
        (saved(PICTURE, "PNG")[:200], "not a whole image"),
        (saved(PICTURE, "JPEG")[:300], "not a whole image"),
    ],
)
def test_what_is_no_whole_image_is_refused_clearly(content, said):
    with pytest.raises(RefusedError, match=said):
        read_upload(content)


def test_an_animation_is_refused():
    frames = [PICTURE, PICTURE.rotate(90)]
    content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(RefusedError, match="2 frames"):
        read_upload(content)


def test_too_many_bytes_are_refused_before_decoding():
    with pytest.raises(RefusedError, match="at most 10 MB"):
        read_upload(b"\x89PNG" + bytes(uploads.MAX_BYTES))


def test_a_large_file_is_not_even_read(tmp_path):
    file = tmp_path / "large.png"
    with file.open("wb") as sparse:
        sparse.truncate(uploads.MAX_BYTES + 1)
    with pytest.raises(RefusedError, match="larger than"):
        read_upload_file(file)


def test_too_many_pixels_are_refused_by_the_header():
    wide = saved(Image.new("1", (6000, 5000)), "PNG")
    assert len(wide) < 10_000
    with pytest.raises(RefusedError, match="25 megapixels"):
        read_upload(wide)


def test_a_decompression_bomb_is_refused():
    bomb = saved(Image.new("1", (20_000, 20_000)), "PNG")
    with pytest.raises(RefusedError, match="too large to decode safely"):
        read_upload(bomb)


def test_a_picture_is_fitted_in_its_proportions():
    assert fitted(np.zeros((300, 900, 3), np.uint8), 300).shape == (100, 300, 3)
    assert fitted(np.zeros((30, 90, 3), np.uint8), 300).shape == (30, 90, 3)
