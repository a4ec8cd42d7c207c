from pathlib import Path

import pandas as pd
import pytest

from rd4ad.runs.published import GROUPS, KEYS, OBJECTS, TEXTURES, average, averages, read_published

RESULTS = Path(__file__).resolve().parents[2] / "results"
METRICS = ("image_auroc", "pixel_auroc", "pro")


@pytest.fixture(scope="module")
def table():
    return read_published(RESULTS)


@pytest.fixture(scope="module")
def paper(table):
    return table[table["by"] == "RD4AD paper"]


def test_every_metric_is_a_fraction_with_a_source_and_a_kind(table):
    assert table["value"].between(0, 1).all()
    assert table["source"].str.len().min() > 10
    assert table["by"].str.len().min() > 5
    assert set(table["kind"]) == {"reported", "third-party"}
    assert set(table["metric"]) == set(METRICS)
    assert not table.duplicated([*KEYS, "category"]).any()


def test_no_pro_metric_goes_without_the_name_of_its_definition(table):
    assert (table.loc[table["metric"] == "pro", "definition"] != "").all()


def test_every_category_is_in_its_group(table):
    for group, names in (("texture", TEXTURES), ("object", OBJECTS)):
        cells = table[~table["category"].isin(GROUPS) & (table["group"] == group)]
        assert set(cells["category"]) == set(names)


@pytest.mark.parametrize(
    "path", sorted((RESULTS / "published").glob("*.csv")), ids=lambda p: p.name
)
def test_every_row_of_every_table_has_its_kind_and_its_source(path):
    rows = pd.read_csv(path, keep_default_na=False)
    assert rows["kind"].isin(["reported", "third-party"]).all()
    assert (rows["source"].str.len() > 10).all()
    for column in {"value", *METRICS} & set(rows):
        assert pd.to_numeric(rows[column]).between(0, 1).all()


@pytest.mark.shared
def test_the_paper_s_tables_are_transcribed_whole(paper, shared_dir):
    assert_same_metrics(pd.read_csv(shared_dir / "facts/table2.csv"), paper, ["pixel_auroc", "pro"])
    facts = pd.read_csv(shared_dir / "facts/rd4ad_table1.csv")
    assert_same_metrics(facts, paper, ["image_auroc"])


@pytest.mark.shared
def test_the_later_methods_are_transcribed_whole(table, shared_dir):
    facts = pd.read_csv(shared_dir / "facts/later_methods.csv")
    ours = facts["note"] == "computed mean, not stated"
    again = facts["method"].str.startswith("RD4AD (paper column")  # is Tables 1 and 2
    later = table[table["by"] != "RD4AD paper"]
    assert_same_metrics(facts[~ours & ~again], later, list(METRICS))
    first = table[(table["by"] == "RD4AD paper") & (table["method"] == "RD4AD")]
    first = first[first["size_px"] == 256]
    assert_same_metrics(facts[again], first, ["image_auroc"])


def assert_same_metrics(facts, found, metrics):
    """Assert that per metric and category the same values are there, in whatever order."""
    for metric in metrics:
        known = facts[facts[metric].notna()]
        expected = sorted(zip(known["category"], known[metric].round(1), strict=True))
        cells = found[found["metric"] == metric]
        percent = (cells["value"] * 100).round(1)
        assert sorted(zip(cells["category"], percent, strict=True)) == expected


def test_two_stated_averages_differ_from_their_rows(table):
    differing = averages(table).query("not agrees")
    assert differing[["method", "by", "category"]].to_numpy().tolist() == [
        ["SPADE", "RD4AD paper", "avg_total"],
        ["RD4AD", "anomalib", "avg_total"],
    ]
    assert differing["computed"].tolist() == pytest.approx([0.96027, 0.97353], abs=1e-5)
    assert differing["stated"].tolist() == [0.965, 0.969]


def test_an_average_of_nine_categories_of_fifteen_is_refused_with_the_reason(table):
    rows = averages(table[table["by"] == "renmada (Paddle)"])
    assert rows["computed"].isna().all()
    reason = rows.query("category == 'avg_total' and metric == 'pro'")["reason"].item()
    assert reason == "an average needs every category once; known: 9 of 15"


def cells(**changes):
    names = {"category": ["tile", "wood"], "value": [0.9, 0.8], "kind": ["reported"] * 2}
    return pd.DataFrame(names | changes)


def test_an_average_with_a_missing_a_foreign_or_a_double_category_is_refused():
    assert average(cells(), {"tile", "wood"}) == pytest.approx(0.85)
    with pytest.raises(ValueError, match="known: 2 of 3"):
        average(cells(), {"tile", "wood", "grid"})
    with pytest.raises(ValueError, match="known: 1 of 2"):
        average(cells(value=[0.9, None]), {"tile", "wood"})
    with pytest.raises(ValueError, match="every category once"):
        average(cells(category=["tile", "tile"]), {"tile", "wood"})
    with pytest.raises(ValueError, match="known: 1 of 1"):
        average(cells(), {"tile"})


def test_an_average_of_reported_and_measured_metrics_is_refused():
    with pytest.raises(ValueError, match="never averaged: reported, reproduced"):
        average(cells(kind=["reported", "reproduced"]), {"tile", "wood"})


def test_a_checkout_without_the_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no published metrics at"):
        read_published(tmp_path)


def test_a_table_that_lacks_a_column_is_named(tmp_path):
    (tmp_path / "published").mkdir()
    cells().to_csv(tmp_path / "published/mvtec.csv", index=False)
    with pytest.raises(ValueError, match=r"mvtec\.csv lacks the columns method"):
        read_published(tmp_path)
