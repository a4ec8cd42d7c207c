import zipfile
from io import BytesIO

import numpy as np
import pytest

from rd4ad.config import KEPT_SECONDS
from rd4ad.evaluation.beside_run import beside
from rd4ad.evaluation.map_files import MapArchive
from rd4ad.web.explorer.screens import compare


@pytest.fixture(scope="module")
def found(stored_tile):
    archive = MapArchive.open(compare.example(stored_tile))
    return beside(
        stored_tile, archive.read_maps(list(stored_tile.images()["image"])), stored_tile.masks()
    )


def text(value):
    return f"{100 * value:.1f}"


def test_a_link_lasts_as_long_as_an_upload_and_no_longer():
    shelf = compare.Shelf()
    token = shelf.put("one", "x", now=0.0)
    assert len(token) == 32
    assert shelf.find(token, now=KEPT_SECONDS - 1).found == "one"
    assert shelf.find(token, now=KEPT_SECONDS + 1) is None
    assert shelf.find("0" * 32, now=0.0) is None


def test_the_shelf_is_bounded_and_the_oldest_goes_first():
    shelf = compare.Shelf()
    tokens = [shelf.put(n, "x", now=float(n)) for n in range(compare.MOST_KEPT + 3)]
    there = [token for token in tokens if shelf.find(token, now=50.0)]
    assert there == tokens[3:]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("My net", "My net"), ("<script>x</script>", "scriptxscript"), ("", "Your maps"),
     ("a" * 99, "a" * 40), ("[a](javascript:1)", "ajavascript1"), ("`$x$`", "x"),
     ("Méthode 2", "Méthode 2")],
)  # fmt: skip
def test_a_name_keeps_nothing_that_markdown_acts_on(typed, kept):
    assert compare.name_of(typed) == kept


def test_the_example_is_a_zip_file_as_the_page_asks_for(stored_tile):
    with zipfile.ZipFile(BytesIO(compare.example(stored_tile))) as archive:
        names = archive.namelist()
    assert len(names) == stored_tile.record["n_test_images"]
    assert "maps/good/000.npy" in names


def test_tables_say_every_metric_by_its_definition(found):
    table = compare.metrics_table(found, "Mine", "RD4AD", text)
    assert len(table) == len(found.metrics)
    assert set(table["Distinguishable"]) <= {"yes", "no", ""}
    assert table["Definition"].str.contains("limit").sum() == 3
    types = compare.types_table(found, "Mine", "RD4AD", text)
    assert types["Defect type"].tolist() == ["chip", "crack", "glue", "gray stroke"]
    assert "Image AUROC, Mine" in types


def test_the_verdict_names_the_metric_both_values_and_the_interval(found):
    said = compare.verdict(found, "Mine", "RD4AD", text)
    assert said.startswith("**PRO, MVTec at 0.3: ")
    assert "(Mine)" in said
    assert "95% interval of the difference" in said


def test_the_worst_images_are_those_on_the_wrong_side_of_most(found):
    worst = compare.worst(found, 6)
    table = found.images
    assert worst["share"].is_monotonic_decreasing
    for row in worst.to_dict("records"):
        others = table[table["label"] != row["label"]]["score"]
        wrong = others >= row["score"] if row["label"] else others <= row["score"]
        assert row["wrong"] == wrong.sum() > 0
        assert row["others"] == len(others)
    perfect = found.images.assign(score=found.images["label"].astype(float))
    assert compare.worst(type(found)(**{**vars(found), "images": perfect}), 6).empty
    assert np.isfinite(worst["share"]).all()
