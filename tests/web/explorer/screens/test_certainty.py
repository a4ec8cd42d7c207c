import numpy as np
import pandas as pd
import pytest

from rd4ad.runs.comparison import NOT_STORED, Resampled, seed_spread
from rd4ad.runs.index import SCHEMA, metric_rows, read_index
from rd4ad.runs.published import GROUPS
from rd4ad.runs.store import read_run
from rd4ad.web.explorer import tables
from rd4ad.web.explorer.screens import certainty, leaderboard, metric_cells
from rd4ad.web.explorer.screens.metric_cells import MVTEC
from rd4ad.web.explorer.units import PERCENT


def run_rows(category, value, *, seed=0, metric="image_auroc", **more):
    row = {
        "run_id": f"{category}-{more.get('backbone', 'resnet18')}-{seed}",
        "method": "reverse_distillation", "dataset": MVTEC, "category": category,
        "backbone": "resnet18", "size_px": 256, "seed": seed, "epochs": 200.0, "variant": "",
        "layers": "1+2+3", "fusion": "sum", "smoothing": 4.0, "is_default": True, metric: value,
    }  # fmt: skip
    return row | more


def index_of(rows) -> pd.DataFrame:
    return pd.DataFrame(rows).reindex(columns=SCHEMA.names)


def resampled(run_ids):
    """Runs with a spread of two percent; R50 is five percent better on tile and none on wood."""
    category, backbone, _ = run_ids[0].split("-")
    if category == "grid":
        raise ValueError("the run is damaged")
    value = 0.9 + 0.05 * (category == "tile" and backbone == "resnet50")
    wobble = np.random.default_rng(0 if category == "tile" else len(backbone)).normal(0, 0.02, 200)
    images = (MVTEC, category, "test/good/000.png")
    return Resampled(images, {"image_auroc": value}, {"image_auroc": value + wobble}, {})


@pytest.fixture
def cells():
    rows = [
        run_rows(category, 0.9, backbone=backbone)
        for category in ("tile", "wood", "grid")
        for backbone in ("resnet18", "resnet50")
    ]
    return metric_cells.measured_cells(index_of(rows), MVTEC)


def test_differences_of_two_columns_are_told_from_chance_where_they_can_be(cells):
    told = certainty.column_differences(cells, "● RD4AD R50 256", "● RD4AD R18 256", resampled)
    assert told["tile"].is_distinguishable
    assert not told["wood"].is_distinguishable
    assert told["grid"].reason == "the run is damaged"
    said = certainty.verdict(told)
    assert "1 of 2 differences (95%)." in said
    assert "Not tested for 1 categories: the run is damaged" in said


def test_a_printed_metric_has_no_scores_to_tell_by(cells):
    printed = cells[cells["backbone"] == "resnet18"]
    printed = printed.assign(kind="reported", by=metric_cells.PAPER, runs=[()] * len(printed))
    both = pd.concat([cells, printed], ignore_index=True)
    first, second = "● RD4AD R18 256", "○ RD4AD R18 256"
    told = certainty.column_differences(both, first, second, resampled)
    assert {one.reason for one in told.values()} == {
        "the source reports no scores of single images"
    }
    assert "Not tested for 3 categories" in certainty.verdict(told)


def test_averages_are_left_to_their_categories():
    rows = [run_rows(name, 0.9) for name in GROUPS["avg_texture"]]
    cells = metric_cells.measured_cells(index_of(rows), MVTEC)
    assert "avg_texture" in set(cells["category"])
    told = certainty.column_differences(cells, "● RD4AD R18 256", "● RD4AD R18 256", resampled)
    assert "avg_texture" not in told


def test_two_definitions_of_pro_are_not_compared():
    rows = [
        run_rows("tile", 0.9, metric="aupro"),
        run_rows("tile", 0.8, metric="aupro_per_image"),
    ]
    cells = metric_cells.measured_cells(index_of(rows), MVTEC)
    told = certainty.column_differences(cells, *leaderboard.wide(cells).columns, resampled)
    assert told["tile"].reason == "the columns use different definitions"


def test_the_table_of_differences_shows_intervals_where_there_are_some(cells):
    first, second = "● RD4AD R50 256", "● RD4AD R18 256"
    compared = leaderboard.delta(leaderboard.wide(cells), first, second)
    told = certainty.column_differences(cells, first, second, resampled)
    shown = tables.styled_delta(compared, PERCENT.text, told).data
    assert shown["distinguishable"].to_dict() == {"Tile": "yes", "Wood": "no", "Grid": "–"}
    assert shown.loc["Tile", "95% interval"] == "[+5.0, +5.0]"
    without = tables.styled_delta(compared, PERCENT.text, {}).data
    assert "distinguishable" not in without


def test_a_cell_tells_mean_and_deviation_over_seeds():
    rows = [run_rows("tile", value, seed=seed) for seed, value in enumerate((0.90, 0.94))]
    cell = metric_cells.measured_cells(index_of(rows), MVTEC).iloc[0]
    assert tables.card(cell, PERCENT.text)["Mean of"] == "2 seeds, standard deviation 2.8"
    same = index_of(rows).assign(seed=0)
    cell = metric_cells.measured_cells(same, MVTEC).iloc[0]
    assert tables.card(cell, PERCENT.text)["Mean of"] == "2 runs"


def test_seeds_of_one_setting_are_one_row_with_mean_and_deviation():
    rows = [
        run_rows("tile", value, seed=seed, aupro=value) for seed, value in enumerate((0.90, 0.94))
    ]
    other = [run_rows("tile", 0.5, backbone="resnet50")]
    table = certainty.seeds_table(seed_spread(metric_rows(index_of(rows + other))), PERCENT.text)
    assert len(table) == 1
    assert table["Seeds"].item() == 2
    assert table["Image AUROC"].item() == "92.0 ± 2.8"
    assert table["PRO, MVTec at 0.3"].item() == "92.0 ± 2.8"
    assert certainty.seeds_table(seed_spread(metric_rows(index_of(other))), PERCENT.text).empty


def test_a_run_shows_the_interval_of_the_metric_that_was_clicked(part_results):
    run = read_run(next((part_results / "runs").iterdir()))
    cell = pd.Series({"metric": "pro", "definition": "released code"})
    own = run.metrics[run.metrics["is_default"]].set_index("metric").loc["aupro_per_image"]
    said = certainty.metric_card(run, cell, PERCENT.text)["Metric"]
    ends = [PERCENT.text(own[name]) for name in ("value", "ci_low", "ci_high")]
    assert said == "{} [{}, {}], 95% interval over test images".format(*ends)
    bare = run.metrics.assign(ci_low=np.nan, ci_high=np.nan)
    old = type(run)(run.path, run.record, bare)
    assert NOT_STORED in certainty.metric_card(old, cell, PERCENT.text)["Metric"]


def test_measured_runs_are_shown_with_their_intervals(part_results):
    runs = read_index(part_results, is_default=True)
    row = runs.iloc[0]
    ends = [PERCENT.text(row[f"pixel_ap{end}"]) for end in ("", "_ci_low", "_ci_high")]
    assert "{} [{}, {}]".format(*ends) in tables.runs_in_words(runs, PERCENT.text).to_html()
    bare = runs.assign(**dict.fromkeys((name for name in runs if "_ci_" in name), np.nan))
    assert "[" not in tables.runs_in_words(bare, PERCENT.text).to_html().split("<tbody>")[1]
