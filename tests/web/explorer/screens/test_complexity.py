"""Cost beside quality: the metrics of the stored runs, over categories that compare."""

from pathlib import Path

import pandas as pd
import pytest

from rd4ad.runs.index import read_index
from rd4ad.web.explorer.screens import complexity
from rd4ad.web.explorer.screens.metric_cells import MVTEC

RESULTS = Path(__file__).resolve().parents[4] / "results"


def runs_of(*runs):
    """Rows of the index: method, category, epochs, variant, value of every metric."""
    return pd.DataFrame(
        [
            {"method": method, "dataset": MVTEC, "category": category, "backbone": "resnet18",
             "size_px": 256, "epochs": epochs, "variant": variant, "image_auroc": value,
             "pixel_auroc": value, "aupro": value}
            for method, category, epochs, variant, value in runs
        ]
    )  # fmt: skip


def rows_of(*methods):
    return [{"method": m, "backbone": "resnet18", "size_px": 256} for m in methods]


RUNS = runs_of(
    ("reverse_distillation", "bottle", 200, "", 0.9),
    ("reverse_distillation", "transistor", 200, "", 0.5),
    ("reverse_distillation", "transistor", 200, "", 0.7),  # another seed
    ("reverse_distillation", "transistor", 50, "", 0.1),
    ("reverse_distillation", "transistor", 200, "per position loss", 0.2),
    ("reverse_distillation", "wood", 200, "", 0.1),
    ("padim", "bottle", None, "", 0.8),
    ("padim", "transistor", None, "", 0.4),
    ("riad", "wood", 300, "", 0.3),
)


def test_quality_is_a_mean_over_the_categories_that_most_methods_share():
    rows = rows_of("reverse_distillation", "padim", "mkd")
    ours, padim, mkd = complexity.with_quality(rows, RUNS)
    means = {name: ours[name] for name in complexity.QUALITIES}
    assert means == {name: pytest.approx(0.75) for name in complexity.QUALITIES}
    assert ours["categories"] == "bottle, transistor"
    assert padim["pro"] == pytest.approx(0.6)
    assert mkd["pro"] is mkd["categories"] is None


def test_a_method_on_another_category_takes_no_metric_from_the_others():
    rows = rows_of("reverse_distillation", "padim", "uninformed_students")
    more = runs_of(("uninformed_students", "carpet", 100, "", 0.3))
    ours, padim, other = complexity.with_quality(rows, pd.concat([RUNS, more]))
    assert ours["categories"] == padim["categories"] == "bottle, transistor"
    assert other["pro"] is None


def test_without_runs_there_is_no_quality_whatever_an_old_record_says():
    (row,) = complexity.with_quality([rows_of("padim")[0] | {"pro": 0.9}], None)
    assert row["pro"] is None
    (row,) = complexity.with_quality([rows_of("mkd")[0] | {"pro": 0.9}], RUNS)
    assert row["pro"] is None


def test_the_repositorys_rows_are_the_means_of_their_own_runs():
    runs = read_index(RESULTS, is_default=True)
    rows = [row for path in complexity.records(RESULTS) for row in complexity.read_record(path)]
    found = complexity.with_quality(complexity.first_of_each(rows), runs)
    (riad,) = (row for row in found if row["method"] == "riad" and row["size_px"] == 128)
    own = runs[(runs["method"] == "riad") & (runs["size_px"] == 128)]
    own = own[own["category"].isin(riad["categories"].split(", "))]
    assert riad["pro"] == pytest.approx(own["aupro"].mean(), abs=1e-12)
