from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rd4ad.cli.parser import main
from rd4ad.config import TrainingConfig
from rd4ad.sweeps.grid import Cell, read_grid
from rd4ad.sweeps.missing_cells import completeness, grid_of_missing, matches_cell, matrix
from rd4ad.sweeps.tasks import Study, plan_tasks, run_task

CONFIG = TrainingConfig(backbone="compact", size_px=64, epochs=1, batch_size=4, holdout=0)
GRID = "category: part\nbackbone: compact\nsize_px: 64\nbatch_size: 4\nepochs: 1\nseed: [0, 1]\n"
MIXED = (
    "dataset: parts\ncategory: [nut, tile]\nmethod: [reverse_distillation, padim, riad]\n"
    "backbone: [resnet18, compact]\nsize_px: [128, 256]\nepochs: [10, 300]\nseed: [0, 7]\n"
    "layers: [1+2+3, 2+3]\n"
)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    path = tmp_path_factory.mktemp("grid") / "grid.yaml"
    path.write_text(MIXED)
    return path


def test_a_run_answers_the_cell_that_left_it_and_no_other(tiny_data, tmp_path):
    study = Study(data=tiny_data, results=tmp_path, dataset="parts")
    for method in ("reverse_distillation", "padim"):
        shared = {"backbone": "compact", "size_px": 64, "holdout": 0}
        config = CONFIG if method != "padim" else TrainingConfig(method=method, **shared)
        (task,) = plan_tasks([Cell("part", config)], study)
        assert run_task(task, study).state == "done"
        record = scan_one(study, task.run_id)
        assert matches_cell(record, task.cell)
        for other in ({"seed": 1}, {"layers": (2, 3)}, {"holdout": 0.1}, {"sigma_px": 2.0}):
            assert not matches_cell(record, replace(task.cell, config=replace(config, **other)))
        for cut in ({"stop": {"patience": 3}}, {"skipped": ["000.png is damaged"]}):
            assert not matches_cell({**record, "config": record["config"] | cut}, task.cell)


def scan_one(study, run_id):
    from rd4ad.runs.store import read_run

    return read_run(study.folder / "runs" / run_id).record


def test_the_table_counts_seeds_together_and_shows_what_varies():
    cells = [
        Cell(category, replace(CONFIG, size_px=size_px, seed=seed))
        for category in ("nut", "tile") for size_px in (64, 96) for seed in (0, 1)
    ]  # fmt: skip
    there = cells[0]
    record = {
        "category": "nut", "method": CONFIG.method, "config": asdict(there.config),
        "scoring": asdict(there.config.scoring()) | {"layers": "1+2+3"},
    }  # fmt: skip
    table = completeness(cells, [record])
    assert table.columns.tolist() == ["category", "size_px", "seed", "is_there"]
    assert table.is_there.tolist() == [True] + [False] * 7
    assert matrix(table).loc["nut"].tolist() == ["1/2", "0/2"]
    assert matrix(completeness(cells[:2], [record])).loc["nut"].tolist() == ["1/2"]


@given(data=st.data())
def test_the_grid_of_the_holes_stands_for_exactly_these(mixed, data):
    grid = read_grid(mixed)
    chosen = data.draw(st.sets(st.sampled_from(range(len(grid.cells))), min_size=1))
    holes = [grid.cells[number] for number in sorted(chosen)]
    path = mixed.with_name("holes.yaml")
    path.write_text(grid_of_missing(holes, grid.dataset))
    read = read_grid(path)
    assert (set(read.cells), read.dataset) == (set(holes), "parts")


def test_a_whole_grid_of_one_method_is_one_document():
    cells = [Cell(c, replace(CONFIG, seed=s)) for c in ("nut", "tile") for s in (0, 1)]
    assert "---" not in grid_of_missing(cells)
    assert grid_of_missing([]) == ""


def test_the_command_shows_the_holes_and_its_grid_fills_them(tiny_data, tmp_path, capsys):
    study = Study(data=tiny_data, results=tmp_path / "results", dataset="parts")
    (task,) = plan_tasks([Cell("part", CONFIG)], study)
    assert run_task(task, study).state == "done"
    (tmp_path / "grid.yaml").write_text(GRID)
    command = ["results", "missing", str(tmp_path / "grid.yaml"), "--results", str(study.results)]
    assert main(command) == 0
    assert "1 of 2 cells missing, of parts" in capsys.readouterr().out
    assert main([*command, "--yaml"]) == 0
    (tmp_path / "holes.yaml").write_text(capsys.readouterr().out)
    holes = read_grid(tmp_path / "holes.yaml")
    assert [cell.config.seed for cell in holes.cells] == [1]
    assert main([*command, "--dataset", "others"]) == 0
    assert "2 of 2 cells missing, of others" in capsys.readouterr().out
    (tmp_path / "grid.yaml").write_text("category: [")
    assert main(command) == 2
    assert main([*command[:3], "--results", str(tmp_path / "none")]) in (1, 2)
