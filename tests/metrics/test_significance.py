import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.special import ndtr

from rd4ad.metrics import (
    bootstrap,
    image_metrics,
    interval,
    pixel_metrics,
    pixel_statistics,
)
from rd4ad.metrics.category import DEFINITIONS
from rd4ad.metrics.significance import metrics_of_counts, resamples


def example(seed=0, shift=2.0, n_levels=None, shape=(6, 64, 64)):
    """Labels, scores, masks and maps of a small test set; an image with a mask is a defect."""
    rng = np.random.default_rng(seed)
    masks = gaussian_filter(rng.standard_normal(shape), (0, 3, 3)) > 0.12
    masks[:2] = False
    masks[2:, 3:9, 3:9] = True
    maps = 5 * gaussian_filter(rng.standard_normal(shape), (0, 1.5, 1.5))
    maps += shift * gaussian_filter(masks.astype(float), (0, 1.5, 1.5))
    if n_levels:
        maps = np.round(n_levels * maps) / n_levels
    maps = maps.astype(np.float32)
    return masks.any((1, 2)).astype(int), maps.max((1, 2)).astype(float), masks, maps


def exact_metrics(labels, scores, masks, maps):
    return image_metrics(labels, scores) | pixel_metrics(masks, maps)


@pytest.mark.parametrize("n_levels", [None, 10])
def test_every_resample_has_the_metrics_of_its_images_measured_again(n_levels):
    labels, scores, masks, maps = example(shift=4.0, n_levels=n_levels, shape=(10, 96, 96))
    exact = exact_metrics(labels, scores, masks, maps)
    statistics = pixel_statistics(masks, maps)
    assert statistics.is_tied.all() == (n_levels is not None)
    found = bootstrap(exact, labels, scores, statistics, n_resamples=40, seed=3)
    assert set(found) == set(DEFINITIONS)
    tolerance = 1e-7 if n_levels else 1e-3  # shares of regions are stored in single precision
    for i, counts in enumerate(np.concatenate(list(resamples(len(labels), 40, 3, 1)))):
        again = np.repeat(np.arange(len(labels)), counts.astype(int))
        naive = exact_metrics(labels[again], scores[again], masks[again], maps[again])
        for metric, value in naive.items():
            is_exact = metric.startswith("image") or metric == "aupro_per_image"
            assert found[metric][i] == pytest.approx(
                value, abs=1e-9 if is_exact else tolerance, nan_ok=True
            ), metric


def share(counts):
    """Counts of all images together by bin, as shares of their sum."""
    pooled = counts.sum(axis=0, dtype=float)
    return pooled / pooled.sum()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([8, 32, 128]), st.sampled_from([0.0, 2.0, 8.0]))
def test_the_grid_is_off_by_no_more_than_is_promised(seed, n_bins, shift):
    labels, scores, masks, maps = example(seed, shift)
    exact = pixel_metrics(masks, maps)
    statistics = pixel_statistics(masks, maps, n_bins)
    assert statistics.positives.shape[1] <= n_bins
    binned = metrics_of_counts(np.ones((1, len(labels))), labels, scores, statistics)
    p, n, w = map(share, (statistics.positives, statistics.negatives, statistics.overlap))
    hits, level = statistics.positives.sum(0).cumsum(), statistics.negatives.sum(0).cumsum()
    before, above = hits - statistics.positives.sum(0), level - statistics.negatives.sum(0)
    allowed = {
        "pixel_auroc": p @ n / 2,
        "pixel_ap": p
        @ (hits / np.maximum(hits + above, 1) - before / np.maximum(before + level, 1)),
        "pixel_f1_max": 2 * p.max(),
        "aupro": (w * n)[n.cumsum() - n < 0.3].sum() / 2 / 0.3,
        "aupro_0.05": (w * n)[n.cumsum() - n < 0.05].sum() / 2 / 0.05,
        "aupro_per_image": 0,
    }
    for metric, bound in allowed.items():
        assert abs(binned[metric][0] - exact[metric]) <= bound + 1e-7, metric
    assert binned["pixel_f1_max"][0] <= exact["pixel_f1_max"] + 1e-12


def test_on_smooth_maps_the_usual_grid_agrees_with_the_exact_metrics():
    rng = np.random.default_rng(0)
    masks = gaussian_filter(rng.standard_normal((20, 128, 128)), (0, 8, 8)) > 0.1
    masks[:8] = False
    maps = gaussian_filter(rng.standard_normal(masks.shape), (0, 4, 4)) * 8 + masks
    labels, scores = masks.any((1, 2)).astype(int), maps.max((1, 2))
    found = metrics_of_counts(np.ones((1, 20)), labels, scores, pixel_statistics(masks, maps))
    for metric, value in exact_metrics(labels, scores, masks, maps).items():
        assert found[metric][0] == pytest.approx(value, abs=5e-4), metric


def test_the_metrics_of_resamples_lie_around_the_exact_one():
    labels, scores, masks, maps = example()
    exact = exact_metrics(labels, scores, masks, maps)
    coarse = pixel_statistics(masks, maps, n_bins=8)
    binned = metrics_of_counts(np.ones((1, len(labels))), labels, scores, coarse)["pixel_ap"][0]
    assert abs(binned - exact["pixel_ap"]) > 1e-3
    counts = next(resamples(len(labels), 100, 0, 1))
    expected = metrics_of_counts(counts, labels, scores, coarse)["pixel_ap"]
    found = bootstrap(exact, labels, scores, coarse, n_resamples=100)["pixel_ap"]
    np.testing.assert_allclose(found - expected, exact["pixel_ap"] - binned, atol=1e-12)


def scored(n_normal, n_defects, rng, shift=1.5):
    labels = np.repeat([0, 1], [n_normal, n_defects])
    return labels, rng.normal(labels * shift)


def test_the_interval_covers_the_true_metric_about_as_often_as_it_says():
    rng, true = np.random.default_rng(0), float(ndtr(1.5 / np.sqrt(2)))
    n_covered = 0
    for _ in range(200):
        labels, scores = scored(40, 60, rng)
        exact = {"image_auroc": image_metrics(labels, scores)["image_auroc"]}
        low, high = interval(bootstrap(exact, labels, scores, n_resamples=300)["image_auroc"])
        n_covered += low <= true <= high
    assert 0.90 <= n_covered / 200 <= 0.99


def test_the_same_test_images_give_two_runs_the_same_resamples():
    labels, scores, masks, maps = example()
    exact = exact_metrics(labels, scores, masks, maps)
    twice = [bootstrap(exact, labels, scores, pixel_statistics(masks, maps)) for _ in range(2)]
    for metric in DEFINITIONS:
        assert interval(twice[0][metric] - twice[1][metric]) == (0.0, 0.0)


def test_resamples_depend_on_the_seed_alone_and_not_on_how_many_are_made_at_a_time():
    at_once = np.concatenate(list(resamples(7, 50, seed=1, width=7)))
    one_by_one = np.concatenate(list(resamples(7, 50, seed=1, width=2**20)))
    np.testing.assert_array_equal(at_once, one_by_one)
    assert (at_once.sum(axis=1) == 7).all()
    assert (at_once != np.concatenate(list(resamples(7, 50, seed=2, width=7)))).any()


def test_resamples_without_one_of_both_kinds_are_left_out():
    values = bootstrap({"image_auroc": 1.0}, [0, 1, 1, 1], [0.1, 0.2, 0.3, 0.4])["image_auroc"]
    undefined = np.isnan(values).mean()
    assert undefined == pytest.approx((3**4 + 1) / 4**4, abs=0.05)
    assert interval(values) == (1.0, 1.0)


def test_metrics_that_are_undefined_or_not_asked_for_have_no_resamples():
    exact = {"image_auroc": float("nan"), "image_ap": 1.0}
    assert list(bootstrap(exact, [1, 0], [0.2, 0.1])) == ["image_ap"]


def test_an_images_order_is_that_of_its_statistics():
    _, _, masks, maps = example()
    order = np.array([4, 0, 5, 1, 3, 2])
    moved = pixel_statistics(masks, maps).of(order)
    expected = pixel_statistics(masks[order], maps[order])
    np.testing.assert_array_equal(moved.positives, expected.positives)
    np.testing.assert_array_equal(moved.aupro_per_image, expected.aupro_per_image)


def test_a_value_that_many_pixels_have_gets_a_bin_of_its_own():
    _, _, masks, maps = example()
    clipped = np.maximum(maps, 0)  # half of the pixels are 0, the others all distinct
    statistics = pixel_statistics(masks, clipped, n_bins=64)
    zeros = int((clipped[~masks] == 0).sum())
    at = statistics.negatives.sum(axis=0).tolist().index(zeros)
    assert statistics.is_tied[at]


def test_statistics_of_other_images_are_refused():
    _, _, masks, maps = example()
    with pytest.raises(ValueError, match="expected statistics of 2 images; got 6"):
        bootstrap({}, [0, 1], [0.1, 0.2], pixel_statistics(masks, maps))
    with pytest.raises(ValueError, match="one label and one score"):
        bootstrap({}, [0, 1], [0.1])
