from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.spatial.distance import mahalanobis

from rd4ad import Detector
from rd4ad.config import TrainingConfig
from rd4ad.data.images import read_image
from rd4ad.inference.torch_engine import normalize
from rd4ad.methods import padim
from rd4ad.methods.padim import Gaussians, Padim, joined
from rd4ad.training.category import train

CONFIG = TrainingConfig(method="padim", backbone="compact", size_px=64, holdout=0.0)


@pytest.fixture(scope="module")
def checkpoint(tiny_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("padim") / "part.safetensors"
    train(tiny_data, "part", CONFIG, out=out)
    return out


def images_of(data, folder):
    return np.stack([read_image(path) for path in sorted((data / "part" / folder).iterdir())])


@pytest.mark.parametrize("n_images", [4, 30])  # fewer than dimensions, and more
def test_distances_are_mahalanobis_of_each_positions_own_covariance(n_images, monkeypatch):
    monkeypatch.setattr(padim, "COMPARED_AT_ONCE", 3)  # not a divisor of 7
    generator = np.random.default_rng(0)
    scales = generator.uniform(0.1, 3, (1, 6, 7))
    samples = (generator.normal(5, 1, (n_images, 6, 7)) * scales).astype(np.float32)
    tests = (generator.normal(5, 2, (2, 6, 7)) * scales).astype(np.float32)
    gaussians = Gaussians(n_channels=6, n_dimensions=6, n_positions=7)
    gaussians.fit(torch.from_numpy(samples[:, :, :4]), first=0)
    gaussians.fit(torch.from_numpy(samples[:, :, 4:]), first=4)
    found = gaussians.distances(torch.from_numpy(tests))
    for position in range(7):
        known = samples[:, :, position].astype(np.float64)
        inverse = np.linalg.inv(np.cov(known, rowvar=False) + 0.01 * np.identity(6))
        for image in range(2):
            expected = mahalanobis(tests[image, :, position], known.mean(0), inverse)
            assert found[image, position].item() == pytest.approx(expected, rel=1e-4)


def test_coarse_positions_are_repeated_over_the_fine_ones_that_they_cover():
    fine, coarse = torch.randn(2, 3, 8, 8), torch.randn(2, 5, 2, 2)
    x = joined([fine, coarse])
    assert x.shape == (2, 8, 8, 8)
    for row, column in np.ndindex(8, 8):
        expected = torch.cat([fine[:, :, row, column], coarse[:, :, row // 4, column // 4]], 1)
        assert torch.equal(x[:, :, row, column], expected)


def test_channels_chosen_before_joining_are_those_of_the_joined_ones():
    torch.manual_seed(3)
    gaussians = Gaussians(n_channels=14, n_dimensions=6, n_positions=16)
    assert len(set(gaussians.channels.tolist())) == 6
    features = [torch.randn(2, c, side, side) for c, side in ((2, 4), (4, 2), (8, 1))]
    chosen = joined(gaussians.chosen(features))
    assert torch.equal(chosen, joined(features)[:, gaussians.channels])


@pytest.mark.parametrize("layers", [(1, 2, 3), (2, 3), (3,)])
def test_fitting_by_bands_fits_every_position_to_its_own_embeddings(layers, tiny_data, tmp_path):
    config = replace(CONFIG, layers=layers)
    method = train(tiny_data, "part", config, out=tmp_path / "part.safetensors").engine.module
    images = normalize(images_of(tiny_data, "train/good"))
    with torch.no_grad():
        x = joined(method.chosen(images)).flatten(2)
    side = 16 // 2 ** (min(layers) - 1)
    assert method.gaussians.mean.shape == (x.shape[1], side * side)
    torch.testing.assert_close(method.gaussians.mean, x.mean(0), rtol=1e-4, atol=1e-5)


def test_the_published_numbers_of_channels_are_taken_where_they_are_there():
    for backbone, layers, expected in (
        ("resnet18", (1, 2, 3), 100),
        ("wide_resnet50_2", (1, 2, 3), 550),
        ("resnet18", (1,), 64),
        ("compact", (1,), 20),
    ):
        config = TrainingConfig(method="padim", backbone=backbone, layers=layers)
        assert Padim.settings_for(config, 10)["n_dimensions"] == expected


def test_half_a_checkpoint_keeps_the_distances_to_a_thousandth(checkpoint, tiny_data, tmp_path):
    out = tmp_path / "half.safetensors"
    train(tiny_data, "part", CONFIG, out=out, store="float16")
    images = images_of(tiny_data, "test/spot")
    whole, half = (Detector.load(path).distances(images)[1] for path in (checkpoint, out))
    np.testing.assert_allclose(half, whole, rtol=1e-2)
    assert out.stat().st_size < 0.6 * checkpoint.stat().st_size


def test_the_same_seed_gives_the_same_gaussians_and_another_seed_others(
    checkpoint, tiny_data, tmp_path
):
    torch.rand(7)  # whatever was drawn before must not matter
    tensors = [load_file(checkpoint)]
    for name, seed in (("same", 0), ("other", 1)):
        out = tmp_path / f"{name}.safetensors"
        train(tiny_data, "part", replace(CONFIG, seed=seed), out=out)
        tensors.append(load_file(out))
    first, same, other = tensors
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["gaussians.channels"], other["gaussians.channels"])
