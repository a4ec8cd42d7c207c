"""Painted defects: where they are, how large, and that nothing else changes."""

import numpy as np
import pytest

from rd4ad.data.parts import render
from rd4ad.teach.defects import KINDS, SIZES_PX, painted


@pytest.fixture(scope="module")
def images():
    return np.stack([render("nut", "good", i, split="train")[0] for i in range(3)])


@pytest.fixture(scope="module")
def defects(images):
    return painted(images, per_case=2)


def test_every_kind_and_size_is_there(defects):
    cases = {(one.kind, one.size_px) for one in defects}
    assert cases == {(kind, size) for kind in KINDS for size in SIZES_PX}


def test_the_mask_is_what_changed(images, defects):
    for one in defects:
        changed = (one.image != images[one.photo]).any(2)
        np.testing.assert_array_equal(one.mask, changed)
        assert one.mask.any()


def test_a_larger_defect_covers_more_and_none_reaches_beyond_its_size(defects):
    areas = {
        size: np.mean([one.mask.sum() for one in defects if one.size_px == size])
        for size in SIZES_PX
    }
    assert list(areas.values()) == sorted(areas.values())
    for one in defects:
        rows, columns = np.nonzero(one.mask)
        reach = max(np.ptp(rows), np.ptp(columns))
        assert reach <= 2 * one.size_px + 4


def test_the_same_seed_paints_the_same(images, defects):
    for one, other in zip(defects, painted(images, per_case=2), strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def test_other_seeds_paint_others(images, defects):
    others = painted(images, per_case=2, seed=1)
    assert any((a.image != b.image).any() for a, b in zip(defects, others, strict=True))
