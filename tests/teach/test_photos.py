"""What is found about photos, one fault at a time."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from rd4ad.data.folders import DatasetError
from rd4ad.data.parts import render
from rd4ad.teach.photos import alignment, findings, mean_and_spread, photo_of, read_photos


@pytest.fixture(scope="module")
def images():
    return [render("bottle", "good", i, split="train")[0] for i in range(22)]


def photos(images):
    return [photo_of(f"{i:03d}.png", image) for i, image in enumerate(images)]


def kinds(images):
    return {finding.kind: finding for finding in findings(photos(images))}


def test_good_photos_have_no_fault(images):
    assert kinds(images) == {}


def test_too_few_stop_and_few_warn(images):
    assert kinds(images[:4])["too few"].stops
    assert not kinds(images[:8])["few"].stops


def test_a_copy_is_named(images):
    again = np.clip(images[3].astype(int) + 1, 0, 255).astype(np.uint8)
    assert kinds([*images, again])["duplicates"].photos == ("022.png",)


def test_a_blurred_photo_is_named(images):
    blurred = gaussian_filter(images[5], (4, 4, 0))
    assert kinds([*images[:5], blurred, *images[6:]])["blurred"].photos == ("005.png",)


def test_an_over_exposed_photo_is_named(images):
    bright = np.clip(images[2].astype(int) * 3 + 120, 0, 255).astype(np.uint8)
    assert "002.png" in kinds([*images[:2], bright, *images[3:]])["over-exposed"].photos


def test_another_aspect_ratio_is_named(images):
    assert kinds([*images[:-1], images[-1][:200]])["aspect ratio"].photos == ("021.png",)


def test_parts_that_lie_anywhere_are_seen(images):
    rng = np.random.default_rng(0)
    moved = [np.roll(image, rng.integers(-120, 120, 2), (0, 1)) for image in images]
    assert "not aligned" in kinds(moved)
    assert alignment(photos(moved)) < alignment(photos(images))


def test_mean_and_spread_are_pictures(images):
    mean, spread = mean_and_spread(photos(images))
    assert mean.shape == spread.shape == (256, 256, 3)
    assert mean.dtype == spread.dtype == np.uint8


def test_a_folder_is_read_by_name_and_what_is_broken_is_named(images, tmp_path):
    for name, image in zip("ba", images, strict=False):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    (tmp_path / "c.png").write_bytes(b"none")
    found, problems = read_photos(tmp_path)
    assert [photo.name for photo in found] == ["a.png", "b.png"]
    assert len(problems) == 1
    assert "c.png" in problems[0]


def test_more_photos_than_are_taken_are_named(images, tmp_path, monkeypatch):
    monkeypatch.setattr("rd4ad.teach.photos.AT_MOST", 2)
    for i, image in enumerate(images[:3]):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    found, problems = read_photos(tmp_path)
    assert len(found) == 2
    assert problems == ["3 photos: expected at most 2; the rest is left out"]


def test_a_folder_without_photos_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="expected photos of good parts"):
        read_photos(tmp_path)
