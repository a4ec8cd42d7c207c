"""Places behind a URL; `local://` is one that fsspec serves and other processes see."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rd4ad.cli.parser import main
from rd4ad.config import TrainingConfig
from rd4ad.data.object_store import check_writable, fetched, has_run, place, publish, scratch
from rd4ad.runs.index import scan_runs
from rd4ad.sweeps.grid import Cell
from rd4ad.sweeps.tasks import Study, plan_tasks, run_locally, run_task

CONFIG = TrainingConfig(backbone="compact", size_px=64, epochs=2, batch_size=4, holdout=0)


@pytest.fixture(autouse=True)
def own_scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("RD4AD_SCRATCH", str(tmp_path / "scratch"))


@pytest.fixture
def store(tmp_path) -> str:
    return f"local://{tmp_path}/store"


@pytest.fixture
def study(tiny_data, store) -> Study:
    return Study(data=tiny_data, results=store, dataset="parts")


def folder_of(store: str) -> Path:
    return Path(store.removeprefix("local://"))


def test_a_file_url_is_a_path_and_memory_is_no_place():
    assert place("file:///shared/results") == Path("/shared/results")
    assert place("C:results") == Path("C:results")
    with pytest.raises(ValueError, match="gone with the process"):
        place("memory://results")


def test_a_cell_leaves_its_whole_run_behind_the_url_and_nothing_on_its_node(study, store):
    tasks = plan_tasks([Cell("part", replace(CONFIG, seed=seed)) for seed in (0, 1)], study)
    assert [task.state(study) for task in tasks] == ["new", "new"]
    assert [outcome.state for outcome in run_locally(tasks, study, 2)] == ["done", "done"]
    assert [task.state(study) for task in tasks] == ["done", "done"]
    runs, broken = scan_runs(folder_of(store))
    assert (len(runs), broken) == (2, [])
    for run in runs:
        run.check()
    assert [path for path in study.folder.rglob("*") if path.is_file()] == []
    assert [outcome.state for outcome in run_locally(tasks, study, 1)] == ["done", "done"]


def test_half_an_upload_is_no_run_and_is_made_whole_without_measuring_again(study, store):
    (task,) = plan_tasks([Cell("part", CONFIG)], study)
    half = folder_of(store) / "runs" / task.run_id
    (half / "metrics.csv").mkdir(parents=True)  # so that a file of this name cannot be uploaded
    outcome = run_task(task, study)
    assert (outcome.state, "cannot write local://" in outcome.reason) == ("failed", True)
    assert (half / "curves.parquet").is_file()
    assert not has_run(store, task.run_id)
    assert task.state(study) == "failed"
    measured = (task.run(study) / "run.json").read_bytes()
    (half / "metrics.csv").rmdir()
    assert run_task(task, study).state == "done"
    assert scan_runs(folder_of(store))[1] == []
    assert (half / "run.json").read_bytes() == measured


def test_images_behind_a_url_are_fetched_once(tiny_data, study):
    away = replace(study, data=f"local://{tiny_data}")
    (task,) = plan_tasks([Cell("part", CONFIG)], away)
    (same,) = plan_tasks([Cell("part", CONFIG)], study)
    assert task.run_id == same.run_id
    assert run_task(task, away).state == "done"
    here = fetched(away.data, "part")
    assert here == scratch(away.data) / "data"
    names = [path.relative_to(tiny_data) for path in tiny_data.rglob("*.png")]
    assert sorted(names) == sorted(path.relative_to(here) for path in here.rglob("*.png"))
    (here / "part/test/good/000.png").unlink()
    assert not (fetched(away.data, "part") / "part/test/good/000.png").exists()
    with pytest.raises(FileNotFoundError, match="cannot read local://"):
        fetched(away.data, "prt")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nope://bucket/results", "nope://bucket/results cannot be used: .*nope"),
        ("gs://bucket/results", "gs://bucket/results cannot be used: .*gcsfs"),
        ("local:///sys/results", "cannot write local:///sys/results: PermissionError"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_any_work(
    url, message, tiny_data, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises((ValueError, OSError), match=message):
        check_writable(url)
    (tmp_path / "grid.yaml").write_text("category: part\nbackbone: compact\n")
    command = ["sweep", str(tmp_path / "grid.yaml"), "--data", str(tiny_data), "--results", url]
    assert main(command) == 1
    assert url in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_told_before_any_work(tiny_data, tmp_path, capsys):
    (tmp_path / "grid.yaml").write_text("category: part\nbackbone: compact\n")
    command = ["sweep", str(tmp_path / "grid.yaml"), "--data", str(tiny_data)]
    assert main([*command, "--results", "/sys/rd4ad"]) == 1
    assert "/sys/rd4ad" in capsys.readouterr().err


def test_a_run_can_be_published_again(study, store, part_results):
    (run,) = [path for path in (part_results / "runs").iterdir() if path.name[0] != "."]
    for _ in range(2):
        publish(run, store)
        assert has_run(store, run.name)
    assert not has_run(store, "another")


def test_s3_takes_runs_and_gives_images(tiny_data, monkeypatch):
    s3fs = pytest.importorskip("s3fs", reason="needs s3fs and moto[server], which are not pinned")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "none")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        store = s3fs.S3FileSystem()
        store.mkdir("bucket")
        store.put(f"{tiny_data}/", "bucket/data/", recursive=True)
        study = Study(data="s3://bucket/data", results="s3://bucket/results", dataset="parts")
        (task,) = plan_tasks([Cell("part", CONFIG)], study)
        assert task.state(study) == "new"
        assert run_task(task, study).state == "done"
        assert task.state(study) == "done"
        with pytest.raises(FileNotFoundError, match="cannot write s3://none/results"):
            check_writable("s3://none/results")
        assert not store.exists("none")
    finally:
        server.stop()
