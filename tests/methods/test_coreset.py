"""The coreset against one step at a time, as the algorithm is written."""

import numpy as np
import pytest

from rd4ad.methods.coreset import greedy_coreset


def one_at_a_time(rows, count):
    distances = ((rows - rows.mean(0)) ** 2).sum(1)
    chosen = [int(distances.argmax())]
    distances = ((rows - rows[chosen[0]]) ** 2).sum(1)
    while len(chosen) < count:
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, ((rows - rows[chosen[-1]]) ** 2).sum(1))
    return chosen


@pytest.mark.parametrize(("n_rows", "n_columns", "count"), [(50, 3, 50), (3000, 8, 700), (9, 1, 4)])
def test_the_choice_is_that_of_one_step_at_a_time(n_rows, n_columns, count):
    rows = np.random.default_rng(n_rows).standard_normal((n_rows, n_columns)).astype(np.float32)
    assert greedy_coreset(rows, count).tolist() == one_at_a_time(rows, count)


def test_clusters_are_all_visited_before_any_is_visited_twice():
    rng = np.random.default_rng(0)
    centers = 100 * rng.standard_normal((40, 200))
    rows = np.repeat(centers, 30, 0) + 0.1 * rng.standard_normal((1200, 200))
    chosen = greedy_coreset(rows.astype(np.float32), 40)
    assert sorted(chosen // 30) == list(range(40))


def test_rows_that_are_all_equal_are_chosen_once_each():
    chosen = greedy_coreset(np.ones((5, 3), np.float32), 5)
    assert sorted(chosen) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("count", [0, 6])
def test_a_count_that_cannot_be_is_refused(count):
    with pytest.raises(ValueError, match="between 1 and as many"):
        greedy_coreset(np.ones((5, 3), np.float32), count)
