"""The exported graph against the torch networks and the NumPy scoring that it stands for."""

import importlib.util
import itertools
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from rd4ad import Detector
from rd4ad.inference.checkpoint import find_teacher, read_checkpoint, read_tensors
from rd4ad.inference.graph import NoGraphError, build_graph
from rd4ad.inference.onnx_session import OnnxModel, split_weights
from rd4ad.inference.torch_engine import TorchEngine
from rd4ad.methods import backbones
from rd4ad.methods.backbones import Backbone, Bottleneck
from rd4ad.methods.reverse_distillation import ReverseDistillation
from rd4ad.scoring import Scoring, anomaly_maps, scores

BUNDLED = Path(__file__).resolve().parents[2] / "results/detectors"
FILE = {"name": "teacher.pth", "sha256": "0" * 64}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Noise, a ramp and plain black: the borders and flat places of real images are in them."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    flat = np.zeros((64, 64, 3), np.uint8)
    noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return np.stack([noise, np.broadcast_to(ramp[:, None], (64, 64, 3)), flat])


def trained_looking(backbone: str, layers: tuple[int, ...]) -> ReverseDistillation:
    """Networks whose batch norms have statistics, as after a training."""
    torch.manual_seed(0)
    method = ReverseDistillation(backbone, layers)
    for part in method.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            for values in (part.weight, part.running_var):
                values.data = 0.5 + torch.rand_like(values)
            for values in (part.bias, part.running_mean):
                values.data = 0.3 * torch.randn_like(values)
    return method.eval()


def header_of(method: ReverseDistillation, size_px: int = 64, **scoring) -> dict:
    return {
        "method": method.name, "backbone": method.backbone, "layers": list(method.layers),
        "size_px": size_px, "scoring": {"layers": method.layers} | scoring,
        "teacher_file": FILE, "calibration": None, "config": {"category": "part"},
    }  # fmt: skip


def arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in module.state_dict().items()}


def graph_of(method: ReverseDistillation, **scoring) -> onnx.ModelProto:
    fitted, teacher = arrays(method.fitted_parts()), arrays(method.teacher)
    return build_graph(header_of(method, **scoring), fitted, teacher)


def run(model: onnx.ModelProto, images: np.ndarray):
    return OnnxModel(*split_weights(model), n_threads=1).run(images)


def eager(method: ReverseDistillation, images: np.ndarray) -> dict[int, np.ndarray]:
    detector = Detector(TorchEngine(method), size_px=64, scoring=Scoring(), teacher_file=FILE)
    return detector.distances(images)


@pytest.fixture
def narrow(monkeypatch) -> str:
    """A wide ResNet of a few channels: blocks of three convolutions, doubled inside."""
    shape = Backbone(block=Bottleneck, depths=(2, 3, 1), width=8, base_width=128)
    monkeypatch.setitem(backbones.BACKBONES, "narrow", shape)
    return "narrow"


SUBSETS = [(1, 2, 3), (1, 2), (1, 3), (2, 3), (1,), (2,), (3,)]


@pytest.mark.parametrize("layers", SUBSETS, ids=str)
@pytest.mark.parametrize("backbone", ["compact", "narrow"])
def test_distances_of_every_choice_of_layers_are_the_networks_own(backbone, layers, images, narrow):
    method = trained_looking(backbone, layers)
    found = run(graph_of(method), images).distances
    expected = eager(method, images)
    assert list(found) == list(expected)
    for layer in layers:
        np.testing.assert_allclose(found[layer], expected[layer], atol=1e-5, rtol=0)


def test_a_deeper_backbone_of_the_paper_is_built_from_its_tensors_alone(images):
    method = trained_looking("resnet34", (2, 3))
    found = run(graph_of(method), images).distances
    for layer, expected in eager(method, images).items():
        np.testing.assert_allclose(found[layer], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scored", [(1, 2, 3), (1, 3), (3,)], ids=str)
@pytest.mark.parametrize(
    ("fusion", "score", "sigma_px"),
    [*itertools.product(["sum", "product"], ["max", "sum"], [4.0]), ("sum", "max", 0.0)],
)
def test_maps_and_scores_are_those_of_the_scoring(images, scored, fusion, score, sigma_px):
    method = trained_looking("compact", (1, 2, 3))
    scoring = Scoring(layers=scored, fusion=fusion, score=score, sigma_px=sigma_px)
    fitted, teacher = arrays(method.fitted_parts()), arrays(method.teacher)
    found = run(build_graph(header_of(method), fitted, teacher, scoring), images)
    assert list(found.distances) == list(scored)
    expected = anomaly_maps(found.distances, scoring, 64)
    np.testing.assert_allclose(found.anomaly_maps, expected, atol=2e-6, rtol=0)
    np.testing.assert_allclose(found.scores, scores(found.distances, scoring, 64), rtol=2e-6)


@pytest.mark.parametrize("part", ["tile", "bottle"])
def test_a_bundled_detector_is_within_1e_5_of_torch(part):
    path = BUNDLED / f"{part}.safetensors"
    detector = Detector.load(path)
    header, tensors = read_checkpoint(path)
    model = build_graph(header, tensors, read_tensors(find_teacher(header))[1])
    pictures = np.random.default_rng(1).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    pictures[1] = pictures[1, :1]  # stripes
    found, expected = run(model, pictures), detector.distances(pictures)
    for layer in (1, 2, 3):
        np.testing.assert_allclose(found.distances[layer], expected[layer], atol=1e-5, rtol=0)
    for one, wanted in zip(found.anomaly_maps, detector.judge(expected), strict=True):
        np.testing.assert_allclose(one, wanted.anomaly_map, atol=1e-5, rtol=0)


@pytest.mark.parametrize("factor", [0.0, 1e-9])
def test_features_that_vanish_are_as_far_apart_as_torch_says(images, factor):
    method = trained_looking("compact", (3,))
    for block in (method.teacher.layer3[1], method.student.layer1[1]):
        for convolution in (block.conv1, block.conv2):
            convolution.weight.data *= 0
        for norm in (block.bn1, block.bn2):
            norm.running_mean.data *= 0
            norm.bias.data *= 0
    for block in (method.teacher.layer3[0], method.student.layer1[0]):
        shortcut = block.downsample if hasattr(block, "downsample") else block.upsample
        for norm in (block.bn2, shortcut[1]):
            norm.weight.data *= factor
            norm.bias.data *= factor
    found, expected = run(graph_of(method), images).distances, eager(method, images)
    np.testing.assert_allclose(found[3], expected[3], atol=1e-5, rtol=0)
    if factor == 0:
        assert (found[3] == 1).all()


def test_nothing_enters_the_graph_that_its_outputs_do_not_need():
    method = trained_looking("compact", (1, 2, 3))
    whole = graph_of(method)
    for scored, fusion, score in [((3,), "sum", "max"), ((1, 2), "product", "sum")]:
        model = graph_of(method, layers=scored, fusion=fusion, score=score)
        onnx.checker.check_model(model, full_check=True)
        read = {name for node in model.graph.node for name in node.input}
        outputs = {output.name for output in model.graph.output}
        assert {name for node in model.graph.node for name in node.output} <= read | outputs
        assert {constant.name for constant in model.graph.initializer} <= read
        if scored == (3,):  # the student's finer stages are not needed
            assert model.ByteSize() < whole.ByteSize()


def test_a_model_says_what_it_is(tiny_checkpoint):
    header, tensors = read_checkpoint(tiny_checkpoint)
    teacher = read_tensors(find_teacher(header))[1]
    for scoring in (None, Scoring(**header["scoring"]), Scoring(layers=(2, 3))):
        model = build_graph(header, tensors, teacher, scoring)
        [said] = [json.loads(p.value) for p in model.metadata_props if p.key == "rd4ad"]
        assert said["size_px"] == 64
        assert said["category"] == "part"
        assert said["teacher_file"] == header["teacher_file"]
        is_own = scoring in (None, Scoring(**header["scoring"]))
        assert (said["threshold"] is not None) == is_own
        assert said["calibration"] == (header["calibration"] if is_own else None)


def test_what_has_no_graph_is_refused_by_name():
    method = trained_looking("compact", (2, 3))
    fitted, teacher = arrays(method.fitted_parts()), arrays(method.teacher)
    header = header_of(method)
    with pytest.raises(NoGraphError, match="riad"):
        build_graph(header | {"method": "riad"}, fitted, teacher)
    with pytest.raises(NoGraphError, match="'image'"):
        build_graph(header, fitted, teacher, Scoring(layers=(2, 3), score="image"))
    with pytest.raises(ValueError, match=r"trained on the layers 2\+3; it cannot score 1$"):
        build_graph(header, fitted, teacher, Scoring(layers=(1,)))


def test_missing_and_diverged_weights_are_refused_by_name():
    method = trained_looking("compact", (3,))
    fitted, teacher = arrays(method.fitted_parts()), arrays(method.teacher)
    header = header_of(method)
    fewer = {name: value for name, value in teacher.items() if "layer2.0.conv1" not in name}
    with pytest.raises(ValueError, match=r"lack 'teacher\.layer2\.0\.conv1.*another backbone"):
        build_graph(header, fitted, fewer)
    name = "student.layer1.1.bn2.running_var"
    fitted[name] = np.full_like(fitted[name], np.nan)
    with pytest.raises(ValueError, match=r"layer1\.1\.bn2\.running_var.*diverged"):
        build_graph(header, fitted, teacher)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("backbone", "bound"), [("resnet18", 1e-5), ("resnet50", 5e-4), ("wide_resnet50_2", 5e-4)]
)
def test_golden_weights_give_the_released_distances(shared_dir, backbone, bound):
    spec = importlib.util.spec_from_file_location("weights", shared_dir / "reference/weights.py")
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)

    def state(part: str, prefix: str = "") -> dict[str, np.ndarray]:
        return {prefix + k: v.numpy() for k, v in weights.state_dict(backbone, part).items()}

    header = {
        "method": "reverse_distillation", "backbone": backbone, "layers": [1, 2, 3],
        "size_px": 64, "scoring": {}, "teacher_file": FILE, "calibration": None, "config": {},
    }  # fmt: skip
    fitted = state("bn", "bottleneck.") | state("decoder", "student.")
    tensors = np.load(shared_dir / f"reference/golden_{backbone}.npz")
    found = run(build_graph(header, fitted, state("teacher")), tensors["images"])
    for image in (0, 1):
        for layer in (1, 2, 3):
            expected = tensors[f"distance_{layer}_{image}"]
            np.testing.assert_allclose(found.distances[layer][image], expected, atol=bound, rtol=0)
        smooth = tensors[f"smooth_add_{image}"]
        np.testing.assert_allclose(found.anomaly_maps[image], smooth, atol=3 * bound, rtol=0)
