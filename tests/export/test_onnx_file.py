import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from rd4ad import Detector
from rd4ad.cli.parser import main
from rd4ad.data.images import read_image, resize_image
from rd4ad.export.onnx_file import export_onnx, model_of
from rd4ad.home import WEIGHTS
from rd4ad.inference.onnx_session import OnnxModel, read_model, split_weights
from rd4ad.inference.torch_engine import TorchEngine
from rd4ad.methods.backbones import load_teacher

EXAMPLE = Path(__file__).resolve().parents[2] / "docs/export_example.py"
ALONE = (  # runs the example where neither this package nor torch can be imported
    "import runpy, sys\n"
    "sys.modules['rd4ad'] = sys.modules['torch'] = None\n"
    "runpy.run_path(sys.argv.pop(1), run_name='__main__')\n"
)


@pytest.fixture
def picture(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "part.png")
    return tmp_path / "part.png"


def test_the_example_says_without_this_package_what_the_detector_says(
    tiny_checkpoint, picture, tmp_path, capsys
):
    model, out = tmp_path / "part.onnx", tmp_path / "map.tiff"
    assert main(["export", str(tiny_checkpoint), "--out", str(model)]) == 0
    assert f"wrote {model}" in capsys.readouterr().out
    command = [sys.executable, "-c", ALONE, str(EXAMPLE), str(model), str(picture), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    detector = Detector.load(tiny_checkpoint)
    wanted = detector.predict(picture)[0]
    said = json.loads(done.stdout)
    assert said["score"] == pytest.approx(wanted.score, abs=1e-5)
    assert said["threshold"] == detector.calibration.threshold
    assert said["verdict"] == ("defective" if wanted.is_anomalous else "normal")
    with Image.open(out) as written:
        np.testing.assert_allclose(np.asarray(written), wanted.anomaly_map, atol=1e-5, rtol=0)


def test_the_example_stays_short():
    assert len(EXAMPLE.read_text().splitlines()) <= 30


def test_another_scoring_is_exported_without_a_threshold(tiny_checkpoint, picture, tmp_path):
    out = tmp_path / "part.onnx"
    options = ("--layers", "2+3", "--fusion", "product", "--sigma-px", "2", "--score", "sum")
    assert main(["export", str(tiny_checkpoint), "--out", str(out), *options]) == 0
    exported = Detector.load(out)
    detector = Detector.load(tiny_checkpoint, engine="torch").with_scoring(
        layers=(2, 3), fusion="product", sigma_px=2.0, score="sum"
    )
    assert exported.scoring == detector.scoring
    assert exported.calibration is None
    expected = detector.predict(picture)[0]
    outputs = OnnxModel(*split_weights(read_model(out))).run(
        resize_image(read_image(picture), 64)[None]
    )
    assert outputs.scores[0] == pytest.approx(expected.score, rel=1e-5)
    np.testing.assert_allclose(outputs.anomaly_maps[0], expected.anomaly_map, atol=1e-5, rtol=0)


def test_a_teacher_in_a_pth_file_is_read_by_torch(tmp_path, picture):
    weights = tmp_path / "compact-copy.pth"
    torch.save(load_file(WEIGHTS / "compact.safetensors"), weights)
    teacher, file = load_teacher("compact", weights)
    from rd4ad.methods.reverse_distillation import ReverseDistillation
    from rd4ad.scoring import Scoring

    method = ReverseDistillation("compact", (3,), teacher=teacher)
    engine = TorchEngine(method)
    detector = Detector(engine, size_px=64, scoring=Scoring(layers=(3,)), teacher_file=file)
    detector.save(tmp_path / "part.safetensors")
    export_onnx(tmp_path / "part.safetensors", tmp_path / "part.onnx", weights=weights)
    pixels = resize_image(read_image(picture), 64)[None]
    found = Detector.load(tmp_path / "part.onnx").distances(pixels)[3]
    np.testing.assert_allclose(found, detector.distances(pixels)[3], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("wrong", "code", "message"),
    [
        (("--layers", "4"), 2, "layers must be a choice of 1, 2 and 3"),
        (("--sigma-px", "-1"), 2, "sigma_px must lie in"),
        (("--out", "part.pt"), 1, "ends in .onnx; got part.pt"),
        (("--weights", "nowhere"), 1, "no weights of compact at nowhere"),
    ],
)
def test_wrong_usage_is_told_and_writes_nothing(
    tiny_checkpoint, tmp_path, capsys, monkeypatch, wrong, code, message
):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(tiny_checkpoint), "--out", "part.onnx", *wrong]) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_openvino_says_what_onnx_runtime_says(tiny_checkpoint, tmp_path, capsys):
    openvino = pytest.importorskip("openvino")
    out = tmp_path / "part.xml"
    assert main(["export", str(tiny_checkpoint), "--format", "openvino", "--out", str(out)]) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part.bin", "part.xml"]
    model = openvino.Core().read_model(out)
    about = json.loads(model.get_rt_info("rd4ad").value)
    detector = Detector.load(tiny_checkpoint)
    assert tuple(about["calibration"]["scores"]) == pytest.approx(detector.calibration.scores)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", exact)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    said, wanted = (
        compiled(images),
        OnnxModel(*split_weights(model_of(tiny_checkpoint)[1])).run(images),
    )
    np.testing.assert_allclose(said["anomaly_map"], wanted.anomaly_maps, atol=1e-5)
    np.testing.assert_allclose(said["score"], wanted.scores, atol=1e-5)


def test_openvino_that_is_not_there_is_said_with_what_installs_it(
    tiny_checkpoint, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "openvino", None)
    command = ["export", str(tiny_checkpoint), "--format", "openvino"]
    assert main([*command, "--out", str(tmp_path / "a.xml")]) == 1
    assert "pip install openvino" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "openvino", "--out", "a.onnx"], "ends in .xml"),
        (["--format", "openvino", "--int8", "--out", "a.xml"], "leave --format out"),
    ],
)
def test_what_openvino_cannot_have_is_said(tiny_checkpoint, capsys, options, message):
    pytest.importorskip("openvino")
    assert main(["export", str(tiny_checkpoint), *options]) != 0
    assert message in capsys.readouterr().err
