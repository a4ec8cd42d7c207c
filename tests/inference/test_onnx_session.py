import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rd4ad.export.onnx_file import export_onnx
from rd4ad.inference.onnx_session import OnnxModel, read_model, split_weights


@pytest.fixture(scope="module")
def model(tiny_checkpoint, tmp_path_factory) -> OnnxModel:
    path = tmp_path_factory.mktemp("exported") / "part.onnx"
    export_onnx(tiny_checkpoint, path)
    return OnnxModel(*split_weights(read_model(path)), n_threads=1)


@pytest.mark.parametrize("n_images", [1, 4, 5, 9])
def test_an_image_is_judged_the_same_in_any_company(model, n_images):
    images = np.random.default_rng(0).integers(0, 256, (n_images, 64, 64, 3), dtype=np.uint8)
    together = model.run(images)
    assert together.anomaly_maps.shape == (n_images, 64, 64)
    assert together.scores.shape == (n_images,)
    for i in range(n_images):
        alone = model.run(images[i : i + 1])
        np.testing.assert_allclose(alone.scores[0], together.scores[i], rtol=1e-6)
        for layer, maps in together.distances.items():
            np.testing.assert_allclose(alone.distances[layer][0], maps[i], atol=1e-6)


def test_the_score_is_the_peak_of_the_map(model):
    images = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    outputs = model.run(images)
    np.testing.assert_array_equal(outputs.scores, outputs.anomaly_maps.max(axis=(1, 2)))


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x08\x08"])
def test_what_is_no_model_is_refused(content, tmp_path):
    (tmp_path / "part.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"not a whole \.onnx file|not a model that can run"):
        OnnxModel(*split_weights(read_model(tmp_path / "part.onnx")))


def test_a_model_of_others_is_refused():
    value = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("score", TensorProto.FLOAT, [1])
    node = helper.make_node("Relu", ["image"], ["score"])
    graph = helper.make_graph([node], "other", [value], [out])
    other: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    with pytest.raises(ValueError, match="none that rd4ad export wrote"):
        OnnxModel(*split_weights(other))


def test_the_runtime_reports_nothing_to_its_makers(tmp_path):
    """Where it does, it keeps what it will send in the home folder."""
    checkpoint = Path("results/detectors/tile.safetensors").resolve()
    code = f"from rd4ad import Detector; Detector.load({str(checkpoint)!r})"
    switched_off = ("CI", "GITHUB_ACTIONS", "ORT_RUNNING_UNIT_TESTS", "ORT_DISABLE_TELEMETRY")
    environment = {name: v for name, v in os.environ.items() if name not in switched_off}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)
    assert list(tmp_path.rglob("*")) == []
