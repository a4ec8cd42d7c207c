"""RIAD: its losses against slow versions from the definitions, and training from end to end."""

import math

import numpy as np
import pytest
import torch

from rd4ad.config import TrainingConfig
from rd4ad.inference.torch_engine import normalize
from rd4ad.methods.riad import (
    CELLS_PX,
    GMS_CONSTANT,
    Riad,
    deal_cells,
    gradient_distance,
    inpainting_loss,
    structural_similarity,
    unit_range,
)

CONFIG = TrainingConfig(method="riad", size_px=64, epochs=2, holdout=0.0)


def test_every_pixel_is_filled_in_once_from_an_image_without_it():
    method = Riad("none").eval()
    seen = []

    def copies(_, inputs, output):
        seen.append(inputs[0])
        return inputs[0] + 0.25

    method.unet.register_forward_hook(copies)
    images = torch.rand(2, 3, 64, 64) + 1
    sets = deal_cells(64, 8, torch.Generator().manual_seed(1))
    restored = method.inpaint(images, sets)
    assert torch.equal(restored, torch.full_like(images, 0.25))  # nothing of itself was visible
    hidden = torch.stack([view == 0 for view in seen]).sum(0)
    assert torch.equal(hidden, torch.ones_like(hidden))


@pytest.mark.parametrize("cell_px", CELLS_PX)
def test_cells_are_dealt_evenly_and_again_each_time(cell_px):
    generator = torch.Generator().manual_seed(0)
    first, second = (deal_cells(64, cell_px, generator) for _ in range(2))
    cells = first[::cell_px, ::cell_px]
    assert torch.equal(torch.kron(cells, torch.ones(cell_px, cell_px, dtype=torch.long)), first)
    counts = cells.flatten().bincount(minlength=3)
    assert counts.max() - counts.min() <= 1
    assert not torch.equal(first, second)


def slow_gradient_distance(a, b):
    """One scale of the distance, pixel by pixel, of gray images (S, S)."""
    size = len(a)

    def length(image, y, x):
        rows, columns = ([min(max(c + d, 0), size - 1) for d in (-1, 0, 1)] for c in (y, x))
        gx = sum(image[r, columns[2]] - image[r, columns[0]] for r in rows) / 3
        gy = sum(image[rows[2], c] - image[rows[0], c] for c in columns) / 3
        return math.sqrt(gx**2 + gy**2)

    distance = np.zeros((size, size))
    for y in range(size):
        for x in range(size):
            ga, gb = length(a, y, x), length(b, y, x)
            c = GMS_CONSTANT
            distance[y, x] = 1 - (2 * ga * gb + c) / (ga**2 + gb**2 + c)
    return distance


def test_the_gradient_distance_is_the_mean_of_four_scales():
    a, b = torch.rand(2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(16, 16)
    for scale in (1, 2, 4, 8):
        gray_a, gray_b = (
            i.mean((0, 1)).reshape(16 // scale, scale, 16 // scale, scale).mean((1, 3))
            for i in (a, b)
        )
        one = torch.tensor(slow_gradient_distance(gray_a.numpy(), gray_b.numpy()))
        expected += torch.nn.functional.interpolate(
            one[None, None].float(), size=16, mode="bilinear"
        )[0, 0]
    assert torch.allclose(gradient_distance(a, b)[0], expected / 4, atol=1e-5)


def test_ssim_of_a_window_follows_its_definition():
    a, b = torch.rand(2, 1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    weights = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    weights = np.outer(weights, weights) / weights.sum() ** 2
    wa, wb = (image[0, 2, 1:12, 0:11].double().numpy() for image in (a, b))
    ma, mb = (weights * wa).sum(), (weights * wb).sum()
    va, vb = (weights * (wa - ma) ** 2).sum(), (weights * (wb - mb) ** 2).sum()
    cov = (weights * (wa - ma) * (wb - mb)).sum()
    c1, c2 = 0.01**2, 0.03**2
    expected = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    similarity = structural_similarity(a, b)
    assert similarity.shape == (1, 3, 2, 2)
    assert similarity[0, 2, 1, 0].item() == pytest.approx(expected, abs=1e-5)


def test_the_loss_of_a_training_in_bfloat16_is_that_in_float32():
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) / 10 + 0.5
    restored = images.flip(3).requires_grad_()
    (expected,) = torch.autograd.grad(inpainting_loss(images, restored), restored)
    with torch.autocast("cpu", torch.bfloat16):
        loss = inpainting_loss(images, restored)
    (gradient,) = torch.autograd.grad(loss, restored)
    assert torch.equal(gradient, expected)


def test_the_loss_has_finite_gradients_even_where_the_image_is_flat():
    restored = torch.full((1, 3, 32, 32), 0.5, requires_grad=True)
    inpainting_loss(torch.zeros(1, 3, 32, 32), restored).backward()
    assert restored.grad.isfinite().all()


def test_the_pixels_of_a_normalized_image_are_found_again():
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    method = Riad("none").eval()
    seen = []
    method.unet.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    method.distance_maps(normalize(images))
    assert len(seen) == 12  # four sizes of cells, three sets each
    assert torch.allclose(sum(seen[:3]), 2 * unit_range(images), atol=1e-5)
