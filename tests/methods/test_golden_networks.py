"""The networks against golden tensors of the released code (same weights, same images)."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from rd4ad.inference.torch_engine import normalize
from rd4ad.methods.backbones import fill_module
from rd4ad.methods.reverse_distillation import ReverseDistillation
from rd4ad.scoring import Scoring, anomaly_maps, fused_maps, scores

pytestmark = pytest.mark.shared
BACKBONES = ("resnet18", "resnet50", "wide_resnet50_2")


def golden_method(shared_dir: Path, backbone: str) -> ReverseDistillation:
    spec = importlib.util.spec_from_file_location("weights", shared_dir / "reference/weights.py")
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    method = ReverseDistillation(backbone)
    fill_module(method.teacher, weights.state_dict(backbone, "teacher"), "golden teacher")
    fill_module(method.bottleneck, weights.state_dict(backbone, "bn"), "golden bn")
    fill_module(method.student, weights.state_dict(backbone, "decoder"), "golden decoder")
    return method


@pytest.fixture(scope="module", params=BACKBONES)
def golden(request, shared_dir):
    method = golden_method(shared_dir, request.param).eval()
    tensors = np.load(shared_dir / f"reference/golden_{request.param}.npz")
    with torch.no_grad():
        maps = method.distance_maps(normalize(tensors["images"]))
    return tensors, {layer: stack.numpy() for layer, stack in maps.items()}


def test_distance_maps_equal_the_released_ones(golden):
    tensors, distances = golden
    for layer in (1, 2, 3):
        for image in (0, 1):
            expected = tensors[f"distance_{layer}_{image}"]
            np.testing.assert_allclose(distances[layer][image], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("fusion", "key"), [("sum", "add"), ("product", "mul")])
def test_fused_and_smoothed_maps_equal_the_released_ones(golden, fusion, key):
    tensors, distances = golden
    scoring = Scoring(fusion=fusion)
    for image in (0, 1):
        fused = fused_maps(distances, scoring, 64)[image]
        np.testing.assert_allclose(fused, tensors[f"map_{key}_{image}"], atol=1e-4, rtol=0)
        smooth = anomaly_maps(distances, scoring, 64)[image]
        np.testing.assert_allclose(smooth, tensors[f"smooth_{key}_{image}"], atol=1e-4, rtol=0)


def test_scores_equal_the_released_ones(golden):
    tensors, distances = golden
    largest = scores(distances, Scoring(score="max"), 64)
    total = scores(distances, Scoring(score="sum"), 64)
    for image in (0, 1):
        assert largest[image] == pytest.approx(tensors[f"score_max_{image}"], abs=1e-4)
        assert total[image] == pytest.approx(tensors[f"score_sum_{image}"], rel=1e-6)


def training_losses(method: ReverseDistillation, images: np.ndarray, steps: int) -> np.ndarray:
    method = method.double().train()
    features = method.teacher(normalize(images).double())
    parameters = method.fitted_parts().parameters()
    optimizer = torch.optim.Adam(parameters, lr=0.005, betas=(0.5, 0.999))
    losses = []
    for _ in range(steps):
        loss = method.loss(features)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


@pytest.mark.parametrize(
    ("backbone", "steps"), [("resnet18", 4), ("resnet50", 2), ("wide_resnet50_2", 2)]
)
def test_training_losses_equal_the_released_ones(shared_dir, backbone, steps):
    # Adam's first steps move every weight by the learning rate in the direction of its gradient's
    # sign. Where the gradient is as small as rounding, the sign is chance, and in the 50-layer nets
    # the third and fourth losses differ by 0.1 to 1.6 percent between one thread and two, AVX2 and
    # AVX-512, float32 and float64 of one and the same code. Only losses that rounding does not
    # decide are compared; float64 makes ours the same on every machine.
    tensors = np.load(shared_dir / f"reference/golden_{backbone}.npz")
    losses = training_losses(golden_method(shared_dir, backbone), tensors["images"], steps)
    np.testing.assert_allclose(losses, tensors["train_losses"][:steps], rtol=1e-3)
