"""CutPaste: what is pasted, the Gaussians and the map, and training from end to end."""

import math

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf

from rd4ad.config import TrainingConfig
from rd4ad.inference.detector import Detector
from rd4ad.methods import cutpaste
from rd4ad.methods.backbones import load_teacher
from rd4ad.methods.cutpaste import (
    CutPaste,
    Gaussians,
    jittered,
    patch_weights,
    patches_of,
    random_crops,
    three_ways,
)
from rd4ad.training.category import train

CONFIG = TrainingConfig(
    method="cutpaste", backbone="compact", size_px=64, epochs=2, batch_size=5, holdout=0.0
)


@pytest.fixture(scope="module")
def checkpoint(tiny_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("cutpaste") / "part.safetensors"
    train(tiny_data, "part", CONFIG, out=out)
    return out


def random(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_an_upright_paste_is_a_rectangle_of_the_same_image(monkeypatch):
    monkeypatch.setattr(cutpaste, "JITTER", 0.0)
    images = random(4, 3, 40, 40)
    sides = torch.tensor([[8.0, 8.0, 12.0, 5.0], [14.0, 14.0, 6.0, 20.0]])
    generator = torch.Generator().manual_seed(1)
    pasted = cutpaste.paste(images, sides, torch.zeros(4), generator)
    for image, other, (height, width) in zip(images, pasted, sides.T.tolist(), strict=True):
        changed = ((image - other).abs() > 1e-4).any(0).nonzero()
        top, left = changed.amin(0).tolist()
        bottom, right = (changed.amax(0) + 1).tolist()
        assert abs(bottom - top - height) <= 1
        assert abs(right - left - width) <= 1
        piece = other[:, top:bottom, left:right]
        windows = image.unfold(1, bottom - top, 1).unfold(2, right - left, 1)
        differences = (windows - piece[:, None, None]).abs().amax((0, 3, 4))
        assert differences.min() < 1e-4  # it is found whole somewhere in the image


def test_a_turned_strip_covers_its_area_and_lies_at_its_angle(monkeypatch):
    monkeypatch.setattr(cutpaste, "JITTER", 0.0)
    images = random(8, 3, 200, 200)
    sides = torch.tensor([[80.0] * 8, [16.0] * 8])
    angle = torch.deg2rad(torch.linspace(-45, 45, 8))
    pasted = cutpaste.paste(images, sides, angle, torch.Generator().manual_seed(4))
    n_whole = 0
    for mask, turned in zip((pasted - images).abs().sum(1) > 1e-3, angle.tolist(), strict=True):
        y, x = mask.nonzero().double().T
        if min(y.min(), x.min()) > 0 and max(y.max(), x.max()) < 199:  # not cut by the border
            n_whole += 1
            assert len(y) == pytest.approx(80 * 16, rel=0.05)
            axis = torch.linalg.eigh(torch.cov(torch.stack((y, x))))[1][:, -1]
            assert abs(math.atan(axis[1] / axis[0]) - turned) < 0.02
    assert n_whole > 3


def test_the_versions_are_normal_pasted_and_scarred():
    images = random(6, 3, 64, 64)
    versions = three_ways(images, 0.25, torch.Generator().manual_seed(0))
    assert versions.shape == (18, 3, 64, 64)
    assert 0 <= versions.min() <= versions.max() <= 1
    normal, pasted, scarred = versions.split(6)
    for version, low, high in ((pasted, 0.01, 0.16), (scarred, 1 / 4096, 30 / 4096)):
        share = (version != normal).any(1).float().mean((1, 2))
        assert (share >= low).all()
        assert (share <= high).all()
    again = three_ways(images, 0.25, torch.Generator().manual_seed(0))
    assert torch.equal(versions, again)


def test_jitter_keeps_to_its_range_and_treats_images_apart():
    images = 0.3 + 0.4 * random(2, 3, 16, 16)
    changed = jittered(images, torch.Generator().manual_seed(2))
    ratio = changed.mean((1, 2, 3)) / images.mean((1, 2, 3))
    assert ((ratio >= 0.9) & (ratio <= 1.1)).all()
    assert abs(ratio[0] - ratio[1]) > 1e-3
    alone = jittered(images[:1], torch.Generator().manual_seed(2))
    assert not torch.equal(alone[0], changed[1])


def test_hue_turns_colors_around_gray(monkeypatch):
    monkeypatch.setattr(
        torch,
        "rand",
        lambda n, b, *_, generator: torch.full((n, b, 1, 1, 1), 4 / 3),
    )
    monkeypatch.setattr(cutpaste, "JITTER", 0.2)  # drawn: 1/3 of a turn, and factors of 4/3
    red = torch.zeros(1, 3, 1, 1)
    red[0, 0] = 0.3
    changed = jittered(red, torch.Generator())[0, :, 0, 0]
    assert changed.argmax() == 1  # red has become green
    assert changed[0].item() == pytest.approx(changed[2].item(), abs=1e-6)


def test_crops_are_parts_of_their_image():
    images = random(5, 3, 20, 20)
    crops = random_crops(images, 6, torch.Generator().manual_seed(0))
    windows = images.unfold(2, 6, 1).unfold(3, 6, 1)  # (B, 3, 15, 15, 6, 6)
    found = (windows == crops[:, :, None, None]).all(5).all(4).all(1)
    assert found.sum((1, 2)).tolist() == [1] * 5


def test_each_position_has_its_own_mahalanobis_distance():
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 3, 5)))
    features[:, 1] = features[:, 1] * 4 + 10
    gaussians = Gaussians(3, 5)
    gaussians.fit(features)
    found = gaussians(features.float())
    for position, rows in enumerate(features.numpy().transpose(1, 0, 2)):
        estimate = LedoitWolf().fit(rows)
        expected = np.sqrt(estimate.mahalanobis(rows))
        assert np.allclose(found[:, position], expected, rtol=1e-3)


def test_what_is_usual_elsewhere_is_unusual_here():
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 2, 5)))
    features[:, 1] += 10
    gaussians = Gaussians(2, 5)
    gaussians.fit(features)
    usual, swapped = features.float(), features.flip(1).float()
    assert gaussians(swapped).min() > 2 * gaussians(usual).max()


def test_patches_lie_a_sixteenth_of_the_image_apart():
    images = random(2, 3, 64, 64)
    patches = patches_of(images)
    assert torch.equal(patches[1, 13 * 2 + 5], images[1, :, 8:24, 20:36])


def test_a_map_point_is_the_mean_of_patches_weighted_by_their_nearness():
    weights = patch_weights(64)
    points = [i * 63 / 15 + 0.5 for i in range(16)]
    centers = [4 * i + 8 for i in range(13)]
    for i, point in enumerate(points):
        near = [math.exp(-((point - c) ** 2) / (2 * 2.5**2)) for c in centers]
        assert np.allclose(weights[i], np.array(near) / sum(near), atol=1e-5)


def test_the_trunk_starts_as_the_teacher_and_trains_without_changing_it(checkpoint):
    method = CutPaste("compact", teacher=load_teacher("compact")[0]).train()
    images = random(2, 3, 64, 64)
    assert torch.equal(method.trunk(images)[2], method.teacher(images)[2])
    trained = Detector.load(checkpoint).engine.module
    teacher = load_teacher("compact")[0].state_dict()
    assert all(torch.equal(v, teacher[k]) for k, v in trained.teacher.state_dict().items())
    changed = {k for k, v in trained.trunk.state_dict().items() if not torch.equal(v, teacher[k])}
    assert "layer3.0.conv1.weight" in changed
    assert not any("running" in key for key in changed)


def test_one_image_has_no_covariance():
    with pytest.raises(ValueError, match="at least 2 normal images, got 1"):
        CutPaste("compact").fit(np.zeros((1, 64, 64, 3), np.uint8), None)
