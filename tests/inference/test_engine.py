import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from rd4ad import Detector
from rd4ad.export.onnx_file import export_onnx
from rd4ad.home import WEIGHTS
from rd4ad.inference.checkpoint import read_checkpoint
from rd4ad.inference.graph import NoGraphError, build_graph
from rd4ad.inference.onnx_engine import teacher_tensors
from rd4ad.inference.onnx_session import OnnxModel, split_weights


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def exported(checkpoint) -> OnnxModel:
    header, tensors = read_checkpoint(checkpoint)
    graph = build_graph(header, tensors, teacher_tensors(header))
    return OnnxModel(*split_weights(graph))


def rewrite(source, target, drop="", **changes):
    header, tensors = read_checkpoint(source)
    kept = {name: value for name, value in tensors.items() if name != drop}
    save_file(kept, target, {"rd4ad": json.dumps(header | changes)})


def both(path, **options) -> tuple[Detector, Detector]:
    """The detector of a file by either engine."""
    onnx, torch = (Detector.load(path, engine=name, **options) for name in ("onnx", "torch"))
    assert (onnx.engine.name, torch.engine.name) == ("onnx", "torch")
    return onnx, torch


def test_either_engine_says_the_same(tiny_checkpoint, images):
    onnx, torch = both(tiny_checkpoint)
    for field in ("size_px", "scoring", "calibration", "config", "teacher_file"):
        assert getattr(onnx, field) == getattr(torch, field)
    for field in ("method", "backbone", "layers", "settings"):
        assert getattr(onnx.engine, field) == getattr(torch.engine, field)
    found, expected = onnx.predict(list(images)), torch.predict(list(images))
    for one, wanted in zip(found, expected, strict=True):
        assert one.score == pytest.approx(wanted.score, abs=1e-5)
        assert one.is_anomalous == wanted.is_anomalous
        np.testing.assert_allclose(one.anomaly_map, wanted.anomaly_map, atol=1e-5, rtol=0)
        for a, b in zip(one.distance_maps, wanted.distance_maps, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5, rtol=0)


def test_the_graphs_own_map_is_the_judged_one(tiny_checkpoint, images):
    detector = Detector.load(tiny_checkpoint)
    outputs = exported(tiny_checkpoint).run(images)
    maps = np.stack([one.anomaly_map for one in detector.judge(outputs.distances)])
    np.testing.assert_allclose(outputs.anomaly_maps, maps, atol=2e-6, rtol=0)


def test_a_checkpoint_of_half_precision_is_served(tiny_checkpoint, images, tmp_path):
    half = tmp_path / "half.safetensors"
    Detector.load(tiny_checkpoint).save(half, store="float16")
    onnx, torch = both(half)
    expected = torch.distances(images)
    for layer, maps in onnx.distances(images).items():
        np.testing.assert_allclose(maps, expected[layer], atol=1e-5, rtol=0)


def test_an_exported_model_needs_neither_checkpoint_nor_teacher(
    tiny_checkpoint, images, tmp_path, monkeypatch
):
    export_onnx(tiny_checkpoint, tmp_path / "part.onnx")
    first = Detector.load(tiny_checkpoint)
    monkeypatch.setattr("rd4ad.inference.checkpoint.WEIGHTS", tmp_path / "nowhere")
    again = Detector.load(tmp_path / "part.onnx")
    assert again.engine.name == "onnx"
    assert again.calibration == first.calibration
    expected = [one.score for one in first.predict(list(images))]
    scores = [one.score for one in again.predict(list(images))]
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    with pytest.raises(ValueError, match="save the checkpoint it came from"):
        again.save(tmp_path / "again.safetensors")


def test_without_torch_it_loads_and_judges(tiny_checkpoint):
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['torchvision'] = None\n"
        "import numpy as np\n"
        "from rd4ad import Detector\n"
        f"detector = Detector.load({str(tiny_checkpoint)!r})\n"
        "print(detector.predict(np.zeros((70, 64, 3), np.uint8))[0].score > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def without_torch(path) -> str:
    """What loading a detector prints of the error where torch is not installed."""
    code = (
        "import sys; sys.modules['torch'] = sys.modules['torchvision'] = None\n"
        "from rd4ad import Detector\n"
        "try:\n"
        f"    Detector.load({str(path)!r})\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout


def test_without_torch_a_teacher_in_a_pth_file_is_refused_with_the_way_out(
    tiny_checkpoint, tmp_path
):
    path = tmp_path / "part.safetensors"
    rewrite(tiny_checkpoint, path, teacher_file={"name": "resnet18-f.pth", "sha256": "1" * 64})
    said = without_torch(path)
    for part in (str(path), "resnet18-f.pth", "torch is not installed", "rd4ad export"):
        assert part in said


def test_without_torch_a_method_without_a_graph_is_refused_with_the_way_out(
    tiny_checkpoint, tmp_path
):
    path = tmp_path / "riad.safetensors"
    nothing = {"name": "", "sha256": ""}
    rewrite(tiny_checkpoint, path, method="riad", backbone="none", teacher_file=nothing)
    said = without_torch(path)
    for part in (str(path), "torch is not installed", "pip install -r requirements.txt"):
        assert part in said
    with pytest.raises(NoGraphError, match="method riad"):
        Detector.load(path, engine="onnx")


def test_the_teacher_is_found_by_its_content_where_one_says(tiny_checkpoint, tmp_path, monkeypatch):
    shutil.copy(WEIGHTS / "compact.safetensors", tmp_path / "compact-b.safetensors")
    (tmp_path / "compact-a.safetensors").write_bytes(b"another")
    monkeypatch.setattr("rd4ad.inference.checkpoint.WEIGHTS", tmp_path / "nowhere")
    for given in (tmp_path, tmp_path / "compact-b.safetensors"):
        assert Detector.load(tiny_checkpoint, weights=given, engine="onnx").size_px == 64
    monkeypatch.setenv("RD4AD_WEIGHTS", str(tmp_path))
    assert Detector.load(tiny_checkpoint, engine="onnx").size_px == 64


def test_a_graph_holds_no_more_than_the_layers_asked_for(tiny_checkpoint, images):
    detector = Detector.load(tiny_checkpoint).with_scoring(layers=(3,))
    assert len(detector.predict(images[0])[0].distance_maps) == 1
    every, last = detector.distances(images), detector.distances(images, (3,))
    assert (list(every), list(last)) == ([1, 2, 3], [3])
    np.testing.assert_allclose(every[3], last[3], atol=1e-6)


def test_the_engine_follows_from_the_device_and_can_be_chosen(tiny_checkpoint):
    assert Detector.load(tiny_checkpoint).engine.name == "onnx"
    assert Detector.load(tiny_checkpoint, device="meta").engine.name == "torch"
    for wrong in ({"engine": "onnx", "device": "cuda"}, {"engine": "tensorrt"}):
        with pytest.raises(ValueError, match="engine"):
            Detector.load(tiny_checkpoint, **wrong)


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx"])
def test_a_damaged_file_is_refused_by_name(tiny_checkpoint, tmp_path, suffix):
    export_onnx(tiny_checkpoint, tmp_path / "whole.onnx")
    shutil.copy(tiny_checkpoint, tmp_path / "whole.safetensors")
    whole = (tmp_path / f"whole{suffix}").read_bytes()
    broken = tmp_path / f"broken{suffix}"
    for size in (0, 100, len(whole) // 2):
        broken.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=rf"broken\{suffix}"):
            Detector.load(broken)


def test_tensors_that_do_not_fit_each_other_are_refused_by_name(tiny_checkpoint, tmp_path):
    path = tmp_path / "odd.safetensors"
    rewrite(tiny_checkpoint, path, layers=[1, 3])  # the embedding expects all three
    with pytest.raises(ValueError, match=r"odd\.safetensors"):
        Detector.load(path)
    name = "student.layer3.0.conv2.weight"
    rewrite(tiny_checkpoint, path, drop=name)
    with pytest.raises(ValueError, match=name):
        Detector.load(path)


def test_a_missing_file_is_named(tmp_path):
    for name in ("none.onnx", "none.safetensors"):
        with pytest.raises(FileNotFoundError, match=name):
            Detector.load(tmp_path / name)
