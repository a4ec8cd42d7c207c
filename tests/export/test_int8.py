import json
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

from rd4ad import Detector
from rd4ad.cli.parser import main
from rd4ad.data.folders import open_category, split_holdout
from rd4ad.data.images import read_images
from rd4ad.export import accuracy_gate, int8
from rd4ad.export.onnx_file import model_of
from rd4ad.inference.onnx_session import OnnxModel, split_weights


@pytest.fixture(scope="module")
def tiny_images(tiny_data):
    return read_images(
        [sample.path for sample in open_category(tiny_data, "part").train], 64
    ).images


def quantized(checkpoint, images) -> onnx.ModelProto:
    return int8.quantized(model_of(checkpoint)[1], images)


def maps_of(model, images):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return OnnxModel(*split_weights(copy)).run(images).anomaly_maps


def float_convolutions(model) -> list[str]:
    made = {output: node.op_type for node in model.graph.node for output in node.output}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and made.get(node.input[1]) != "DequantizeLinear"
    ]


def export(checkpoint, out, data) -> int:
    options = ("--int8", "--data", str(data), "--category", "part")
    return main(["export", str(checkpoint), "--out", str(out), *options])


def test_what_judges_alike_is_written_and_knows_its_own_threshold(
    tiny_checkpoint, tiny_data, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(accuracy_gate, "GATE", 1.0)
    out = tmp_path / "part.onnx"
    assert export(tiny_checkpoint, out, tiny_data) == 0
    told = capsys.readouterr().out
    assert all(f"{metric} " in told for metric in accuracy_gate.JUDGED_BY)
    floats, integers = Detector.load(tiny_checkpoint), Detector.load(out)
    images = [sample.path for sample in open_category(tiny_data, "part").test]
    expected = [one.score for one in floats.predict(images)]
    np.testing.assert_allclose([one.score for one in integers.predict(images)], expected, rtol=0.1)
    normal = [sample.path for sample in open_category(tiny_data, "part").train]
    _, held = split_holdout(len(normal), floats.config["holdout"], floats.config["seed"])
    scores = sorted(one.score for one in integers.predict([normal[i] for i in held]))
    np.testing.assert_allclose(integers.calibration.scores, scores, rtol=1e-5)
    assert integers.calibration.quantile == floats.calibration.quantile


def test_convolutions_alone_become_integers_but_for_the_first(tiny_checkpoint, tiny_images):
    before = [node.name for node in model_of(tiny_checkpoint)[1].graph.node]
    model = quantized(tiny_checkpoint, tiny_images)
    nodes, floats = model.graph.node, float_convolutions(model)
    convolutions = sorted((node.name for node in nodes if node.op_type == "Conv"), key=before.index)
    assert convolutions[: len(floats)] == sorted(floats, key=before.index)
    assert 0 < len(floats) < len(convolutions)
    made = {output: node.op_type for node in nodes for output in node.output}
    for node in nodes:
        if node.op_type in ("MatMul", "ReduceSum", "Div"):
            assert "DequantizeLinear" not in {made.get(name) for name in node.input}


def test_the_runtime_computes_in_integers_what_was_quantized(
    tiny_checkpoint, tiny_images, tmp_path
):
    model = quantized(tiny_checkpoint, tiny_images)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(model.SerializeToString(), options)
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    n_convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    n_floats = len(float_convolutions(model))
    assert kinds["Conv"] + kinds["FusedConv"] == n_floats
    assert kinds["QLinearConv"] == n_convolutions - n_floats


@pytest.mark.parametrize(
    ("bound", "most", "expected"), [(np.inf, 1.0, 1), (0.0, 0.1, 3), (0.0, 0.0, 1)]
)
def test_as_few_convolutions_stay_float32_as_the_deviation_allows(
    tiny_checkpoint, tiny_images, monkeypatch, bound, most, expected
):
    monkeypatch.setattr(int8, "BOUND", bound)
    monkeypatch.setattr(int8, "MOST", most)
    assert len(float_convolutions(quantized(tiny_checkpoint, tiny_images))) == expected


def test_more_convolutions_in_float32_deviate_less(tiny_checkpoint, tiny_images, monkeypatch):
    _, model = model_of(tiny_checkpoint)
    expected = maps_of(model, tiny_images)
    monkeypatch.setattr(int8, "BOUND", 0.0)
    found = []
    for most in (0.0, 0.5):
        monkeypatch.setattr(int8, "MOST", most)
        maps = maps_of(quantized(tiny_checkpoint, tiny_images), tiny_images)
        found.append(int8.deviation(expected, maps))
    assert 0 < found[1] < found[0] < 0.5


def test_one_image_shows_no_deviation(tiny_checkpoint, tiny_images):
    with pytest.raises(ValueError, match="at least 2 normal images; got 1"):
        quantized(tiny_checkpoint, tiny_images[:1])


def test_what_judges_otherwise_is_refused_with_its_metrics(
    tiny_checkpoint, tiny_data, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(accuracy_gate, "GATE", -1.0)
    assert export(tiny_checkpoint, tmp_path / "part.onnx", tiny_data) == 1
    said = capsys.readouterr().err
    for metric in accuracy_gate.JUDGED_BY:
        assert f"{metric} 0." in said or f"{metric} 1." in said
    assert "Stay with float32" in said
    assert list(tmp_path.iterdir()) == []


def test_undefined_metrics_pass_no_gate(tiny_checkpoint, tiny_data, tmp_path, monkeypatch):
    rows = [{"metric": "aupro", "float32": np.nan, "int8": np.nan, "difference": np.nan}]
    monkeypatch.setattr(accuracy_gate, "compared", lambda *_: rows)
    assert export(tiny_checkpoint, tmp_path / "part.onnx", tiny_data) == 1


def test_images_of_another_training_are_refused(tiny_checkpoint, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(accuracy_gate, "GATE", 1.0)
    folder = tmp_path / "data/part"
    folder.mkdir(parents=True)
    for name in ("test", "ground_truth"):
        (folder / name).symlink_to(tiny_data / "part" / name)
    (folder / "train/good").mkdir(parents=True)
    for path in sorted((tiny_data / "part/train/good").iterdir())[:5]:
        (folder / "train/good" / path.name).symlink_to(path)
    with pytest.raises(ValueError, match="trained on other images than the 5"):
        int8.export_int8(tiny_checkpoint, tmp_path / "part.onnx", tmp_path / "data", "part")
    assert not (tmp_path / "part.onnx").exists()


def test_what_judges_it_has_to_be_named(tiny_checkpoint, tmp_path, capsys):
    options = ["export", str(tiny_checkpoint), "--out", str(tmp_path / "a.onnx"), "--int8"]
    assert main(options) == 2
    assert "name both" in capsys.readouterr().err


def test_the_models_own_word_follows_the_new_threshold(tiny_checkpoint, tiny_data, tmp_path):
    from rd4ad.inference.graph import with_calibration
    from rd4ad.inference.onnx_session import read_model
    from rd4ad.inference.prediction import Calibration

    _, model = model_of(tiny_checkpoint)
    about = json.loads(model.metadata_props[0].value)
    text = with_calibration(
        model.SerializeToString(), about, Calibration(scores=(1.0, 3.0), quantile=0.5)
    )
    (tmp_path / "a.onnx").write_bytes(text)
    said = OnnxModel(*split_weights(read_model(tmp_path / "a.onnx"))).description
    assert said["threshold"] == 2.0
    kept = {"scores": [1.0, 3.0], "quantile": 0.5, "own_threshold": None}
    assert said["calibration"] == kept
    assert said["size_px"] == about["size_px"]
