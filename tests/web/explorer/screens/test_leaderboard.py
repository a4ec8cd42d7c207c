from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rd4ad.runs.index import SCHEMA
from rd4ad.runs.published import OBJECTS, TEXTURES, averages, read_published
from rd4ad.web.explorer.screens import leaderboard, metric_cells
from rd4ad.web.explorer.screens.metric_cells import MVTEC, OURS, PAPER

RESULTS = Path(__file__).resolve().parents[4] / "results"


@pytest.fixture(scope="module")
def published():
    table = read_published(RESULTS)
    return metric_cells.published_cells(table, averages(table))


def run_rows(category: str, value: float, *, seed: int = 0, dataset: str = MVTEC, **more):
    row = {
        "run_id": f"{category}-{seed}", "method": "reverse_distillation", "dataset": dataset,
        "category": category, "backbone": "resnet18", "size_px": 256, "seed": seed,
        "epochs": 200.0, "variant": "", "layers": "1+2+3", "fusion": "sum", "smoothing": 4.0,
        "is_default": True, "pixel_auroc": value,
    }  # fmt: skip
    return row | more


def cells_of(rows) -> pd.DataFrame:
    return metric_cells.measured_cells(pd.DataFrame(rows).reindex(columns=SCHEMA.names), MVTEC)


def test_the_papers_table_2_is_complete(published):
    cells = metric_cells.choose(published, "pixel_auroc", sources=[PAPER])
    table = leaderboard.wide(cells)
    assert list(table.index) == [*TEXTURES, *OBJECTS, "avg_texture", "avg_object", "avg_total"]
    assert not table.isna().any(axis=None)


def test_a_stated_average_that_its_rows_do_not_give_keeps_both_numbers(published):
    cells = metric_cells.choose(published, "pixel_auroc", sources=[PAPER])
    said = leaderboard.disagreements(cells)
    assert len(said) == 1
    assert "96.5" in said[0]
    assert "96.03" in said[0]


def test_best_of_a_row_is_computed_and_not_the_papers_bold(published):
    table = leaderboard.wide(metric_cells.choose(published, "pixel_auroc", sources=[PAPER]))
    best = leaderboard.best(table, dict.fromkeys(table.columns, ""))
    assert list(best.columns[best.loc["zipper"]]) == ["○ CutPaste 256"]  # the bold is on PaDiM
    assert list(best.columns[best.loc["transistor"]]) == ["○ RD4AD WR50 128"]


def test_ties_at_the_printed_precision_are_all_best():
    table = pd.DataFrame({"a": [0.9114], "b": [0.9111], "c": [0.9]}, index=["wood"])
    best = leaderboard.best(table, dict.fromkeys("abc", ""))
    assert best.loc["wood"].tolist() == [True, True, False]


def test_two_definitions_do_not_compete():
    table = pd.DataFrame({"a": [0.9], "b": [0.8], "c": [0.7], "d": [0.6]}, index=["wood"])
    best = leaderboard.best(table, {"a": "x", "b": "x", "c": "y", "d": "y"})
    assert best.loc["wood"].tolist() == [True, False, True, False]


def test_a_lone_column_is_not_called_the_best():
    table = pd.DataFrame({"a": [0.9]}, index=["wood"])
    assert not leaderboard.best(table, {"a": ""}).any(axis=None)


def test_seeds_of_one_setting_make_one_cell():
    cell = cells_of([run_rows("tile", 0.9, seed=0), run_rows("tile", 0.94, seed=1)]).iloc[0]
    assert cell["value"] == pytest.approx(0.92)
    assert cell["runs"] == ("tile-0", "tile-1")


def test_another_setting_is_another_column():
    rows = [
        run_rows("tile", 0.9),
        run_rows("tile", 0.8, layers="3"),
        run_rows("wood", 0.7, epochs=5),
    ]
    cells = cells_of(rows)
    assert sorted(metric_cells.labels(cells)) == [
        "● RD4AD R18 256", "● RD4AD R18 256 (5 epochs)", "● RD4AD R18 256 (layers 3, sum)",
    ]  # fmt: skip


def test_an_average_over_measured_categories_needs_all_of_them():
    cells = cells_of([run_rows(name, 0.9) for name in TEXTURES])
    averaged = cells[cells["category"].isin(metric_cells.AVERAGES)]
    assert averaged["category"].tolist() == ["avg_texture"]


def test_measured_and_reported_metrics_are_never_in_one_average(published):
    both = pd.concat([published, cells_of([run_rows(name, 0.5) for name in TEXTURES[:4]])])
    table = leaderboard.wide(metric_cells.choose(both, "pixel_auroc", sources=[PAPER, OURS]))
    assert np.isnan(table.loc["avg_texture", "● RD4AD R18 256"])
    assert table.loc["avg_texture", "○ RD4AD WR50 256"] == pytest.approx(0.977)


def test_pro_names_its_definition_in_the_column():
    cells = cells_of([run_rows("tile", 0.7, **{"aupro": 0.9, "aupro_per_image": 0.8})])
    cells = cells[cells["metric"] == "pro"]
    assert list(leaderboard.wide(cells).columns) == [
        "● RD4AD R18 256 · MVTec, limit 0.3", "● RD4AD R18 256 · released code",
    ]  # fmt: skip


def test_columns_of_all_sources_are_distinguished(published):
    for metric in metric_cells.METRICS:
        cells = metric_cells.choose(published, metric, sources=metric_cells.SOURCES)
        assert (
            not cells.assign(label=metric_cells.labels(cells))
            .duplicated(["label", "category"])
            .any()
        )


def test_differences_are_those_of_the_printed_metrics():
    table = pd.DataFrame({"a": [0.9004, 0.5], "b": [0.9, 0.6]}, index=["wood", "tile"])
    compared = leaderboard.delta(table, "a", "b")
    assert compared["outcome"].tolist() == ["tie", "loss"]
    assert "0 win, 1 tie, 1 loss over 2" in leaderboard.outcome(compared, "a", "b")


def test_a_column_compared_with_itself_ties():
    table = pd.DataFrame({"a": [0.9]}, index=["wood"])
    assert leaderboard.delta(table, "a", "a")["outcome"].tolist() == ["tie"]


def test_a_setting_names_the_sources_that_have_it_too(published):
    cells = published[published["metric"] == "pixel_auroc"]
    assert leaderboard.sources_left_out(cells, ["multi-class"], [PAPER, OURS]) == [
        "Other papers",
        "Third parties",
    ]
    assert leaderboard.sources_left_out(cells, ["multi-class"], metric_cells.SOURCES) == []
    assert leaderboard.sources_left_out(cells, [], []) == []


def test_sizes_are_those_that_occur(published):
    assert metric_cells.sizes_of(published)[:2] == ["128", "256"]
    assert metric_cells.sizes_of(published)[-1] == "not stated"


def test_a_method_without_a_backbone_names_none():
    cells = cells_of([run_rows("tile", 0.9, method="riad", backbone="none", epochs=300.0,
                               layers="1")])  # fmt: skip
    assert list(leaderboard.wide(cells[cells["metric"] == "pixel_auroc"]).columns) == ["● RIAD 256"]


def test_the_main_setting_of_a_backbone_is_the_one_measured_on_most_categories():
    rows = [run_rows(name, 0.9) for name in ("tile", "wood")]
    rows += [run_rows(name, 0.8, epochs=10.0) for name in ("tile", "wood", "grid")]
    rows += [run_rows("tile", 0.7, epochs=5.0)]
    shown = metric_cells.main_settings(cells_of(rows))
    assert set(shown["setting"]) == {"10 epochs"}
    assert set(metric_cells.main_settings(cells_of(rows[:2] + rows[-1:]))["setting"]) == {
        "one-class"
    }


def test_an_address_that_names_a_hidden_column_asks_for_every_setting():
    rows = [run_rows("tile", 0.9), run_rows("tile", 0.8, epochs=10.0)]
    cells = cells_of(rows)
    cells = cells[cells["metric"] == "pixel_auroc"]
    hidden = "● RD4AD R18 256 (10 epochs)"
    for query in ({"at": f"tile|{hidden}"}, {"first": hidden}):
        assert leaderboard.asks_for_every_setting(cells, query)
    assert not leaderboard.asks_for_every_setting(cells, {"at": "tile|● RD4AD R18 256"})


def test_rd4ad_comes_first_reported_before_reproduced_then_the_best(published):
    mine = cells_of([run_rows("bottle", 0.9), run_rows("bottle", 0.99, method="padim")])
    both = pd.concat([published[published["by"] == PAPER], mine], ignore_index=True)
    cells = metric_cells.choose(both, "pixel_auroc", sources=[PAPER, OURS])
    table = leaderboard.wide(cells)
    assert list(table.columns[:3]) == [
        "○ RD4AD WR50 256", "● RD4AD R18 256", "○ RD4AD WR50 128",
    ]  # fmt: skip
    others = [name for name in table.columns[3:] if leaderboard.coverage(table)[name] == 15]
    means = table.loc["avg_total", others].tolist()
    assert means == sorted(means, reverse=True)
    assert leaderboard.coverage(table)["● RD4AD R18 256"] == 1
