"""Whether thresholds keep what they promise."""

import numpy as np
import pytest

from rd4ad.teach.threshold import threshold_for


def false_alarms(n_photos: int, rate: float, n_trials: int = 4000) -> float:
    rng = np.random.default_rng(n_photos)
    above = 0
    for _ in range(n_trials):
        scores = np.exp(0.1 * rng.standard_normal(n_photos + 1))
        above += scores[-1] > threshold_for(scores[:-1].tolist(), rate).value
    return above / n_trials


@pytest.mark.parametrize(("n_photos", "rate"), [(200, 0.05), (99, 0.01), (30, 0.1)])
def test_with_enough_photos_the_rate_is_kept_whatever_the_distribution(n_photos, rate):
    assert false_alarms(n_photos, rate) <= rate + 3 * (rate / 4000) ** 0.5


@pytest.mark.parametrize("n_photos", [5, 12, 30])
def test_with_few_photos_it_is_kept_for_log_normal_scores(n_photos):
    assert false_alarms(n_photos, 0.01) == pytest.approx(0.01, abs=0.006)


def test_few_photos_promise_little_and_say_so():
    threshold = threshold_for(np.linspace(1, 2, 30).tolist(), 0.001)
    assert threshold.is_extrapolated
    assert threshold.value >= 2
    assert threshold.at_most == pytest.approx(1 - 0.05 ** (1 / 30))
    assert "1 false alarm in 10" in threshold.text


def test_many_photos_are_not_extrapolated():
    threshold = threshold_for(np.linspace(1, 2, 500).tolist(), 0.01)
    assert not threshold.is_extrapolated
    assert threshold.at_most < 0.025


@pytest.mark.parametrize(("scores", "rate"), [([1.0], 0.01), ([1.0, 2.0], 0.0), ([1.0, 2.0], 0.6)])
def test_what_cannot_give_a_threshold_is_refused(scores, rate):
    with pytest.raises(ValueError, match="at least 2 scores and a rate"):
        threshold_for(scores, rate)
