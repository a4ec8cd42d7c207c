import numpy as np
import pandas as pd
import pytest

from rd4ad.sweeps.grid import read_grid
from rd4ad.sweeps.missing_cells import grid_of_missing
from rd4ad.web.explorer.screens import ablations
from rd4ad.web.explorer.units import PERCENT


def rows(**values):
    """Rows of the index: the seeds' metrics by "<layers>_<size>"."""
    found = [
        {"layers": key.split("_")[0], "size_px": int(key.split("_")[1]), "seed": seed,
         "aupro": value, "run_id": f"{key}-{seed}", "method": "RD4AD", "epochs": 200.0}
        for key, seeds in values.items()
        for seed, value in enumerate(seeds)
    ]  # fmt: skip
    return pd.DataFrame(found)


def laid(**values):
    return ablations.cells(rows(**{k[1:]: v for k, v in values.items()}), "aupro",
                       ["layers", "size_px"])  # fmt: skip


GRID = {"_1_128": (0.90, 0.91, 0.92), "_2_128": (0.95, 0.96, 0.97), "_2_256": (0.94, 0.96, 0.95)}


def test_a_cell_has_mean_and_deviation_over_its_runs_and_a_missing_one_is_a_dash():
    found = laid(**GRID)
    means = ablations.as_table(found, "mean", "layers", "size_px")
    assert means.loc["2", "128"] == pytest.approx(0.96)
    assert np.isnan(means.loc["1", "256"])
    html = ablations.styled(found, "layers", "size_px", PERCENT.text).to_html()
    assert "90.0" not in html
    assert "91.0 ± 1.0" in html
    assert "–" in html


def test_what_the_seeds_do_not_tell_from_the_best_is_marked_and_what_they_do_is_not():
    said = ablations.marks(laid(**GRID))
    assert said.tolist() == ["", "★", "≈"]


def test_single_runs_tell_nothing():
    said = ablations.marks(laid(_1_128=(0.95,), _2_128=(0.96,)))
    assert said.tolist() == ["", "★"]
    assert ablations.is_distinguishable([0.9], [0.1]) is None


def test_seeds_that_do_not_vary_are_distinguished_by_their_means_alone():
    assert ablations.is_distinguishable([0.9, 0.9], [0.9, 0.9]) is False
    assert ablations.is_distinguishable([0.9, 0.9, 0.9], [0.8, 0.8, 0.80001]) is True


def test_rows_without_the_metric_make_no_cell():
    table = rows(**{"1_128": (0.9, np.nan), "2_128": (np.nan,)})
    found = ablations.cells(table, "aupro", ["layers"])
    assert found[["layers", "n"]].values.tolist() == [["1", 1]]


def test_what_is_held_is_all_that_counts():
    table = pd.concat([rows(**{"1_128": (0.9,)}), rows(**{"1_128": (0.1,)}).assign(epochs=10.0)])
    found = ablations.cells(
        ablations.with_fixed(table, {"epochs": 200.0}), "aupro", ["layers", "size_px"]
    )
    assert found["mean"].tolist() == [0.9]


def test_a_third_setting_parts_the_cells():
    found = ablations.cells(rows(**{k[1:]: v for k, v in GRID.items()}), "aupro",
                        ["layers", "seed", "size_px"])  # fmt: skip
    assert [(name, len(mine)) for name, mine in ablations.facets(found, "size_px")] == [
        ("128", 6), ("256", 3),
    ]  # fmt: skip
    assert [(name, len(mine)) for name, mine in ablations.facets(found, "")] == [("", 9)]


def test_a_cell_leads_to_its_runs():
    found = laid(**GRID)
    assert ablations.runs_behind(found, "2", "256", "layers", "size_px") == [
        "2_256-0", "2_256-1", "2_256-2",
    ]  # fmt: skip
    assert ablations.runs_behind(found, "1", "256", "layers", "size_px") == []


def runs(*settings):
    """Rows of the index: method, backbone, size, seed, epochs."""
    rows = [("nut", *one, "") for one in settings]
    return pd.DataFrame(rows, columns=["category", *ablations.TRAINED, "variant"])


RD = "reverse_distillation", "resnet18"


def test_holes_are_the_trainings_that_nobody_ran():
    stored = runs((*RD, 128, 0, 50.0), (*RD, 128, 1, 50.0), (*RD, 256, 0, 50.0),
                  ("padim", "resnet18", 256, 0, 0.0))  # fmt: skip
    found = [
        (cell.config.method, cell.config.size_px, cell.config.seed, cell.config.epochs)
        for cell in ablations.missing_cells(stored, ["method", "size_px"])
    ]
    assert found == [
        ("padim", 128, 0, 0), ("padim", 128, 1, 0), ("padim", 256, 1, 0),
        ("reverse_distillation", 256, 1, 50),
    ]  # fmt: skip


def test_a_grid_that_fills_the_holes_stands_for_them(tmp_path):
    stored = runs((*RD, 128, 0, 50.0), (*RD, 128, 1, 50.0), (*RD, 256, 0, 25.0))
    holes = ablations.missing_cells(stored, ["size_px", "epochs"])
    (tmp_path / "grid.yaml").write_text(grid_of_missing(holes, "parts"))
    grid = read_grid(tmp_path / "grid.yaml")
    assert (grid.dataset, set(grid.cells)) == ("parts", set(holes))
    assert len(holes) == 5


def test_a_hole_is_filled_in_the_precision_of_the_runs_around_it():
    stored = runs((*RD, 128, 0, 50.0), (*RD, 128, 1, 50.0), (*RD, 256, 0, 50.0))
    found = ablations.missing_cells(stored.assign(variant="bfloat16"), ["size_px"])
    assert [cell.config.precision for cell in found] == ["bfloat16"]
    assert (
        ablations.missing_cells(stored.assign(variant="bfloat16, 0.1 held out"), ["size_px"]) == []
    )


def stored_of(*trainings, layers=("1", "2+3")):
    """Readable rows: method, backbone, size, epochs, variant, and the seeds of each."""
    return pd.DataFrame(
        [
            dict(zip(("method", "backbone", "size_px", "epochs", "variant"), one[:5], strict=True))
            | {"seed": seed, "layers": layer}
            for one in trainings for seed in one[5] for layer in layers
        ]
    )  # fmt: skip


FULL = ("RD4AD", "resnet18", 256, 200.0, "", (0, 1))
SHORT = [("RD4AD", "resnet18", 128, epochs, "bfloat16", (0, 1, 2)) for epochs in (10.0, 30.0)]


def test_the_longest_schedule_is_held_where_epochs_are_not_laid_out():
    found = ablations.default_settings(
        stored_of(FULL, *SHORT), ["epochs", "variant"], ["layers", "size_px"]
    )
    assert (found["epochs"], found["variant"]) == (200.0, "")


def test_what_fills_most_of_the_grid_is_held_where_epochs_are_laid_out():
    rows = stored_of(FULL, *SHORT, ("PaDiM", "resnet50", 256, 0.0, "", (0,)))
    found = ablations.default_settings(
        rows, ["backbone", "size_px", "variant"], ["layers", "epochs"]
    )
    assert (found["size_px"], found["variant"], found["backbone"]) == (128, "bfloat16", "resnet18")


def test_layers_are_not_averaged_over_unless_methods_are_compared():
    rows = stored_of(FULL, *SHORT)
    assert ablations.default_settings(rows, ["epochs"], ["variant", "seed"])["layers"] == "1+2+3"
    assert "layers" not in ablations.default_settings(rows, ["epochs"], ["method", "seed"])


def test_without_rd4ad_nothing_trained_is_held():
    rows = stored_of(("PaDiM", "resnet18", 256, 0.0, "", (0,)))
    assert "size_px" not in ablations.default_settings(rows, ["size_px"], ["layers", "epochs"])


def test_scorings_leave_no_holes_and_neither_does_what_others_computed():
    stored = runs((*RD, 128, 0, 50.0), (*RD, 256, 1, 50.0))
    assert ablations.missing_cells(stored, ["layers", "fusion"]) == []
    assert ablations.missing_cells(stored.assign(method="theirs"), ["size_px"]) == []
    assert ablations.missing_cells(stored.head(0), ["size_px"]) == []
