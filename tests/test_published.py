from pathlib import Path

import pandas as pd
import pytest

from rd4ad.published import average, averages, read_published

RESULTS = Path(__file__).resolve().parents[1] / "results"


@pytest.fixture(scope="module")
def table():
    return read_published(RESULTS)


def test_every_figure_is_a_fraction_with_a_source_and_a_kind(table):
    assert table.value.between(0.5, 1).all()
    assert table.source.str.len().min() > 10
    assert set(table.kind) <= {"reported", "third-party"}
    assert not table.duplicated(["method", "size_px", "category", "metric"]).any()


@pytest.mark.shared
def test_the_table_is_the_papers(table, shared_dir):
    facts = pd.read_csv(shared_dir / "facts/table2.csv")
    for column, metric in (("pixel_auroc", "pixel_auroc"), ("pro", "pro")):
        expected = facts[facts[column].notna()]
        found = table[table.metric == metric]
        assert len(found) == len(expected)
        percent = (found.value * 100).round(1).tolist()
        assert percent == expected[column].round(1).tolist()


def test_one_stated_average_alone_differs_from_its_rows(table):
    differing = averages(table).query("not agrees")
    assert differing[["method", "category"]].values.tolist() == [["SPADE", "avg_total"]]
    assert differing.computed.item() == pytest.approx(0.96027, abs=1e-5)
    assert differing.stated.item() == 0.965


def test_an_average_with_a_missing_cell_is_refused():
    rows = pd.DataFrame({"value": [0.9, 0.8], "kind": ["reported"] * 2})
    assert average(rows, 2) == pytest.approx(0.85)
    with pytest.raises(ValueError, match="over 3 categories needs them all; got 2"):
        average(rows, 3)
    with pytest.raises(ValueError, match="needs them all"):
        average(rows.assign(value=[0.9, None]), 2)


def test_an_average_of_reported_and_measured_figures_is_refused():
    rows = pd.DataFrame({"value": [0.9, 0.8], "kind": ["reported", "reproduced"]})
    with pytest.raises(ValueError, match="never averaged: reported, reproduced"):
        average(rows, 2)


def test_a_checkout_without_the_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no published figures at"):
        read_published(tmp_path)
