"""Unsupervised Metaformer, MF (Wu, Chen, Fuh, Liu, ICCV 2021): reconstruction, meta-learned.

An autoencoder with a transformer inside is trained so that a few steps adapt it to the normal
images of a new kind, and it attends to the instance in the picture; where it fails to restore an
image, the image is anomalous. No released code was found, and this module follows the paper's
abstract and a published summary: read it as the closest small version, not as a copy.

What those sources state:
- Meta-learning (MAML, Finn et al., ICML 2017): a task is few-shot image reconstruction. In
  meta-training, weights adapted on a task's support images are judged on its query images; then
  the meta-learned weights are adapted to the normal images of the category at hand.
- Instance-aware attention: a prior of where the instance is, from saliency, regularises the
  autoencoder and makes its restoration errors count there.
- The anomaly map comes from the difference between image and reconstruction.

What is chosen here, and why:
- Tasks: the paper meta-trains on images of other kinds, none of which are at hand. A task is a
  batch of the normal images under one draw out of 96 transformations (quarter turns, mirroring,
  order of the color channels, negative), which makes kinds that differ in layout and color;
  half of the batch is the support, half the query.
- First-order MAML: weights w' = w - a grad L(w; support), three steps of a = 0.01, and the gradient
  of L(w'; query), taken at w', steps w (Adam). Second derivatives would double time and memory.
- Two stages of `epochs` each: meta-training, then adaptation to the untransformed images.
- Network: four convolutions of stride 2 to S/16, four transformer blocks of 128 channels, mirrored
  transposed convolutions; no skips past the middle. A depthwise convolution tells positions apart
  (Chu et al., ICLR 2023), so any size goes. Group norm, for batch norm mixes support and query.
- Prior p, from the frozen backbone at the chosen layer (layer3) in place of a saliency network:
  1 - cosine of a position's feature and the mean feature along the image's border, divided by its
  maximum in the image. It enters twice: every attention score of a position j gains log(0.1 + p_j),
  and every pixel's error has the weight 0.5 + p/2, in the loss as in the map.
- Error of a pixel: squared error (mean of the channels) + multi-scale gradient magnitude distance,
  as in `rd4ad.methods.riad`; the map is kept at a quarter of the resolution and smoothed by 4 px.
- 100 epochs, batches of 8, Adam with 1e-3.
"""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from rd4ad.methods.backbones import Teacher
from rd4ad.methods.method import Method, Session
from rd4ad.methods.riad import MEAN, STD, gradient_distance, unit_range

WIDTHS = (3, 32, 64, 128, 128)
N_BLOCKS = 4
N_HEADS = 4
TOKEN_PX = 16
ATTENTION_FLOOR = 0.1
INNER_STEPS = 3
INNER_RATE = 0.01


class Block(nn.Module):
    """A transformer block whose attention is drawn to where the prior is high."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor, prior: Tensor) -> Tensor:
        """Return the tokens (B, N, C) mixed, for a prior (B, N) in [0, 1]."""
        batch, n, width = tokens.shape
        qkv = self.qkv(self.norm(tokens)).view(batch, n, 3, N_HEADS, width // N_HEADS)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (B, heads, N, C / heads) each
        bias = (ATTENTION_FLOOR + prior).log()[:, None, None].expand(-1, -1, n, -1)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        tokens = tokens + self.out(mixed.transpose(1, 2).flatten(2))
        return tokens + self.mlp(self.norm2(tokens))


class Reconstructor(nn.Module):
    """Autoencoder of images (B, 3, S, S) in [0, 1] with a transformer at S/16.

    >>> Reconstructor()(torch.zeros(1, 3, 32, 32), torch.ones(1, 2, 2)).shape
    torch.Size([1, 3, 32, 32])
    """

    def __init__(self) -> None:
        super().__init__()
        width = WIDTHS[-1]
        self.encoder = nn.Sequential(
            *(_step(nn.Conv2d(a, b, 4, 2, 1)) for a, b in pairwise(WIDTHS))
        )
        self.position = nn.Conv2d(width, width, 3, 1, 1, groups=width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(N_BLOCKS))
        ups = [nn.ConvTranspose2d(b, a, 4, 2, 1) for a, b in pairwise(WIDTHS)][::-1]
        self.decoder = nn.Sequential(*map(_step, ups[:-1]), ups[-1])

    def forward(self, images: Tensor, prior: Tensor) -> Tensor:
        """Return the images restored, (B, 3, S, S) in [0, 1].

        Args:
            images: (B, 3, S, S) in [0, 1], S a multiple of 16.
            prior: (B, S/16, S/16) in [0, 1].
        """
        x = self.encoder(images)
        x = x + self.position(x)
        tokens = x.flatten(2).transpose(1, 2)  # (B, N, C)
        for block in self.blocks:
            tokens = block(tokens, prior.flatten(1))
        return torch.sigmoid(self.decoder(tokens.transpose(1, 2).view(x.shape)))


def _step(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.GroupNorm(8, convolution.out_channels), nn.GELU())


class Metaformer(Method):
    """An autoencoder that attends to the instance.

    >>> method = Metaformer("compact", layers=(3,))
    >>> maps = method.distance_maps(torch.zeros(1, 3, 64, 64))
    >>> {layer: tuple(d.shape) for layer, d in maps.items()}
    {3: (1, 16, 16)}
    """

    name = "metaformer"

    def __init__(
        self, backbone: str, layers: tuple[int, ...] = (3,), *, teacher: Teacher | None = None
    ) -> None:
        super().__init__(backbone, layers, teacher=teacher)
        self.reconstructor = Reconstructor()

    def fit(self, images: NDArray[np.uint8], session: Session) -> None:
        """Meta-learn the autoencoder on tasks made of images (N, S, S, 3), then adapt it to them.

        Raises:
            ValueError: fewer than 2 images, of which no task has support and query.
        """
        if len(images) < 2:
            raise ValueError(f"Metaformer needs at least 2 normal images, got {len(images)}")
        priors = self._priors(images, session)
        parts = self.fitted_parts()

        def batch_of(indices: Tensor) -> tuple[Tensor, Tensor]:
            batch = unit_range(images[indices.numpy()]).to(session.device)
            return batch, priors[indices].to(session.device)

        def meta_loss(indices: Tensor, generator: torch.Generator) -> Tensor:
            batch, prior = as_task(*batch_of(indices), generator)
            n_support = len(batch) // 2
            weights = self.adapted(batch[:n_support], prior[:n_support])
            return self.loss(batch[n_support:], prior[n_support:], weights)

        def loss(indices: Tensor, generator: torch.Generator) -> Tensor:
            return self.loss(*batch_of(indices), dict(self.reconstructor.named_parameters()))

        for stage, loss_of in (("meta-training", meta_loss), ("training", loss)):
            rate = session.config.learning_rate or 0.0
            optimizer = torch.optim.Adam(parts.parameters(), lr=rate, fused=True)
            session.optimize(parts, optimizer, len(images), loss_of, stage=stage)

    def _priors(self, images: NDArray[np.uint8], session: Session) -> Tensor:
        priors = []
        for start in range(0, len(images), 16):
            batch = unit_range(images[start : start + 16]).to(session.device)
            batch = (batch - MEAN.to(batch)) / STD.to(batch)
            priors.append(self.prior(batch).cpu())
            session.report("prior", start + len(batch), len(images))
        return torch.cat(priors)

    def fitted_parts(self) -> nn.ModuleDict:
        """Return the autoencoder."""
        return nn.ModuleDict({"reconstructor": self.reconstructor})

    def prior(self, images: Tensor) -> Tensor:
        """Return where the instance is, (B, S/16, S/16) in [0, 1], of normalized images."""
        features = self.teacher(images)[min(self.layers) - 1]
        prior = F.adaptive_avg_pool2d(salience(features)[:, None], images.shape[-1] // TOKEN_PX)
        return prior[:, 0]

    def adapted(self, images: Tensor, prior: Tensor) -> dict[str, Tensor]:
        """Return weights some steps down the loss of these images.

        They pass their gradient on to the weights that they came from unchanged: first order.
        """
        weights: dict[str, Tensor] = dict(self.reconstructor.named_parameters())
        for _ in range(INNER_STEPS):
            loss = self.loss(images, prior, weights)
            gradients = torch.autograd.grad(loss, list(weights.values()))
            weights = {
                name: weight - INNER_RATE * gradient
                for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
            }
        return weights

    def loss(self, images: Tensor, prior: Tensor, weights: dict[str, Tensor]) -> Tensor:
        """Return the mean error of images (B, 3, S, S) in [0, 1], restored with these weights."""
        restored = torch.func.functional_call(self.reconstructor, weights, (images, prior))
        return error_map(images, restored, prior).mean()

    def distance_maps(self, images: Tensor) -> dict[int, Tensor]:
        """Return the error (B, S/4, S/4), not negative, under the finest chosen layer's key."""
        prior = self.prior(images)
        images = images * STD.to(images) + MEAN.to(images)
        errors = error_map(images, self.reconstructor(images, prior), prior)
        return {min(self.layers): F.avg_pool2d(errors, 4)}


def salience(features: Tensor) -> Tensor:
    """Return how unlike the border each position is, (B, h, w) in [0, 1], of features (B, C, h, w).

    >>> features = torch.zeros(1, 2, 4, 4)
    >>> features[:, 0], features[:, :, 1, 2] = 1, torch.tensor([0.0, 1.0])
    >>> salience(features)[0].round().nonzero().tolist()
    [[1, 2]]
    """
    rows = torch.cat((features[:, :, 0], features[:, :, -1]), 2)
    columns = torch.cat((features[:, :, 1:-1, 0], features[:, :, 1:-1, -1]), 2)
    border = torch.cat((rows, columns), 2).mean(2)[..., None, None]
    unlike = (1 - F.cosine_similarity(features, border)).clamp(min=0)
    return unlike / unlike.amax((1, 2), keepdim=True).clamp(min=1e-6)


def error_map(images: Tensor, restored: Tensor, prior: Tensor) -> Tensor:
    """Return each pixel's error (B, S, S), 0 where restored, weighted by the prior (B, h, w)."""
    size_px = images.shape[-1]
    weight = F.interpolate(prior[:, None], size=size_px, mode="bilinear")[:, 0]
    error = (images - restored).square().mean(1) + gradient_distance(images, restored)
    return (0.5 + 0.5 * weight) * error


def as_task(images: Tensor, prior: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return images (B, 3, S, S) in [0, 1] and their prior, all under one drawn transformation.

    >>> images, prior = as_task(torch.ones(2, 3, 4, 4), torch.ones(2, 2, 2), torch.Generator())
    >>> images.shape, prior.shape
    (torch.Size([2, 3, 4, 4]), torch.Size([2, 2, 2]))
    """
    turns, is_mirrored, is_negative = torch.randint(4, (3,), generator=generator).tolist()
    images, prior = (stack.rot90(turns, (-2, -1)) for stack in (images, prior))
    if is_mirrored % 2:
        images, prior = images.flip(-1), prior.flip(-1)
    images = images[:, torch.randperm(3, generator=generator)]
    return (1 - images if is_negative % 2 else images), prior
