"""On a real Ray cluster: a head that runs no cells, and two nodes of one CPU, on this machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from rd4ad.cli.parser import main
from rd4ad.config import TrainingConfig
from rd4ad.runs.index import scan_runs
from rd4ad.sweeps import ray_engine
from rd4ad.sweeps.grid import Cell
from rd4ad.sweeps.ray_engine import ClusterError, Demand, on_ray
from rd4ad.sweeps.tasks import Study, Task, plan_tasks, run_locally

ray = pytest.importorskip("ray", reason="Ray is an optional extra: pip install '.[cluster]'")

CONFIG = TrainingConfig(backbone="compact", size_px=64, epochs=40, batch_size=4, holdout=0)
GRID = (
    "category: part\nbackbone: compact\nsize_px: 64\nbatch_size: 4\nepochs: 40\nseed: [0, 1, 2]\n"
)
NICENESS = "RAY_worker_niceness"
NODE = {"object_store_memory": 80 * 2**20, "memory": 4 * 2**30}
DEMAND = Demand(memory_mib=1000)


@pytest.fixture(scope="module")
def nodes():
    from ray.cluster_utils import Cluster

    os.environ[NICENESS] = "0"  # 15 by default: starved beside anything else
    head = {**NODE, "num_cpus": 0, "include_dashboard": False}
    started = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        started.add_node(num_cpus=1, **NODE)
    started.wait_for_nodes(timeout=60)
    yield started
    started.shutdown()
    del os.environ[NICENESS]


@pytest.fixture
def study(tiny_data, tmp_path) -> Study:
    return Study(data=tiny_data, results=tmp_path / "results", dataset=tiny_data.name)


@pytest.fixture(scope="module")
def expected(tiny_data, tmp_path_factory) -> dict[str, list[float]]:
    """The metrics of three cells, measured one after another without a cluster."""
    results = tmp_path_factory.mktemp("straight")
    study = Study(data=tiny_data, results=results, dataset=tiny_data.name)
    assert [ended.state for ended in run_locally(tasks_of(study), study, 1)] == ["done"] * 3
    return metrics(study)


def tasks_of(study: Study) -> list[Task]:
    return plan_tasks([Cell("part", replace(CONFIG, seed=seed)) for seed in (0, 1, 2)], study)


def metrics(study: Study) -> dict[str, list[float]]:
    runs, broken = scan_runs(study.folder)
    assert broken == []
    return {run.record["run_id"]: run.metrics["value"].tolist() for run in runs}


def soon(find: Callable[[], object], seconds: float = 120) -> object:
    """Return what `find` finds, or fail when it has found nothing in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := find():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} seconds")


def at_work(study: Study) -> int | None:
    """Return the process that writes a cell's log, None where none does."""
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            name = Path(os.readlink(handle))
        except OSError:
            continue
        if name.name == "log.txt" and name.is_relative_to(study.folder):
            return int(handle.parts[2])
    return None


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def swept(study: Study, nodes, disaster: Callable[[], None] = lambda: None) -> list[str]:
    """Return how the cells ended while a disaster befell the cluster."""
    thread = Thread(target=disaster)
    thread.start()
    ended = list(on_ray(tasks_of(study), study, nodes.address, DEMAND))
    thread.join()
    assert sorted(outcome.task.run_id for outcome in ended) == sorted(metrics(study))
    return [outcome.state for outcome in ended]


@pytest.mark.slow
def test_all_cells_end_once_with_the_metrics_of_one_machine(study, nodes, expected):
    assert swept(study, nodes) == ["done"] * 3
    assert metrics(study) == expected
    assert list((study.folder / ".sweep").iterdir()) == []
    assert swept(study, nodes) == ["done"] * 3
    assert metrics(study) == expected


@pytest.mark.slow
def test_a_cell_whose_worker_is_killed_ends_once_all_the_same(study, nodes, expected):
    killed = []

    def kill() -> None:
        killed.append(soon(lambda: at_work(study)))
        os.kill(killed[0], signal.SIGKILL)

    assert swept(study, nodes, kill) == ["done"] * 3
    assert metrics(study) == expected
    assert killed


@pytest.mark.slow
def test_a_cell_whose_node_is_lost_ends_once_on_another(study, nodes, expected):
    lost = []

    def lose() -> None:
        raylet = parent_of(soon(lambda: at_work(study)))
        (node,) = [
            node for node in nodes.worker_nodes
            if any(process.process.pid == raylet for process in node.all_processes["raylet"])
        ]  # fmt: skip
        lost.append(node.node_id)
        nodes.remove_node(node, allow_graceful=False)

    try:
        assert swept(study, nodes, lose) == ["done"] * 3
    finally:
        nodes.add_node(num_cpus=1, **NODE)
    assert metrics(study) == expected
    assert lost


@pytest.mark.slow
def test_a_driver_that_is_killed_is_followed_by_one_that_ends_its_cells(
    study, nodes, expected, tmp_path
):
    (tmp_path / "grid.yaml").write_text(GRID)
    command = [
        sys.executable, "-m", "rd4ad.cli", "sweep", str(tmp_path / "grid.yaml"),
        "--data", str(study.data), "--results", str(study.results),
        "--engine", "ray", "--address", nodes.address, "--memory-mib", "1000",
    ]  # fmt: skip
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    soon(lambda: at_work(study))
    driver.kill()
    driver.wait()
    done = subprocess.run(command, capture_output=True, text=True)
    assert ", 0 failed, 0 elsewhere" in done.stdout, done.stdout + done.stderr
    assert metrics(study) == expected
    assert list((study.folder / ".sweep").iterdir()) == []


def test_a_cell_that_no_node_can_hold_is_refused_and_does_not_wait(study, nodes):
    with pytest.raises(ClusterError, match="no node of the cluster has 1 CPUs, 2 GPUs"):
        list(on_ray(tasks_of(study), study, nodes.address, Demand(gpus=2)))


def test_an_address_where_no_cluster_answers_is_told_in_time(study, monkeypatch):
    monkeypatch.setattr(ray_engine, "CONNECT_SECONDS", 4)
    began = time.monotonic()
    with pytest.raises(
        ClusterError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 within 4 sec"
    ):
        list(on_ray([], study, "127.0.0.1:1"))
    assert time.monotonic() - began < 20


def test_an_address_that_is_none_is_told_with_its_reason(study):
    with pytest.raises(ClusterError, match="no Ray cluster at nonsense"):
        list(on_ray([], study, "nonsense"))


def test_without_ray_the_command_that_installs_it_is_named(
    study, tiny_data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"pip install '\.\[cluster\]'"):
        list(on_ray([], study, "auto"))
    (tmp_path / "grid.yaml").write_text(GRID)
    command = ["sweep", str(tmp_path / "grid.yaml"), "--data", str(tiny_data), "--engine", "ray"]
    assert main([*command, "--results", str(tmp_path)]) == 1
    assert "pip install" in capsys.readouterr().err
