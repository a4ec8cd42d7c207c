"""Thousands of mutated pictures at the border: an array or a refusal, soon and in little memory."""

import io

import numpy as np
import pytest
from PIL import Image

from rd4ad.data.decoding import FORMATS
from rd4ad.web.live.uploads import MAX_PIXELS, RefusedError, check_header, read_upload

N_FILES = 400  # a format
# Pillow warns of damaged metadata beside a picture that is whole; that is no refusal.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def picture(kind: str) -> bytes:
    rng = np.random.default_rng(1)
    smooth = np.linspace(0, 200, 48 * 40 * 3).reshape(40, 48, 3) + rng.integers(0, 50, (40, 48, 3))
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    more = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF") else {}
    if kind == "TIFF":
        more["compression"] = "tiff_lzw"
    Image.fromarray(smooth.astype(np.uint8)).save(file, kind, **more)
    return file.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_mutated_picture_is_an_array_or_a_refusal(kind, mutations, watched):
    n_read = 0
    for content in mutations(picture(kind), N_FILES):
        with watched():
            try:
                image = read_upload(content)
            except RefusedError:
                continue
        n_read += 1
        assert image.ndim == 3
        assert image.dtype == np.uint8
        assert image.shape[0] * image.shape[1] <= MAX_PIXELS
    assert 0 < n_read < N_FILES  # some changes matter and some do not


@pytest.mark.parametrize("kind", FORMATS)
def test_the_header_alone_never_refuses_what_is_read_whole(kind, mutations):
    for content in mutations(picture(kind), 100):
        try:
            read_upload(content)
        except RefusedError:
            continue
        check_header(content)
