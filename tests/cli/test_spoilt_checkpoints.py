"""Checkpoints that are damaged, hostile or diverged, and weights that cannot be had."""

import json
import math
import os
import urllib.request
from functools import partial

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from rd4ad.methods.backbones import find_weights


class Code:
    """Makes a folder when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def truncated(checkpoint, target):
    target.write_bytes(checkpoint.read_bytes()[:5000])


def pickled(_checkpoint, target):
    torch.save({"a": Code(target.with_name("code_ran"))}, target)


def rewritten(checkpoint, target, tensors=lambda value: value, **changes):
    with safe_open(checkpoint, framework="pt") as file:
        header = json.loads(file.metadata()["rd4ad"]) | changes
        found = {key: tensors(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
    save_file(found, target, {"rd4ad": json.dumps(header)})


def narrowed(tensor):
    return tensor[:1] if tensor.ndim == 4 else tensor


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncated, "is not a whole .safetensors file"),
        (pickled, "is not a whole .safetensors file"),
        (partial(rewritten, schema=99), "update rd4ad"),
        (partial(rewritten, tensors=narrowed), "damaged or with tensors of another backbone"),
    ],
)
def test_a_spoiled_checkpoint_is_refused_by_name_and_runs_no_code(
    run, refused, where, tiny_checkpoint, tiny_data, tmp_path, spoil, message
):
    spoiled, out = tmp_path / "spoiled.safetensors", tmp_path / "out"
    spoil(tiny_checkpoint, spoiled)
    weights = ("--weights", find_weights("compact"))
    evaluation = ("evaluate", spoiled, *where(tiny_data), "--results", out, *weights)
    prediction = ("predict", spoiled, tiny_data / "part/test", "--out", out, *weights)
    for command in (evaluation, prediction):
        refused(run(*command), message, ".safetensors")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [spoiled]


def test_a_detector_of_a_diverged_training_gives_an_error_and_no_score(
    run, refused, where, tiny_checkpoint, tiny_data, tmp_path
):
    spoiled, out = tmp_path / "spoiled.safetensors", tmp_path / "out"
    rewritten(tiny_checkpoint, spoiled, tensors=lambda value: value * math.nan)
    image = tiny_data / "part/test/spot/000.png"
    refused(run("predict", spoiled, image, "--out", out), "NaN")
    refused(run("evaluate", spoiled, *where(tiny_data), "--results", out), "NaN")
    assert not list(out.glob("**/*.*"))


def test_weights_that_cannot_be_had_offline_say_which_file_to_put_where(
    run, refused, where, tiny_data, tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("RD4AD_WEIGHTS", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nothing listens
    monkeypatch.setattr(urllib.request, "_opener", None)  # it would keep the proxies for good
    options = (*where(tiny_data), "--size-px", 64, "--out", tmp_path / "a.safetensors")
    outcome = run("train", *options, "--backbone", "resnet34")
    refused(outcome, "resnet34-b627a593.pth into", str(tmp_path), "--backbone compact")
