import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing import active_children
from threading import Thread

import pytest
from filelock import FileLock

from rd4ad.cli.parser import main
from rd4ad.config import TrainingConfig
from rd4ad.runs.index import scan_runs
from rd4ad.sweeps.forecast import estimate
from rd4ad.sweeps.grid import Cell
from rd4ad.sweeps.tasks import Study, Task, plan_tasks, run_locally, run_task, shard

CONFIG = TrainingConfig(backbone="compact", size_px=64, epochs=2, batch_size=4, holdout=0)
LONG = replace(CONFIG, epochs=20_000)
GRID = "category: part\nbackbone: compact\nsize_px: 64\nbatch_size: 4\nepochs: 2\nseed: [0, 1]\n"


@pytest.fixture
def study(tiny_data, tmp_path) -> Study:
    return Study(data=tiny_data, results=tmp_path / "results", dataset="parts")


def tasks_of(study, *configs) -> list[Task]:
    return plan_tasks([Cell("part", config) for config in configs], study)


def metrics(study) -> dict[str, list[float]]:
    runs, broken = scan_runs(study.results)
    assert broken == []
    return {run.record["run_id"]: run.metrics["value"].tolist() for run in runs}


def test_a_cell_leaves_the_run_that_was_planned_and_nothing_else(study):
    (task,) = tasks_of(study, CONFIG)
    assert task.state(study) == "new"
    assert run_task(task, study).state == "done"
    assert task.state(study) == "done"
    assert list(metrics(study)) == [task.run_id]
    assert list((study.results / ".sweep").iterdir()) == []
    assert not list(study.results.rglob("*.safetensors"))


def test_a_checkpoint_is_kept_where_that_is_wanted(study, tmp_path):
    keeping = replace(study, checkpoints=tmp_path / "kept")
    (task,) = tasks_of(study, CONFIG)
    assert run_task(task, keeping).state == "done"
    assert (tmp_path / "kept" / f"{task.run_id}.safetensors").is_file()


def test_methods_plan_the_ids_that_they_store(study):
    for method in ("padim", "spade"):
        config = TrainingConfig(method=method, backbone="compact", size_px=64, holdout=0)
        (task,) = tasks_of(study, config)
        outcome = run_task(task, study)
        assert (outcome.state, outcome.reason) == ("done", "")


def test_the_same_cell_is_planned_once(study):
    assert len(tasks_of(study, CONFIG, CONFIG, replace(CONFIG, seed=1))) == 2


def test_a_number_written_otherwise_is_the_same_cell(study):
    one, other = tasks_of(study, CONFIG)[0], tasks_of(study, replace(CONFIG, holdout=0.0))[0]
    assert one.run_id == other.run_id


def test_workers_do_all_and_again_nothing(study):
    tasks = tasks_of(study, *(replace(CONFIG, seed=seed) for seed in range(3)))
    assert sorted(outcome.state for outcome in run_locally(tasks, study, 2)) == ["done"] * 3
    first = metrics(study)
    assert set(first) == {task.run_id for task in tasks}
    assert all(task.is_done(study) for task in tasks)
    assert [outcome.state for outcome in run_locally(tasks, study, 1)] == ["done"] * 3
    assert metrics(study) == first


def test_a_cell_that_fails_keeps_its_reason_and_stops_no_other(study, tiny_data, tmp_path):
    (tmp_path / "data/part").mkdir(parents=True)
    for name in ("train", "test", "ground_truth"):
        (tmp_path / "data/part" / name).symlink_to(tiny_data / "part" / name)
    (tmp_path / "data/lame/train").mkdir(parents=True)
    (tmp_path / "data/lame/train/good").symlink_to(tiny_data / "part/train/good")
    study = replace(study, data=tmp_path / "data")
    tasks = plan_tasks([Cell("lame", CONFIG), Cell("part", CONFIG)], study)
    ended = {outcome.task.cell.category: outcome for outcome in run_locally(tasks, study, 1)}
    assert ended["part"].state == "done"
    assert (ended["lame"].state, "has no test images" in ended["lame"].reason) == ("failed", True)
    assert tasks[0].state(study) == "failed"
    assert "Traceback" in (tasks[0].place(study) / "failed.txt").read_text()


def test_a_cell_that_another_sweep_is_at_is_left_to_it(study):
    (task,) = tasks_of(study, CONFIG)
    place = task.place(study)
    place.mkdir(parents=True)
    with FileLock(place.with_name(f"{place.name}.lock")):
        assert run_task(task, study).state == "elsewhere"
    assert run_task(task, study).state == "done"


def test_a_worker_that_is_killed_takes_its_own_cell_with_it_alone(study):
    tasks = tasks_of(study, LONG, CONFIG)
    ended = []
    thread = Thread(target=lambda: ended.extend(run_locally(tasks, study, 1)))
    thread.start()
    deadline = time.monotonic() + 60
    while not (tasks[0].place(study) / "log.txt").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    for process in active_children():
        os.kill(process.pid, signal.SIGKILL)
    thread.join(timeout=120)
    assert [outcome.state for outcome in ended] == ["failed", "done"]
    assert "was killed" in ended[0].reason
    assert tasks[0].state(study) == "failed"


def test_shards_share_the_work():
    tasks = [Task(str(i), Cell("part", CONFIG)) for i in range(7)]
    parts = [shard(tasks, number, of=3) for number in (1, 2, 3)]
    assert sorted(task.run_id for part in parts for task in part) == [str(i) for i in range(7)]
    assert [len(part) for part in parts] == [3, 2, 2]


def test_an_estimate_grows_with_epochs_and_names_what_is_unknown(study):
    run_task(*tasks_of(study, CONFIG), study)
    small, large = tasks_of(study, replace(CONFIG, seed=1), replace(CONFIG, seed=1, epochs=20))
    one, ten = estimate([small], study), estimate([large], study)
    assert ten.seconds == pytest.approx(10 * one.seconds)
    assert ten.megabytes == one.megabytes > 0
    (other,) = tasks_of(study, replace(CONFIG, size_px=96))
    assert estimate([other], study).n_unknown == 1


@pytest.fixture
def sweep(tiny_data, tmp_path, capsys):
    (tmp_path / "grid.yaml").write_text(GRID)

    def run(*options: str):
        command = ["sweep", str(tmp_path / "grid.yaml"), "--data", str(tiny_data)]
        code = main([*command, "--results", str(tmp_path / "results"), *options])
        return code, *capsys.readouterr()

    return run


def test_the_command_says_what_there_is_to_do_does_it_and_does_it_once(sweep, tmp_path):
    code, text, _ = sweep("--dry-run")
    assert (code, "2 cells: 0 done, 0 failed before" in text) == (0, True)
    assert "2 of which there is none" in text
    assert not (tmp_path / "results").exists()
    code, text, _ = sweep("--shard", "1/2", "--workers", "1")
    assert (code, "1 done, 0 failed, 0 elsewhere" in text) == (0, True)
    code, text, _ = sweep("--workers", "1")
    assert (code, "1 to do" in text, "1 done, 0 failed" in text) == (0, True, True)
    code, text, _ = sweep()
    assert (code, "2 cells: 2 done" in text, "0 to do" in text) == (0, True, True)


def test_what_cannot_be_swept_is_told_before_any_work(sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rd4ad.cli.sweep.MANY_CELLS", 1)
    code, _, errors = sweep()
    assert (code, "say --yes" in errors) == (2, True)
    for options in (("--workers", "0"), ("--threads", "0")):
        assert sweep(*options)[0] == 2
    for options in (("--address", "auto"), ("--gpus", "1"), ("--memory-mib", "0")):
        assert sweep(*options)[0] == 2
    code, _, errors = sweep("--engine", "ray", "--gpus", "1")
    assert (code, "say --device cuda" in errors) == (2, True)
    for options, message in (
        (("--shard", "3/2"), "expected I/N"),
        (("--engine", "dask"), "invalid choice: 'dask'"),
        (("--results", "memory://results"), "gone with the process"),
    ):
        with pytest.raises(SystemExit):
            sweep(*options)
        assert message in capsys.readouterr().err
    (tmp_path / "results").write_text("a file")
    assert sweep("--yes")[0] == 1
    (tmp_path / "grid.yaml").write_text(GRID.replace("part", "prt"))
    code, _, errors = sweep()
    assert (code, "prt" in errors) == (1, True)
    (tmp_path / "grid.yaml").write_text("category: part\nbackbone: resnet81")
    code, _, errors = sweep()
    assert (code, "did you mean 'resnet18'" in errors) == (2, True)


def test_a_driver_that_is_killed_is_followed_by_one_that_ends_its_cells(study, tmp_path):
    (tmp_path / "grid.yaml").write_text(GRID.replace("epochs: 2", "epochs: 40"))
    command = [
        sys.executable, "-m", "rd4ad.cli", "sweep", str(tmp_path / "grid.yaml"), "--workers", "1",
        "--data", str(study.data), "--results", str(study.results),
    ]  # fmt: skip
    driver = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(study.results.glob(".sweep/*/log.txt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    done = subprocess.run(command, capture_output=True, text=True)
    assert "2 done, 0 failed, 0 elsewhere" in done.stdout or "1 done, 0 failed" in done.stdout
    runs, broken = scan_runs(study.results)
    assert (len(runs), broken) == (2, [])
    straight = replace(study, results=tmp_path / "straight")
    configs = [replace(CONFIG, epochs=40, seed=seed) for seed in (0, 1)]
    same = replace(straight, dataset=study.data.name)
    assert {run_task(task, same).state for task in tasks_of(same, *configs)} == {"done"}
    assert metrics(same) == metrics(study)
    assert json.loads((runs[0].path / "run.json").read_text())["config"]["epochs"] == 40
