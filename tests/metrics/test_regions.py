import json
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label
from sklearn.metrics import average_precision_score, roc_auc_score

from rd4ad.metrics import (
    aupro,
    aupro_per_image,
    image_ap,
    image_auroc,
    pixel_ap,
    pixel_auroc,
    pixel_metrics,
    pro_curve,
    ranking,
)

SHAPE = (3, 5, 6)
levels = st.integers(0, 3).map(float) | st.floats(0, 1, width=32)
stacks = st.tuples(arrays(bool, SHAPE), arrays(np.float32, SHAPE, elements=levels)).filter(
    lambda pair: pair[0].any() and not pair[0].all()
)


def slow_pro_points(masks, maps):
    """The definition, threshold by threshold: (rate, overlap), strictest first."""
    regions = []
    for index, mask in enumerate(masks):
        labels, n = label(mask, structure=np.ones((3, 3)))
        regions += [(index, labels == k) for k in range(1, n + 1)]
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        found = maps >= threshold
        overlap = np.mean([found[i][region].mean() for i, region in regions])
        points.append((found[~masks].mean(), overlap))
    return np.array(points).T


def slow_aupro(masks, maps, limit):
    x, y = slow_pro_points(masks, maps)
    at_limit = None
    for (x0, x1), (y0, y1) in zip(pairwise(x), pairwise(y), strict=True):
        if x0 <= limit < x1:
            at_limit = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
    kept = x <= limit
    x, y = x[kept], y[kept]
    if at_limit is not None:
        x, y = np.r_[x, limit], np.r_[y, at_limit]
    return np.trapezoid(y, x) / limit


@settings(max_examples=200)
@given(stacks, st.sampled_from([0.05, 0.3, 0.5, 1.0]))
def test_aupro_is_the_area_under_the_curve_of_the_definition(stack, limit):
    assert aupro(*stack, limit) == pytest.approx(slow_aupro(*stack, limit), abs=1e-9)


@given(stacks)
def test_the_curve_passes_through_every_point_of_the_definition(stack):
    curve = pro_curve(*stack)
    x, y = slow_pro_points(*stack)
    assert curve.area() == pytest.approx(aupro(*stack, 1.0), abs=1e-9)
    for a, b in zip(x, y, strict=True):
        on = [c for c, d in zip(curve.x, curve.y, strict=True) if abs(d - b) < 1e-9]
        low, high = np.interp(a - 1e-9, curve.x, curve.y), np.interp(a + 1e-9, curve.x, curve.y)
        assert low - 1e-6 <= b <= high + 1e-6 or on


@given(stacks)
def test_sorting_in_parts_changes_no_metric(stack):
    whole = pixel_metrics(*stack)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_PART", 2)  # scores a thread, so that three images make three parts
        parts = pixel_metrics(*stack)
    np.testing.assert_array_equal(list(parts.values()), list(whole.values()))


@given(stacks)
def test_pixel_auroc_and_ap_are_scikit_learns(stack):
    masks, maps = stack
    expected = roc_auc_score(masks.ravel(), maps.ravel())
    assert pixel_auroc(masks, maps) == pytest.approx(expected, abs=1e-9)
    expected = average_precision_score(masks.ravel(), maps.ravel())
    assert pixel_ap(masks, maps) == pytest.approx(expected, abs=1e-9)


def slow_per_image(mask, anomaly_map):
    """The released procedure, threshold by threshold."""
    low, high = anomaly_map.min(), anomaly_map.max()
    labels, n = label(mask, structure=np.ones((3, 3)))
    points = []
    for threshold in np.arange(low, high, (high - low) / 200):
        found = anomaly_map > threshold
        overlap = np.mean([found[labels == k].mean() for k in range(1, n + 1)])
        points.append((found[~mask].mean(), overlap))
    x, y = np.array([point for point in points if point[0] < 0.3])[::-1].T
    return np.trapezoid(y, x / x.max())


def test_the_per_image_metric_is_the_released_procedure():
    rng = np.random.default_rng(0)
    masks = rng.random((4, 24, 24)) < 0.1
    masks[2] = False
    maps = (rng.random((4, 24, 24)) + masks).astype(np.float32)
    expected = np.mean([slow_per_image(masks[i], maps[i]) for i in (0, 1, 3)])
    assert aupro_per_image(masks, maps) == pytest.approx(expected, abs=1e-12)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["s1_plain", "s1_ties", "s2_plain", "s2_ties"])
def test_metrics_equal_those_of_the_original_programs(shared_dir, name):
    golden = json.loads((shared_dir / "reference/golden_metrics.json").read_text())[name]
    with np.load(shared_dir / "reference/golden_metrics.npz") as arrays_:
        masks, maps = arrays_[f"{name}_masks"], arrays_[f"{name}_maps"]
    for limit in (0.3, 0.05, 1.0):
        assert aupro(masks, maps, limit) == pytest.approx(golden[f"aupro_{limit}"], abs=1e-6)
    released = golden["aupro_per_image_official"]
    assert aupro_per_image(masks, maps) == pytest.approx(released, abs=1e-3)
    assert pixel_auroc(masks, maps) == pytest.approx(golden["pixel_auroc"], abs=1e-9)
    assert pixel_ap(masks, maps) == pytest.approx(golden["pixel_ap"], abs=1e-9)
    labels, scores = masks.any((1, 2)).astype(int), maps.max((1, 2))
    assert image_auroc(labels, scores) == pytest.approx(golden["image_auroc"], abs=1e-9)
    assert image_ap(labels, scores) == pytest.approx(golden["image_ap"], abs=1e-9)


def example():
    rng = np.random.default_rng(1)
    masks = rng.random((3, 16, 16)) < 0.1
    return masks, (rng.random((3, 16, 16)) + 0.3 * masks).astype(np.float32)


def test_all_metrics_together_equal_each_alone():
    masks, maps = example()
    together = pixel_metrics(masks, maps)
    assert together["pixel_auroc"] == pixel_auroc(masks, maps)
    assert together["pixel_ap"] == pixel_ap(masks, maps)
    assert together["aupro"] == aupro(masks, maps)
    assert together["aupro_0.05"] == aupro(masks, maps, 0.05)
    assert together["aupro_per_image"] == aupro_per_image(masks, maps)


def test_images_of_different_sizes_pool_their_pixels():
    masks, maps = example()
    cut = (
        [m[: 8 + 4 * i] for i, m in enumerate(masks)],
        [m[: 8 + 4 * i] for i, m in enumerate(maps)],
    )
    flat = [np.concatenate([a.ravel() for a in arrays_]) for arrays_ in cut]
    assert pixel_auroc(*cut) == pytest.approx(roc_auc_score(*flat), abs=1e-9)


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.float16, np.float64])
def test_masks_and_maps_of_any_number_type_are_read(kind):
    masks, maps = example()
    scaled = np.round(maps * 100).astype(kind)
    expected = pixel_metrics(masks, np.round(maps * 100).astype(np.float32))
    assert pixel_metrics(masks.astype(np.uint8) * 255, scaled) == pytest.approx(expected, abs=1e-9)


def test_diagonal_neighbors_are_one_region():
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 0, 0] = mask[0, 1, 1] = mask[0, 3, 3] = True
    maps = np.zeros((1, 4, 4))
    maps[0, 3, 3] = 1
    curve = pro_curve(mask, maps)
    assert curve.y[curve.x == 0].max() == pytest.approx(0.5)  # one of two regions, not of three


def test_a_constant_map_is_no_better_than_chance():
    masks, maps = example()
    metrics = pixel_metrics(masks, np.zeros_like(maps))
    assert metrics["pixel_auroc"] == 0.5
    assert metrics["aupro"] == pytest.approx(0.15)
    assert np.isnan(metrics["aupro_per_image"])


def test_metrics_without_a_defective_or_without_a_normal_pixel_are_nan():
    maps = np.random.default_rng(0).random((2, 4, 4))
    for masks in (np.zeros((2, 4, 4), bool), np.ones((2, 4, 4), bool)):
        assert all(np.isnan(value) for value in pixel_metrics(masks, maps).values())


@pytest.mark.parametrize(
    ("masks", "maps", "message"),
    [
        (np.zeros((2, 4, 4)), np.zeros((3, 4, 4)), "a mask for every map; got 2 and 3"),
        (np.zeros((0, 4, 4)), np.zeros((0, 4, 4)), "a mask for every map; got 0 and 0"),
        (np.zeros((1, 4, 4)), np.zeros((1, 4, 5)), r"image 0: .*\(4, 4\) and \(4, 5\)"),
        (np.zeros((1, 4)), np.zeros((1, 4)), "image 0: expected a mask and a map of one shape"),
        (np.arange(16).reshape(1, 4, 4), np.zeros((1, 4, 4)), "image 0: a mask has 0 for normal"),
        (np.zeros((1, 2, 2)), np.full((1, 2, 2), np.nan), "image 0: the map holds NaN"),
        (np.zeros((1, 2, 2)), np.full((1, 2, 2), np.inf), "image 0: the map holds NaN"),
    ],
)
def test_bad_input_is_refused_by_image(masks, maps, message):
    with pytest.raises(ValueError, match=message):
        pixel_auroc(masks, maps)


@pytest.mark.parametrize("limit", [0.0, -0.1, 1.1])
def test_a_limit_outside_its_range_is_refused(limit):
    with pytest.raises(ValueError, match=r"fpr_limit must lie in \(0, 1\]"):
        aupro(*example(), limit)


@pytest.mark.parametrize("many", [False, True])
def test_metrics_of_maps_that_come_one_by_one_are_those_of_the_whole(many, monkeypatch):
    monkeypatch.setattr(ranking, "_PART", 100)
    monkeypatch.setattr(ranking, "_LARGE_PART", 150)
    if many:
        monkeypatch.setattr(ranking, "_MANY", 0)
    rng = np.random.default_rng(0)
    maps = rng.random((12, 20, 20)).round(2)  # with ties
    masks = rng.random((12, 20, 20)) < 0.05
    masks[:4] = False

    class Passing(Sequence):
        """Maps that are made when they are asked for, and never again the same array."""

        def __len__(self):
            return len(maps)

        def __getitem__(self, index):
            return maps[index].copy()

    streamed = pixel_metrics(masks, Passing())
    expected = {
        "pixel_auroc": roc_auc_score(masks.ravel(), maps.ravel()),
        "pixel_ap": average_precision_score(masks.ravel(), maps.ravel()),
    }
    for name, value in expected.items():
        assert streamed[name] == pytest.approx(value, abs=1e-12)
    assert streamed == pixel_metrics(masks, maps)
