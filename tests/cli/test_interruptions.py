"""Folders that cannot be written, full disks and Ctrl-C: what was there stays."""

import os
import resource
import signal
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_post_hook


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_an_error_not_a_trace(run, tiny_checkpoint, tiny_data, tmp_path):
    tmp_path.chmod(0o500)
    image = tiny_data / "part/test/good/000.png"
    code, _, errors = run("predict", tiny_checkpoint, image, "--out", tmp_path / "out")
    assert code == 1
    assert "Permission denied" in errors


def test_an_output_folder_that_is_a_file_is_an_error_not_a_trace(
    run, refused, where, training, tiny_checkpoint, tiny_data, tmp_path
):
    out = tmp_path / "out"
    out.write_text("a file")
    image = tiny_data / "part/test/good/000.png"
    for command in (
        (*training(tiny_data), "--out", out / "a.safetensors"),
        ("evaluate", tiny_checkpoint, *where(tiny_data), "--results", out),
        ("predict", tiny_checkpoint, image, "--out", out),
        ("data", "make", out / "made", "--train", 2),
    ):
        refused(run(*command), str(out))
    assert out.read_text() == "a file"


@contextmanager
def full_disk(n_bytes):
    """Let no file grow beyond `n_bytes`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("n_bytes", [100, 5000])
def test_a_full_disk_is_named_and_leaves_what_was_there(
    run, refused, where, training, tiny_checkpoint, tiny_data, tmp_path, n_bytes
):
    results = tmp_path / "results"
    evaluation = ("evaluate", tiny_checkpoint, *where(tiny_data), "--results", results)
    assert run(*evaluation)[0] == 0
    assert run("results", "index", "--results", results)[0] == 0
    before = {file: file.read_bytes() for file in results.rglob("*") if file.is_file()}
    image = tiny_data / "part/test/spot/000.png"
    for command in (
        (*evaluation, "--dataset", "another"),
        ("predict", tiny_checkpoint, image, "--out", results / "out"),
        ("results", "index", "--results", results),
        ("data", "make", results / "made", "--train", 2),
        (*training(tiny_data), "--out", results / "a.safetensors"),
    ):
        with full_disk(n_bytes):
            outcome = run(*command)
        refused(outcome, f"cannot write {results}", "make room")
    assert {file: file.read_bytes() for file in results.rglob("*") if file.is_file()} == before


@contextmanager
def ctrl_c_after(n_steps):
    """Send Ctrl-C to this process after so many steps of any optimizer."""
    steps = []

    def count(*_):
        steps.append(1)
        if len(steps) == n_steps:
            signal.raise_signal(signal.SIGINT)

    hook = register_optimizer_step_post_hook(count)
    try:
        yield
    finally:
        hook.remove()


def test_ctrl_c_in_training_costs_one_epoch_and_no_more(
    run, refused, training, tiny_data, tmp_path, monkeypatch
):
    monkeypatch.setattr("rd4ad.training.session.SAVE_EVERY_SECONDS", 0.0)
    command = (*training(tiny_data), "--json", "--out")
    straight, stopped = tmp_path / "straight.safetensors", tmp_path / "stopped.safetensors"
    assert run(*command, straight)[0] == 0
    with ctrl_c_after(5):  # of 3 in each of two epochs
        refused(run(*command, stopped), "stopped; what was complete is kept")
    assert not stopped.exists()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".stopped.safetensors.training.state", straight.name]
    with ctrl_c_after(4):  # which never comes, as the first epoch is there already
        assert run(*command, stopped)[0] == 0
    first, second = load_file(straight), load_file(stopped)
    assert all(torch.equal(first[key], second[key]) for key in first)
