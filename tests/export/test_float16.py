import json

import numpy as np
import pytest
from safetensors import safe_open

from rd4ad import Detector
from rd4ad.cli.parser import main
from rd4ad.data.folders import open_category, split_holdout
from rd4ad.export import accuracy_gate


def export(checkpoint, out, data, *more) -> int:
    options = ("--float16", "--data", str(data), "--category", "part", *more)
    return main(["export", str(checkpoint), "--out", str(out), *options])


def test_what_judges_alike_is_written_and_computes_in_float16(
    tiny_checkpoint, tiny_data, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(accuracy_gate, "GATE", 0.05)
    out = tmp_path / "half.safetensors"
    assert export(tiny_checkpoint, out, tiny_data) == 0
    told = capsys.readouterr().out
    assert all(f"{metric} " in told for metric in accuracy_gate.JUDGED_BY)
    assert told.count("float16 ") == len(accuracy_gate.JUDGED_BY)
    whole, lower = (Detector.load(path, engine="torch") for path in (tiny_checkpoint, out))
    assert (whole.engine.float16, lower.engine.float16) == (False, True)
    category = open_category(tiny_data, "part")
    images = [sample.path for sample in category.test]
    expected, found = (
        np.array([one.score for one in detector.predict(images)]) for detector in (whole, lower)
    )
    np.testing.assert_allclose(found, expected, rtol=0.02)
    assert (found != expected).any()  # nothing would be gained otherwise
    _, held = split_holdout(len(category.train), 0.2, 0)
    scores = sorted(one.score for one in lower.predict([category.train[i].path for i in held]))
    np.testing.assert_allclose(lower.calibration.scores, scores, rtol=1e-5)
    assert lower.calibration.quantile == whole.calibration.quantile


def test_on_a_cpu_onnx_runtime_reads_it_in_float32(
    tiny_checkpoint, tiny_data, tmp_path, monkeypatch
):
    monkeypatch.setattr(accuracy_gate, "GATE", 0.05)
    out = tmp_path / "half.safetensors"
    export(tiny_checkpoint, out, tiny_data)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    one, other = (Detector.load(path).predict(image)[0] for path in (tiny_checkpoint, out))
    np.testing.assert_array_equal(one.anomaly_map, other.anomaly_map)


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_saving_it_again_keeps_the_mark(tiny_checkpoint, tiny_data, tmp_path, monkeypatch, engine):
    monkeypatch.setattr(accuracy_gate, "GATE", 0.05)
    out, again = tmp_path / "half.safetensors", tmp_path / "again.safetensors"
    export(tiny_checkpoint, out, tiny_data)
    Detector.load(out, engine=engine).save(again)
    assert Detector.load(again, engine="torch").engine.float16


def test_what_judges_otherwise_is_refused_with_its_metrics(
    tiny_checkpoint, tiny_data, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(accuracy_gate, "GATE", -1.0)
    assert export(tiny_checkpoint, tmp_path / "half.safetensors", tiny_data) == 1
    said = capsys.readouterr().err
    assert all(f"{metric} " in said for metric in accuracy_gate.JUDGED_BY)
    assert "in float16" in said
    assert list(tmp_path.iterdir()) == []


def test_float16_of_float16_is_refused(tiny_checkpoint, tiny_data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(accuracy_gate, "GATE", 0.05)
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    export(tiny_checkpoint, first, tiny_data)
    with safe_open(first, framework="np") as file:
        assert json.loads(file.metadata()["rd4ad"])["float16"] is True
    assert export(first, second, tiny_data) == 1
    assert "in float16 already" in capsys.readouterr().err
    assert not second.exists()


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (("--layers", "3"), "keeps the checkpoint's own scoring"),
        (("--format", "openvino"), "leave --format out"),
        (("--device", "nonesuch"), "nonesuch"),
    ],
)
def test_options_that_do_not_go_together(tiny_checkpoint, tiny_data, tmp_path, capsys, more, word):
    assert export(tiny_checkpoint, tmp_path / "half.safetensors", tiny_data, *more) == 2
    assert word in capsys.readouterr().err


def test_a_device_is_of_no_use_to_other_models(tiny_checkpoint, tmp_path, capsys):
    options = ["export", str(tiny_checkpoint), "--out", str(tmp_path / "a.onnx")]
    assert main([*options, "--device", "cuda"]) == 2
    assert "--device is of --float16" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
