"""What runs on a GPU says what the CPU says; all of it is skipped where there is none."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from rd4ad import Detector, TrainingConfig, train
from rd4ad.catalogue import METHODS
from rd4ad.cli.parser import main
from rd4ad.data.folders import open_category
from rd4ad.data.images import read_images
from rd4ad.export import accuracy_gate
from rd4ad.methods.backbones import load_teacher
from rd4ad.methods.reverse_distillation import ReverseDistillation
from rd4ad.scoring import Scoring, anomaly_maps
from rd4ad.training.session import Reporter, teacher_features

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
    # A recorded backward pass ran on another stream than the optimizer; torch waits for it.
    pytest.mark.filterwarnings("ignore:The AccumulateGrad node's stream:UserWarning"),
]


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Products of whole float32 numbers; the hardware's shorter ones move maps by thousandths."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (70, 64, 64, 3), np.uint8)


def both(checkpoint) -> tuple[Detector, Detector]:
    cpu, gpu = (
        Detector.load(checkpoint, engine="torch", device=device) for device in ("cpu", "cuda")
    )
    return cpu, gpu


def test_distances_are_those_of_the_cpu_whatever_the_number_of_images(tiny_checkpoint, images):
    cpu, gpu = both(tiny_checkpoint)
    assert Detector.load(tiny_checkpoint, device="cuda").engine.name == "torch"
    for n_images in (1, 3, 64, 70):
        expected, found = (d.distances(images[:n_images]) for d in (cpu, gpu))
        assert list(found) == list(expected)
        for layer, stack in expected.items():
            np.testing.assert_allclose(found[layer], stack, atol=1e-4)


def test_a_batch_leaves_nothing_in_the_next(tiny_checkpoint, images):
    _, gpu = both(tiny_checkpoint)
    first = gpu.distances(images[:5])
    kept = {layer: stack.copy() for layer, stack in first.items()}
    gpu.distances(images[5:64])
    for layer, stack in gpu.distances(images[:5]).items():
        np.testing.assert_array_equal(first[layer], kept[layer])
        np.testing.assert_allclose(stack, kept[layer], atol=1e-6)


def test_threads_get_the_maps_of_their_own_images(tiny_checkpoint, images):
    _, gpu = both(tiny_checkpoint)
    expected = [gpu.distances(image[None])[3] for image in images[:16]]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: gpu.distances(image[None])[3], images[:16]))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("fusion", ["sum", "product"])
def test_anomaly_maps_are_those_of_numpy(tiny_checkpoint, fusion):
    _, gpu = both(tiny_checkpoint)
    rng = np.random.default_rng(0)
    distances = {
        layer: rng.random((3, 64 >> layer, 64 >> layer), np.float32) for layer in (1, 2, 3)
    }
    scoring = Scoring(fusion=fusion, sigma_px=2.0)
    np.testing.assert_allclose(
        gpu.engine.anomaly_maps(distances, scoring, 64),
        anomaly_maps(distances, scoring, 64),
        atol=1e-5,
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_method_fits_there_and_judges_alike_here(method, tiny_data, tmp_path, images):
    config = TrainingConfig(
        method=method,
        backbone="none" if METHODS[method].backbones == ("none",) else "compact",
        size_px=64,
        epochs=METHODS[method].epochs and 2,
        batch_size=4,
        holdout=0.2,
    )
    out = tmp_path / "part.safetensors"
    trained = train(tiny_data, "part", config, out=out, device="cuda")
    assert trained.config["device"] == torch.cuda.get_device_name()
    cpu, gpu = both(out)
    assert gpu.calibration == trained.calibration
    category = open_category(tiny_data, "part")
    scores = [
        [one.score for one in detector.predict([sample.path for sample in category.test])]
        for detector in (cpu, gpu)
    ]
    np.testing.assert_allclose(scores[1], scores[0], rtol=2e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_recorded_steps_are_those_of_the_plain_loss(precision):
    config = TrainingConfig(backbone="compact", precision=precision)

    def trained(is_recorded: bool) -> tuple[list[float], dict[str, torch.Tensor]]:
        torch.manual_seed(0)
        method = ReverseDistillation("compact").cuda().train()
        parts = method.fitted_parts().to(memory_format=torch.channels_last)
        batch = method.teacher(torch.randn(6, 3, 64, 64, device="cuda"))
        optimizer = torch.optim.SGD(parts.parameters(), lr=0.1)
        loss_of = method.step_loss(batch, config) if is_recorded else method.loss
        losses = []
        for n_images in (6, 4, 6, 6):  # the second is of another size, as an epoch's last
            with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
                loss = loss_of([layer[:n_images] for layer in batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses, parts.state_dict()

    (expected, wanted), (found, state) = trained(False), trained(True)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found[-1] < found[0]
    for name, tensor in wanted.items():
        torch.testing.assert_close(state[name], tensor, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_loss_falls_as_it_does_on_the_cpu(precision, tiny_data, tmp_path):
    losses = []
    for device in ("cpu", "cuda"):
        config = TrainingConfig(
            backbone="compact", size_px=64, epochs=4, batch_size=4, holdout=0, precision=precision
        )
        out = tmp_path / f"{device}.safetensors"
        losses.append(train(tiny_data, "part", config, out=out, device=device).config["final_loss"])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_features_lie_on_the_gpu_unless_they_are_larger_than_allowed(tiny_data, tmp_path):
    teacher, _ = load_teacher("compact")
    category = open_category(tiny_data, "part")
    few = read_images([sample.path for sample in category.train], 64).images

    def kept(cache_mib: int, where: Path) -> list[torch.Tensor]:
        return teacher_features(
            teacher.cuda(), few, device="cuda", cache_mib=cache_mib,
            file=where, report=Reporter(None),
        )  # fmt: skip

    inside, outside = kept(4096, tmp_path / "a"), kept(0, tmp_path / "b")
    assert {stack.device.type for stack in inside} == {"cuda"}
    assert {stack.device.type for stack in outside} == {"cpu"}
    for one, other in zip(inside, outside, strict=True):
        torch.testing.assert_close(one.cpu(), other)


def test_float16_is_judged_and_written_there(tiny_checkpoint, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(accuracy_gate, "GATE", 0.05)
    out = tmp_path / "half.safetensors"
    options = ["--float16", "--device", "cuda", "--data", str(tiny_data), "--category", "part"]
    assert main(["export", str(tiny_checkpoint), "--out", str(out), *options]) == 0
    whole, lower = (Detector.load(path, device="cuda") for path in (tiny_checkpoint, out))
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    expected, found = (d.predict(image)[0] for d in (whole, lower))
    assert lower.engine.float16
    assert found.anomaly_map.dtype == np.float32
    np.testing.assert_allclose(found.anomaly_map, expected.anomaly_map, atol=0.02)
