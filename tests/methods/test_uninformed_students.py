import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rd4ad import Detector, evaluate
from rd4ad.config import TrainingConfig
from rd4ad.data.images import read_image
from rd4ad.inference.torch_engine import normalize
from rd4ad.methods.uninformed_students import (
    FIELDS,
    Ensemble,
    PatchNetwork,
    correlation,
    moments,
    patches_of,
)
from rd4ad.training.category import train

CONFIG = TrainingConfig(
    method="uninformed_students", backbone="compact", layers=(1,), size_px=64, epochs=2,
    batch_size=4, learning_rate=0.001, holdout=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tiny_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("us") / "part.safetensors"
    train(tiny_data, "part", CONFIG, out=out)
    return out


def images_of(data, folder):
    return np.stack([read_image(path) for path in sorted((data / "part" / folder).iterdir())])


def same_weights(a, b):
    first, second = load_file(a), load_file(b)
    return all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_a_whole_image_gives_the_descriptors_of_its_patches(layer):
    torch.manual_seed(0)
    network, side = PatchNetwork(layer), FIELDS[layer]
    image = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        dense = network(image)
        assert dense.shape[2:] == (96 // network.stride, 96 // network.stride)
        row, column = (48 // network.stride, 40 // network.stride)
        y, x = (index * network.stride - network.margin for index in (row, column))
        patch = image[:, :, y : y + side, x : x + side]
        assert patch.shape[2:] == (side, side)
        torch.testing.assert_close(network.describe(patch)[0, :, 0, 0], dense[0, :, row, column])


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_a_descriptor_sees_its_patch_alone_and_lies_in_the_middle_of_its_cell(layer):
    network = PatchNetwork(layer)
    image = torch.randn(1, 3, 160, 160, requires_grad=True)
    at = 80 // network.stride
    network(image)[0, :, at, at].sum().backward()
    seen = image.grad[0].abs().sum(0).nonzero()
    first, last = seen.min(0).values, seen.max(0).values
    assert (last - first + 1).max() <= FIELDS[layer]
    corner = at * network.stride
    assert corner - network.margin <= first.min()
    assert last.max() < corner + network.stride + network.margin


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_differences_between_patches_survive_a_fresh_network(layer):
    torch.manual_seed(0)
    patches = torch.rand(64, 3, 1, 1) + 0.2 * torch.randn(64, 3, FIELDS[layer], FIELDS[layer])
    with torch.no_grad():
        answers = PatchNetwork(layer).describe(patches).flatten(1)
    deviation, mean = torch.std_mean(answers, 0)
    assert (deviation > 0.2 * mean.abs()).float().mean() > 0.9


def test_error_and_variance_are_those_of_the_definition():
    torch.manual_seed(0)
    ensemble = Ensemble(1)
    ensemble.center.normal_()
    ensemble.spread.uniform_(0.5, 2)
    ensemble.scales.copy_(torch.tensor([3.0, 0.5]))
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        error, variance = ensemble.error_and_variance(image)
        y = (ensemble.descriptor(image) - ensemble.center) / ensemble.spread
        answers = [student(image)[0, :, 2, 5].tolist() for student in ensemble.students]
        distances = ensemble(image)
    wanted = y[0, :, 2, 5].tolist()
    mean = [sum(values) / 3 for values in zip(*answers, strict=True)]
    e = sum((m - w) ** 2 for m, w in zip(mean, wanted, strict=True))
    v = sum(sum(a * a for a in answer) for answer in answers) / 3 - sum(m * m for m in mean)
    assert error[0, 2, 5].item() == pytest.approx(e, rel=1e-4)
    assert variance[0, 2, 5].item() == pytest.approx(v, rel=1e-3)
    assert distances[0, 2, 5].item() == pytest.approx(e / 3 + v / 0.5, rel=1e-3)


def test_correlation_is_that_of_numpy():
    values = torch.randn(20, 6)
    matrix = np.corrcoef(values.numpy(), rowvar=False)
    expected = (matrix**2).sum() - 6
    assert correlation(values).item() == pytest.approx(expected, rel=1e-4)


def test_moments_over_batches_are_those_of_all():
    values = torch.randn(5, 3, 4, 4) * 2 + 7
    mean, deviation = moments(values.split(2))
    flat = values.transpose(0, 1).flatten(1).double().numpy()
    np.testing.assert_allclose(mean.numpy(), flat.mean(1), rtol=1e-5)
    np.testing.assert_allclose(deviation.numpy(), flat.std(1), rtol=1e-5)


def test_patches_lie_within_their_image_and_one_in_ten_is_gray():
    images = torch.stack([torch.full((3, 64, 64), float(k)) for k in range(4)])
    images[:, 1] += 0.5
    patches = patches_of(images, 17, 400, torch.Generator().manual_seed(0))
    assert patches.shape == (400, 3, 17, 17)
    assert patches[:, 0].flatten(1).std(1).max() < 1e-6  # no other image, nothing from outside
    is_gray = (patches[:, 0] == patches[:, 1]).flatten(1).all(1)
    assert 0.05 < is_gray.float().mean() < 0.15
    colored = patches[~is_gray][:, 0, 0, 0]
    assert sorted(set(colored.round().tolist())) == [0, 1, 2, 3]  # each image gives its share


def test_a_patch_shows_the_image_between_half_and_twice_its_size():
    ramp = torch.arange(128.0).expand(1, 3, 128, 128)  # a pixel's value is its column
    patches = patches_of(ramp, 17, 200, torch.Generator().manual_seed(0))
    steps = patches[:, 0].diff(dim=-1).mean((1, 2))
    assert steps.min() >= 0.5 - 1e-3
    assert steps.max() <= 2 + 1e-3
    assert patches.min() >= 0
    assert patches.max() <= 127


def test_errors_and_variances_of_the_normal_images_have_deviation_one(checkpoint, tiny_data):
    images = normalize(images_of(tiny_data, "train/good"))
    for ensemble in Detector.load(checkpoint).engine.module.ensembles.values():
        with torch.no_grad():
            measured = torch.stack(ensemble.error_and_variance(images)).flatten(1)
        deviations = measured.std(1, correction=0) / ensemble.scales
        torch.testing.assert_close(deviations, torch.ones(2), rtol=1e-3, atol=0.0)


def test_a_run_holds_a_map_a_receptive_field(checkpoint, tiny_data, tmp_path):
    run = evaluate(Detector.load(checkpoint), tiny_data, "part", dataset="tiny", results=tmp_path)
    default = run.metrics[run.metrics.is_default].set_index("metric").value
    assert {"image_auroc", "pixel_auroc", "aupro"} <= set(default.index)
    assert np.isfinite(default[["image_auroc", "pixel_auroc"]]).all()
