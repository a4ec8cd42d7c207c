import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from rd4ad.metrics import (
    f1_max,
    image_ap,
    image_auroc,
    image_metrics,
    image_ranking,
    precision_curve,
    roc_curve,
    thin_curve,
)
from rd4ad.metrics.ranking import Curve
from rd4ad.metrics.ranking import f1_max as f1_and_threshold

values = st.integers(0, 4).map(float) | st.floats(-10, 10, width=32)  # many ties, and few
sets = st.lists(st.tuples(st.booleans(), values), min_size=2, max_size=40).filter(
    lambda pairs: len({label for label, _ in pairs}) == 2
)


def split(pairs):
    labels = np.array([int(label) for label, _ in pairs])
    return labels, np.array([score for _, score in pairs])


@given(sets)
def test_auroc_is_the_share_of_pairs_in_order_ties_counting_half(pairs):
    labels, scores = split(pairs)
    wins = [(p > n) + (p == n) / 2 for p in scores[labels == 1] for n in scores[labels == 0]]
    assert image_auroc(labels, scores) == pytest.approx(np.mean(wins), abs=1e-12)


@given(sets)
def test_auroc_and_ap_are_scikit_learns(pairs):
    labels, scores = split(pairs)
    assert image_auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    expected = average_precision_score(labels, scores)
    assert image_ap(labels, scores) == pytest.approx(expected, abs=1e-9)


@given(sets)
def test_f1_max_is_the_best_over_every_threshold_and_its_threshold_reaches_it(pairs):
    labels, scores = split(pairs)

    def f1(threshold):
        found = scores >= threshold
        hits = (found & (labels == 1)).sum()
        return 2 * hits / (found.sum() + labels.sum())

    best, threshold = f1_and_threshold(image_ranking(labels, scores))
    assert best == pytest.approx(max(f1(t) for t in scores), abs=1e-12)
    assert f1(threshold) == pytest.approx(best, abs=1e-12)
    assert f1_max(labels, scores) == best


@given(sets)
def test_the_roc_curve_has_the_area_and_its_thresholds_give_its_points(pairs):
    labels, scores = split(pairs)
    curve = roc_curve(image_ranking(labels, scores))
    assert curve.area() == pytest.approx(image_auroc(labels, scores), abs=1e-12)
    for x, y, threshold in zip(curve.x, curve.y, curve.threshold, strict=True):
        assert x == pytest.approx((scores[labels == 0] >= threshold).mean())
        assert y == pytest.approx((scores[labels == 1] >= threshold).mean())


@given(sets)
def test_the_pr_curve_has_scikit_learns_points(pairs):
    labels, scores = split(pairs)
    curve = precision_curve(image_ranking(labels, scores))
    precision, recall, threshold = precision_recall_curve(labels, scores)
    at = {t: (r, p) for r, p, t in zip(recall, precision, threshold, strict=False)}
    for x, y, t in zip(curve.x, curve.y, curve.threshold, strict=True):
        assert (x, y) == pytest.approx(at[t])


@given(sets)
def test_metrics_do_not_change_under_a_rising_transform_or_another_order(pairs):
    labels, scores = split(pairs)
    expected = image_metrics(labels, scores)
    order = np.random.default_rng(0).permutation(len(labels))
    assert image_metrics(labels[order], scores[order]) == pytest.approx(expected)
    ranks = np.searchsorted(np.unique(scores), scores)  # keeps ties, unlike float arithmetic
    assert image_metrics(labels, 3 * ranks + 1) == pytest.approx(expected)


@pytest.mark.parametrize("labels", [[0, 0], [1, 1], []])
def test_metrics_without_both_kinds_are_nan(labels):
    assert all(np.isnan(v) for v in image_metrics(labels, np.arange(len(labels))).values())


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [0.1], "one label and one score an image"),
        ([[0, 1]], [[0.1, 0.2]], "one label and one score an image"),
        ([0, 2], [0.1, 0.2], r"labels must be 0 \(normal\) or 1 \(defect\)"),
        ([0, 1], [0.1, np.nan], "score of image 1 is not finite"),
        ([0, 1], [np.inf, 0.1], "score of image 0 is not finite"),
    ],
)
def test_bad_input_is_refused_by_name(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        image_auroc(labels, scores)


@given(st.integers(0, 10_000))
def test_thinning_keeps_the_area_the_ends_and_the_limit(seed):
    rng = np.random.default_rng(seed)
    n, shift = 3000, rng.uniform(0, 3)
    labels = rng.integers(0, 2, n)
    curve = roc_curve(image_ranking(labels, rng.normal(labels * shift).round(3)))
    thin = thin_curve(curve, keep_x=0.3)
    assert len(thin.x) <= 500
    assert thin.area() == pytest.approx(curve.area(), abs=1e-4)
    assert (thin.x[0], thin.x[-1]) == (curve.x[0], curve.x[-1])
    at_limit = np.interp(0.3, curve.x, curve.y)
    assert np.interp(0.3, thin.x, thin.y) == pytest.approx(at_limit, abs=1e-12)
    points = set(zip(curve.x, curve.y, curve.threshold, strict=True))
    assert set(zip(thin.x, thin.y, thin.threshold, strict=True)) <= points


def test_a_short_curve_is_left_as_it_is():
    curve = Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    assert thin_curve(curve) is curve
