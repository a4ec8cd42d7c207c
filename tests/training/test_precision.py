"""The precision that a processor trains in quickest; an unfinished training keeps its own."""

import json

import pytest
import torch

from rd4ad.cli.parser import main
from rd4ad.training import precision
from rd4ad.training.precision import chosen_precision, quickest_precision
from rd4ad.training.session import state_path


@pytest.fixture(autouse=True)
def _forget():
    quickest_precision.cache_clear()
    yield
    quickest_precision.cache_clear()


@pytest.mark.parametrize(
    ("lower_s", "expected"), [(0.1, "bfloat16"), (0.9, "float32"), (5.0, "float32")]
)
def test_the_quicker_one_is_taken_if_it_is_clearly_quicker(lower_s, expected, monkeypatch):
    clock = [0.0]
    own = torch.Tensor.__matmul__

    def product(first, second):
        clock[0] += lower_s if first.dtype == torch.bfloat16 else 1.0
        return own(first, second)

    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    monkeypatch.setattr(precision, "perf_counter", lambda: clock[0])
    assert quickest_precision() == expected


def test_a_processor_that_multiplies_wrongly_is_not_trusted(monkeypatch):
    own = torch.Tensor.__matmul__

    def product(first, second):
        found = own(first, second)
        return found * 1.1 if first.dtype == torch.bfloat16 else found

    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    monkeypatch.setattr(precision, "_TIMES_FASTER", 0.0)
    assert quickest_precision() == "float32"


def test_an_unfinished_training_goes_on_in_its_own_precision(tmp_path, monkeypatch):
    out = tmp_path / "part.safetensors"
    monkeypatch.setattr(precision, "quickest_precision", lambda device: "bfloat16")
    assert chosen_precision(out) == "bfloat16"
    state = {"fingerprint": json.dumps({"precision": "float32"}), "parts": {}, "optimizer": {},
             "epoch": 1, "loss": 0.5, "minutes": 0.1, "held_losses": []}  # fmt: skip
    torch.save(state, state_path(out))
    assert chosen_precision(out) == "float32"


def test_the_command_records_what_auto_chose(tiny_data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(precision, "quickest_precision", lambda device: "bfloat16")
    out = tmp_path / "part.safetensors"
    command = ["train", "--data", str(tiny_data), "--category", "part", "--backbone", "compact"]
    command += ["--size-px", "64", "--epochs", "1", "--precision", "auto", "--json"]
    assert main([*command, "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["precision"] == "bfloat16"
