import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from rd4ad import Detector
from rd4ad.checkpoint import read_checkpoint
from rd4ad.export import export_onnx
from rd4ad.graph import NoGraphError
from rd4ad.served import ServedDetector


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def rewrite(source, target, drop="", **changes):
    header, tensors = read_checkpoint(source)
    kept = {name: value for name, value in tensors.items() if name != drop}
    save_file(kept, target, {"rd4ad": json.dumps(header | changes)})


def test_it_says_what_the_torch_detector_says(tiny_checkpoint, images):
    served, detector = ServedDetector.load(tiny_checkpoint), Detector.load(tiny_checkpoint)
    assert served.size_px == detector.size_px
    assert served.scoring == detector.scoring
    assert served.calibration == detector.calibration
    found = served.judge(served.distances(images))
    for one, wanted in zip(found, detector.predict(list(images)), strict=True):
        assert one.score == pytest.approx(wanted.score, abs=1e-5)
        assert one.is_anomalous == wanted.is_anomalous
        np.testing.assert_allclose(one.anomaly_map, wanted.anomaly_map, atol=1e-5, rtol=0)
        for a, b in zip(one.distance_maps, wanted.distance_maps, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5, rtol=0)


def test_the_graphs_own_map_is_the_judged_one(tiny_checkpoint, images):
    served = ServedDetector.load(tiny_checkpoint)
    outputs = served.engine.run(images)
    judged = served.judge(outputs.distances)
    maps = np.stack([one.anomaly_map for one in judged])
    np.testing.assert_allclose(outputs.anomaly_maps, maps, atol=2e-6, rtol=0)


def test_a_checkpoint_of_half_precision_is_served(tiny_checkpoint, images, tmp_path):
    half = tmp_path / "half.safetensors"
    Detector.load(tiny_checkpoint).save(half, half=True)
    served, detector = ServedDetector.load(half), Detector.load(half)
    expected = detector.distances(images)
    for layer, maps in served.distances(images).items():
        np.testing.assert_allclose(maps, expected[layer], atol=1e-5, rtol=0)


def test_an_exported_model_needs_neither_checkpoint_nor_teacher(
    tiny_checkpoint, images, tmp_path, monkeypatch
):
    export_onnx(tiny_checkpoint, tmp_path / "part.onnx")
    monkeypatch.setattr("rd4ad.checkpoint.BUNDLED", tmp_path / "nowhere")
    again = ServedDetector.load(tmp_path / "part.onnx")
    first = Detector.load(tiny_checkpoint)
    assert again.calibration == first.calibration
    scores = [one.score for one in again.judge(again.distances(images))]
    np.testing.assert_allclose(scores, [p.score for p in first.predict(list(images))], atol=1e-5)


def test_without_torch_it_loads_and_judges(tiny_checkpoint):
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['torchvision'] = None\n"
        "import numpy as np\n"
        "from rd4ad.served import ServedDetector\n"
        f"detector = ServedDetector.load({str(tiny_checkpoint)!r})\n"
        "images = np.zeros((1, 64, 64, 3), np.uint8)\n"
        "print(detector.judge(detector.distances(images))[0].score > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_a_teacher_that_is_no_safetensors_file_is_refused_with_the_way_out(
    tiny_checkpoint, tmp_path
):
    path = tmp_path / "part.safetensors"
    rewrite(tiny_checkpoint, path, teacher_file={"name": "resnet18-f.pth", "sha256": "1" * 64})
    with pytest.raises(NoGraphError, match=r"resnet18-f\.pth.*rd4ad export"):
        ServedDetector.load(path)


def test_the_teacher_is_found_by_its_content_where_one_says(
    tiny_checkpoint, images, tmp_path, monkeypatch
):
    from rd4ad.checkpoint import BUNDLED

    shutil.copy(BUNDLED / "compact.safetensors", tmp_path / "compact-b.safetensors")
    (tmp_path / "compact-a.safetensors").write_bytes(b"another")
    monkeypatch.setattr("rd4ad.checkpoint.BUNDLED", tmp_path / "nowhere")
    with pytest.raises(NoGraphError):
        ServedDetector.load(tiny_checkpoint)
    for given in (tmp_path, tmp_path / "compact-b.safetensors"):
        assert ServedDetector.load(tiny_checkpoint, weights=given).size_px == 64
    monkeypatch.setenv("RD4AD_WEIGHTS", str(tmp_path))
    assert ServedDetector.load(tiny_checkpoint).size_px == 64


def test_another_method_is_refused_before_a_teacher_is_looked_for(tiny_checkpoint, tmp_path):
    path = tmp_path / "riad.safetensors"
    nothing = {"name": "", "sha256": ""}
    rewrite(tiny_checkpoint, path, method="riad", backbone="none", teacher_file=nothing)
    with pytest.raises(NoGraphError, match="method riad"):
        ServedDetector.load(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx"])
def test_a_damaged_file_is_refused_by_name(tiny_checkpoint, tmp_path, suffix):
    export_onnx(tiny_checkpoint, tmp_path / "whole.onnx")
    shutil.copy(tiny_checkpoint, tmp_path / "whole.safetensors")
    whole = (tmp_path / f"whole{suffix}").read_bytes()
    broken = tmp_path / f"broken{suffix}"
    for size in (0, 100, len(whole) // 2):
        broken.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=rf"broken\{suffix}"):
            ServedDetector.load(broken)


def test_tensors_that_do_not_fit_each_other_are_refused_by_name(tiny_checkpoint, tmp_path):
    path = tmp_path / "odd.safetensors"
    rewrite(tiny_checkpoint, path, layers=[1, 3])  # the embedding expects all three
    with pytest.raises(ValueError, match=r"odd\.safetensors"):
        ServedDetector.load(path)
    name = "student.layer3.0.conv2.weight"
    rewrite(tiny_checkpoint, path, drop=name)
    with pytest.raises(ValueError, match=name):
        ServedDetector.load(path)


def test_a_missing_file_is_named(tmp_path):
    for name in ("none.onnx", "none.safetensors"):
        with pytest.raises(FileNotFoundError, match=name):
            ServedDetector.load(tmp_path / name)
