"""Copies of photos: where they are asked for, and what they are."""

import numpy as np
import pytest
from PIL import Image

from rd4ad.data.parts import render
from rd4ad.teach.augmentation import Augmentation, copies, variations
from rd4ad.teach.photos import photo_of


def rendered(part, n=12):
    return [render(part, "good", i, split="train")[0] for i in range(n)]


def seen(images):
    return variations([photo_of(str(i), image) for i, image in enumerate(images)])


@pytest.mark.parametrize("part", ["nut", "tile", "wood"])
def test_parts_that_lie_still_and_textures_ask_for_none(part):
    assert seen(rendered(part)) == {}


def test_parts_that_are_turned_are_seen():
    angles = np.linspace(-12, 12, 12)
    image = rendered("transistor", 1)[0]
    fill = tuple(int(level) for level in image[0, 0])
    turned = [np.asarray(Image.fromarray(image).rotate(a, fillcolor=fill)) for a in angles]
    assert seen(turned)["turned"] == pytest.approx(angles.std(), abs=3)


def test_light_that_changes_is_seen():
    gains = np.linspace(0.7, 1.0, 12)
    dimmed = [(image * g).astype(np.uint8) for image, g in zip(rendered("nut"), gains)]
    assert seen(dimmed)["lit"] == pytest.approx(np.log(gains).std(), abs=0.02)


def test_a_copy_is_turned_about_the_middle_and_shifted_by_pixels():
    image = np.zeros((1, 33, 33, 3), np.uint8)
    image[0, 16, 26] = 255
    left, right = copies(image, "turned", 90)
    assert {tuple(np.argwhere(one[..., 0] > 200)[0]) for one in (left, right)} == {
        (6, 16),
        (26, 16),
    }
    dark = copies(np.full((1, 32, 32, 3), 40, np.uint8), "shifted", 2)
    assert (dark == 40).all()


def test_copies_are_taken_only_where_they_help():
    tried = Augmentation(kind="lit", spread=0.1, quality_without=0.9, quality_with=0.9005)
    assert not tried.is_taken
    assert "not used" in tried.text
