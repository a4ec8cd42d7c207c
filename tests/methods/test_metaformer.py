"""Metaformer: its first-order step, its prior and its tasks, and training from end to end."""

import numpy as np
import torch
import torch.nn.functional as F

from rd4ad.config import TrainingConfig
from rd4ad.inference.torch_engine import normalize
from rd4ad.methods import metaformer
from rd4ad.methods.metaformer import Block, Metaformer, as_task, error_map, salience
from rd4ad.methods.riad import gradient_distance, unit_range

CONFIG = TrainingConfig(
    method="metaformer", backbone="compact", size_px=64, epochs=2, batch_size=5, holdout=0.0
)


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_attention_follows_its_definition_and_the_prior():
    torch.manual_seed(0)
    block = Block(8)
    tokens, prior = random(1, 5, 8), random(1, 5, seed=1)
    query, key, value = block.qkv(block.norm(tokens))[0].chunk(3, 1)
    heads = []
    for h in range(metaformer.N_HEADS):
        q, k, v = (part[:, 2 * h : 2 * h + 2] for part in (query, key, value))
        attention = torch.exp(q @ k.T / 2**0.5) * (0.1 + prior)
        heads.append(attention / attention.sum(1, keepdim=True) @ v)
    mixed = tokens + block.out(torch.cat(heads, 1))
    expected = mixed + block.mlp(block.norm2(mixed))
    assert torch.allclose(block(tokens, prior), expected, atol=1e-6)


def test_the_meta_gradient_is_that_of_the_query_at_the_adapted_weights():
    torch.manual_seed(0)
    method = Metaformer("compact")
    support, query, prior = random(2, 3, 32, 32), random(2, 3, 32, 32, seed=1), torch.ones(2, 2, 2)
    before = {k: v.detach().clone() for k, v in method.reconstructor.named_parameters()}
    method.loss(query, prior, method.adapted(support, prior)).backward()
    meta = {k: v.grad.clone() for k, v in method.reconstructor.named_parameters()}

    def loss(images):
        method.zero_grad()
        restored = method.reconstructor(images, prior)
        value = error_map(images, restored, prior).mean()
        value.backward()
        return value.item()

    losses = []
    for _ in range(metaformer.INNER_STEPS):  # plain gradient descent on the support
        losses.append(loss(support))
        with torch.no_grad():
            for weight in method.reconstructor.parameters():
                weight -= metaformer.INNER_RATE * weight.grad
    assert loss(support) < losses[0]
    loss(query)
    for key, weight in method.reconstructor.named_parameters():
        assert not torch.equal(weight, before[key])
        assert torch.allclose(weight.grad, meta[key], atol=1e-6, rtol=1e-3), key


def test_salience_is_the_distance_from_the_mean_of_the_border():
    features = random(2, 6, 4, 5) - 0.3
    on_border = [(y, x) for y in range(4) for x in range(5) if y in (0, 3) or x in (0, 4)]
    for image, found in zip(features, salience(features), strict=True):
        border = torch.stack([image[:, y, x] for y, x in on_border]).mean(0)
        unlike = 1 - F.cosine_similarity(image, border[:, None, None], dim=0)
        assert torch.allclose(found, unlike / unlike.max(), atol=1e-6)


def test_an_image_without_any_contrast_has_a_flat_prior():
    assert salience(torch.ones(1, 3, 4, 4)).max() < 0.5


def test_a_bright_spot_stands_out_in_the_prior(tiny_data):
    from rd4ad.data.images import read_image, resize_image
    from rd4ad.methods.backbones import load_teacher

    method = Metaformer("compact", teacher=load_teacher("compact")[0])
    paths = sorted((tiny_data / "part/test/spot").glob("*.png"))
    images = np.stack([resize_image(read_image(path), 64) for path in paths])
    prior = method.prior(normalize(images))
    assert prior.shape == (4, 4, 4)
    assert ((prior >= 0) & (prior <= 1)).all()
    bright = F.avg_pool2d(unit_range(images).mean(1, keepdim=True), 16)[:, 0]
    for where, light in zip(prior, bright, strict=True):
        assert where[light > light.mean() + light.std()].mean() > where.mean()


def test_errors_weigh_twice_as_much_on_the_instance():
    images, restored = random(1, 3, 32, 32), random(1, 3, 32, 32, seed=1)
    on = error_map(images, restored, torch.ones(1, 2, 2))
    off = error_map(images, restored, torch.zeros(1, 2, 2))
    squared = ((images - restored) ** 2).sum(1) / 3
    assert torch.allclose(on, squared + gradient_distance(images, restored), atol=1e-6)
    assert torch.allclose(on, 2 * off)


def test_a_task_transforms_its_images_alike_and_the_prior_with_them():
    coarse = random(3, 4, 4)
    images = F.interpolate(coarse[:, None], scale_factor=4).expand(-1, 3, -1, -1).clone()
    images[:, 1] *= 0.5
    seen = set()
    for seed in range(60):
        task, prior = as_task(images, coarse, torch.Generator().manual_seed(seed))
        values = F.avg_pool2d(task, 4)  # (B, 3, 4, 4): each channel the prior, halved, or negative
        matches = [
            (channel, factor, sign)
            for channel in range(3)
            for factor in (1.0, 0.5)
            for sign in (1, -1)
            if torch.allclose(
                values[:, channel], factor * prior if sign > 0 else 1 - factor * prior, atol=1e-6
            )
        ]
        assert len(matches) == 3
        assert len({sign for *_, sign in matches}) == 1
        seen.add((tuple(matches), tuple(prior[0, 0].tolist())))
    assert len(seen) > 25  # of 8 layouts, 3 orders that differ, 2 signs
