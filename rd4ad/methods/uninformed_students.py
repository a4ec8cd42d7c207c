"""Uninformed Students, US: an ensemble that imitates a patch descriptor on normal images alone.

Source: Bergmann, Fauser, Sattlegger, Steger, "Uninformed Students: Student-Teacher Anomaly
Detection with Discriminative Latent Embeddings", CVPR 2020, arXiv 1911.02357. No code was released;
"public code" below is denguir/student-teacher-anomaly-detection and
LuyaooChen/uninformed-students-pytorch on GitHub.

A descriptor T maps a patch of p px to 128 numbers; p is 17, 33 or 65, here layers 1, 2 and 3.
First T learns general patches p, with a linear decoder D that is dropped afterwards:

    |D(T(p)) - P(p)|^2 + sum of c_ij^2 over i != j

P is the frozen backbone's pooled output, c the correlations of T's outputs over the batch. Then
three students S_k of the same shape, from different random weights, regress y, which is T
standardized by its mean and deviation over the normal images: |S_k - y|^2. With m the mean of the
students, a position's error and predictive variance are

    e = |m - y|^2        v = mean_k |S_k|^2 - |m|^2        distance = e / std(e) + v / std(v)

with the deviations of e and v over the normal training images. Receptive fields are summed.

Settings and where they come from: Adam with weight decay 1e-5, learning rate 2e-4 and 64 patches a
step for T (paper and public code), 1e-4 for the students; three students, 100 epochs, d = 128,
leaky ReLU of slope 0.005 (paper); kernels and poolings of p = 33 and 65 as in the paper's tables.
Batches of 2 images: the paper takes 1, the least here is 2. The paper does not smooth its maps.

What differs from the paper:

- Patches for T. The paper cuts them from ImageNet. Here they come from what everybody has: the
  normal training images, and flawless generated parts (half as many, 60 at most, of a seed that no
  demo image has). One pixel of a patch covers 1/2 to 2 px of the image, and one patch in ten is
  gray; the paper zooms by 4p to 16p px an image. T is thus trained again for every category, for as
  many epochs as the students. (denguir's teacher, too, sees the category's images.)
- P is the backbone's last feature map (layer3) of the patch at its own size, averaged, and
  standardized so that the size of its features does not matter; the paper has ResNet-18's 512
  numbers after layer4.
- The paper's correlation term sums c_ij; squares, as in public code, do not reward correlation of
  opposite sign. Its metric-learning term, for use without a backbone, is left out.
- Speed. A descriptor a pixel would take 200 GFLOP and more an image and network. Strides of the
  poolings stay in, so that a network run over the whole image gives exactly the descriptors of the
  patches that start every 4 px (8 px for p = 65); channels are a quarter of the paper's (32 and
  64). With p = 17, which has no pooling in the paper, 5x5, 3x3 and 2x2 kernels and two poolings
  take the place of 6x6, 5x5, 5x5 and 4x4. Images are continued past their border by its pixels.
- Weights are initialized as by He et al. (ICCV 2015), so that differences between patches do not
  vanish in the deeper networks. The paper does not state its initialization.
- e and v are not centered: the means would shift all maps alike and make them negative. The paper
  takes means and deviations from held-out normal images.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from rd4ad.data.parts import PARTS, render
from rd4ad.methods.backbones import Teacher, backbone_named
from rd4ad.methods.method import Method, Session, seeded

N_STUDENTS = 3
N_PATCHES = 64  # a step of the descriptor's training
N_GENERATED = 60  # parts at most, which take some seconds to draw
GENERATED_SEED = 19110235
DIMENSIONS = 128
SLOPE = 0.005  # of the leaky ReLU
FIELDS = {1: 17, 2: 33, 3: 65}
"""Side of the patch, in pixels, by layer."""
_LAYOUTS = {  # kernel, channels, whether 2x2 max pooling follows
    1: ((5, 32, True), (3, 64, True), (2, DIMENSIONS, False)),
    2: ((5, 32, True), (5, 64, True), (2, 64, False), (4, DIMENSIONS, False)),
    3: ((5, 32, True), (5, 32, True), (5, 64, True), (4, 64, False), (1, DIMENSIONS, False)),
}


class PatchNetwork(nn.Module):
    """From images (B, 3, S, S) to descriptors (B, 128, S / stride, S / stride), or from patches.

    >>> network = PatchNetwork(2)
    >>> tuple(network(torch.zeros(1, 3, 64, 64)).shape), network.stride
    ((1, 128, 16, 16), 4)
    >>> tuple(network.describe(torch.zeros(1, 3, 33, 33)).shape)
    (1, 128, 1, 1)
    """

    def __init__(self, layer: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        channels, span, self.stride = 3, 1, 1
        for kernel, channels_out, is_pooled in _LAYOUTS[layer]:
            if parts:
                parts.append(nn.LeakyReLU(SLOPE))
            parts.append(_convolution(channels, channels_out, kernel))
            span += (kernel - 1) * self.stride
            if is_pooled:
                parts.append(nn.MaxPool2d(2))
                span, self.stride = span + self.stride, 2 * self.stride
            channels = channels_out
        self.layers = nn.Sequential(*parts)
        self.margin = (span - self.stride) // 2  # descriptors then lie in the middle of their cells

    def forward(self, images: Tensor) -> Tensor:
        """Return the descriptors of all cells of images, continued past their border."""
        return self.describe(F.pad(images, [self.margin] * 4, mode="replicate"))

    def describe(self, patches: Tensor) -> Tensor:
        """Return the descriptors (B, 128, 1, 1) of patches (B, 3, p, p)."""
        described: Tensor = self.layers(patches)
        return described


def _convolution(channels: int, channels_out: int, kernel: int) -> nn.Conv2d:
    # torch's default shrinks what differs between patches at every layer, and no normalization
    # restores it: with p = 65 the mean output is 50 times the deviation, and little is learned.
    convolution = nn.Conv2d(channels, channels_out, kernel)
    nn.init.kaiming_normal_(convolution.weight, SLOPE, nonlinearity="leaky_relu")
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution


class Ensemble(nn.Module):
    """A descriptor, its students, and what standardizes both, for one receptive field."""

    center: Tensor
    spread: Tensor
    scales: Tensor

    def __init__(self, layer: int) -> None:
        super().__init__()
        self.descriptor = PatchNetwork(layer)
        self.students = nn.ModuleList(PatchNetwork(layer) for _ in range(N_STUDENTS))
        self.register_buffer("center", torch.zeros(DIMENSIONS, 1, 1))
        self.register_buffer("spread", torch.ones(DIMENSIONS, 1, 1))
        self.register_buffer("scales", torch.ones(2))  # deviations of error and variance

    def wanted(self, images: Tensor) -> Tensor:
        """Return the standardized descriptors (B, 128, h, w), without gradients."""
        with torch.no_grad():
            return (self.descriptor(images) - self.center) / self.spread

    def loss(self, images: Tensor) -> Tensor:
        """Return the squared error of the students at a position, summed over them (scalar)."""
        wanted = self.wanted(images)
        errors = [squared(student(images) - wanted).mean() for student in self.students]
        return torch.stack(errors).sum()

    def error_and_variance(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the error of the mean student and the students' variance, (B, h, w) each."""
        answers = torch.stack([student(images) for student in self.students])
        mean = answers.mean(0)
        return squared(mean - self.wanted(images)), squared(answers - mean).mean(0)

    def forward(self, images: Tensor) -> Tensor:
        """Return the distance map (B, h, w) of images (B, 3, S, S)."""
        error, variance = self.error_and_variance(images)
        return error / self.scales[0] + variance / self.scales[1]


class UninformedStudents(Method):
    """An ensemble a receptive field; the backbone serves in training alone.

    >>> method = UninformedStudents("compact", (1, 3))
    >>> maps = method.distance_maps(torch.zeros(1, 3, 64, 64))
    >>> {layer: tuple(stack.shape) for layer, stack in maps.items()}
    {1: (1, 16, 16), 3: (1, 8, 8)}
    """

    name = "uninformed_students"

    def __init__(
        self, backbone: str, layers: tuple[int, ...], *, teacher: Teacher | None = None
    ) -> None:
        super().__init__(backbone, layers, teacher=teacher)
        self.ensembles = nn.ModuleDict({str(layer): Ensemble(layer) for layer in self.layers})

    def fit(self, images: NDArray[np.uint8], session: Session) -> None:
        """Train descriptors, then students, on images (N, S, S, 3)."""
        sources = np.concatenate([images, generated_parts(len(images), images.shape[1])])
        pixels = session.features(
            lambda x: [x],  # type: ignore[arg-type]  # the images as networks see them
            sources,
        )[0]
        self.fit_descriptors(pixels, session)
        normal = pixels[: len(images)]

        def batches() -> Iterator[Tensor]:
            yield from (part.to(session.device) for part in normal.split(4))

        for ensemble in self._all():
            center, spread = moments(ensemble.descriptor(x) for x in batches())
            ensemble.center.copy_(center.view(-1, 1, 1))
            ensemble.spread.copy_(spread.view(-1, 1, 1))
        students = nn.ModuleList(ensemble.students for ensemble in self._all())

        def loss_of(indices: Tensor, generator: torch.Generator) -> Tensor:
            batch = normal[indices].to(session.device)
            return torch.stack([ensemble.loss(batch) for ensemble in self._all()]).sum()

        rate = session.config.learning_rate or 0.0
        optimizer = torch.optim.Adam(students.parameters(), rate, weight_decay=1e-5, fused=True)
        session.optimize(students, optimizer, len(images), loss_of, stage="students")
        for ensemble in self._all():
            pairs = (torch.stack(ensemble.error_and_variance(x), 1) for x in batches())
            ensemble.scales.copy_(moments(pairs)[1])

    def fit_descriptors(self, pixels: Tensor, session: Session) -> None:
        """Train the descriptors on patches of images (N, 3, S, S)."""
        config, device = session.config, session.device
        channels = backbone_named(self.backbone).channels[-1]
        with seeded(config.seed):
            decoders = nn.ModuleList(nn.Conv2d(DIMENSIONS, channels, 1) for _ in self.layers)
        parts = nn.ModuleDict(
            {
                "descriptors": nn.ModuleList(ensemble.descriptor for ensemble in self._all()),
                "decoders": decoders.to(device),
            }
        )
        fields = [FIELDS[layer] for layer in self.layers]

        def pooled(patches: Tensor) -> Tensor:
            with torch.no_grad():
                return self.teacher(patches)[-1].mean((2, 3), keepdim=True)

        draw = torch.Generator().manual_seed(config.seed)
        some = pixels[torch.randperm(len(pixels), generator=draw)[:64]].to(device)
        known = [scale_of(pooled(patches_of(some, field, 8 * N_PATCHES, draw))) for field in fields]

        def loss_of(indices: Tensor, generator: torch.Generator) -> Tensor:
            batch, losses = pixels[indices].to(device), []
            for field, ensemble, decoder, scale in zip(
                fields, self._all(), decoders, known, strict=True
            ):
                patches = patches_of(batch, field, N_PATCHES, generator)
                mean, deviation = (value.view(-1, 1, 1) for value in scale)
                described = ensemble.descriptor.describe(patches)
                error = decoder(described) - (pooled(patches) - mean) / deviation
                losses += [squared(error).mean(), correlation(described.flatten(1))]
            return torch.stack(losses).sum()

        optimizer = torch.optim.Adam(parts.parameters(), 2e-4, weight_decay=1e-5, fused=True)
        session.optimize(parts, optimizer, len(pixels), loss_of, stage="descriptors")

    def _all(self) -> list[Ensemble]:
        return [self.ensembles[str(layer)] for layer in self.layers]  # type: ignore[misc]

    def fitted_parts(self) -> nn.ModuleDict:
        """Return descriptors, students and their scales."""
        return nn.ModuleDict({"ensembles": self.ensembles})

    def distance_maps(self, images: Tensor) -> dict[int, Tensor]:
        """Return a distance map a receptive field, (B, S/4, S/4), of 65 px (B, S/8, S/8)."""
        return {layer: self.ensembles[str(layer)](images) for layer in self.layers}


def generated_parts(n_images: int, size_px: int) -> NDArray[np.uint8]:
    """Return flawless parts (n, S, S, 3) of all kinds for `n_images` images of a category.

    >>> generated_parts(4, 32).shape
    (2, 32, 32, 3)
    """
    kinds = list(PARTS)
    drawn = [
        render(
            kinds[i % len(kinds)], "good", i, split="train", seed=GENERATED_SEED, size_px=size_px
        )[0]
        for i in range(min(n_images // 2, N_GENERATED))
    ]
    return np.stack(drawn)


def patches_of(images: Tensor, side: int, n: int, generator: torch.Generator) -> Tensor:
    """Return about `n` random patches (n, 3, side, side) of images (B, 3, S, S), as many of each.

    >>> patches_of(torch.rand(3, 3, 64, 64), 17, 64, torch.Generator()).shape
    torch.Size([63, 3, 17, 17])

    A patch lies within its image where it fits, at a random zoom of 1/2 to 2; one in ten is gray.
    """
    size, each = images.shape[-1], max(1, n // len(images))
    drawn = torch.rand(4, len(images), each, generator=generator).to(images.device)
    zoom = 4 ** (drawn[0] - 0.5)  # image pixels that a pixel of the patch covers
    room = (1 - zoom * side / size).clamp_min(0)  # grid_sample's image spans -1 to 1
    offsets = torch.arange(side, device=images.device) - (side - 1) / 2
    steps = offsets * zoom[..., None] * 2 / size  # (B, each, side)
    y = (2 * drawn[1] - 1)[..., None] * room[..., None] + steps
    x = (2 * drawn[2] - 1)[..., None] * room[..., None] + steps
    grid = torch.stack(
        [x[:, :, None, :].expand(-1, -1, side, -1), y[..., None].expand(-1, -1, -1, side)], -1
    ).flatten(1, 2)  # (B, each * side, side, 2)
    tall = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    patches = tall.unflatten(2, (each, side)).transpose(1, 2).flatten(0, 1)
    gray = (drawn[3] < 0.1).flatten()[:, None, None, None]
    return torch.where(gray, patches.mean(1, keepdim=True), patches)


def squared(difference: Tensor) -> Tensor:
    """Return the squared length over channels, (..., h, w) of (..., C, h, w)."""
    return difference.square().sum(-3)


def correlation(descriptors: Tensor) -> Tensor:
    """Return the sum of squared correlations between different columns of (N, D), a scalar.

    >>> column = torch.tensor([[1.0], [2.0], [4.0]])
    >>> round(float(correlation(torch.cat([column, -2 * column], 1))), 3)
    2.0
    """
    centered = descriptors - descriptors.mean(0)
    unit = centered / centered.norm(dim=0).clamp_min(1e-8)
    matrix = unit.T @ unit
    return matrix.square().sum() - matrix.diagonal().square().sum()


@torch.no_grad()
def scale_of(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation (C,) of features (B, C, h, w), by which they are standardized.

    No deviation is under a tenth of the median one: a channel that hardly varies among some patches
    would be millions of deviations away on the first patch that stirs it, and be all the loss.

    >>> features = torch.tensor([[0.0, 0.0, 5.0], [20.0, 20.0, 5.0]])[:, :, None, None]
    >>> [value.tolist() for value in scale_of(features)]
    [[10.0, 10.0, 5.0], [10.0, 10.0, 1.0]]
    """
    mean, deviation = moments([features])
    return mean, deviation.clamp_min(0.1 * float(deviation.quantile(0.5)))


def moments(batches: Sequence[Tensor] | Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and deviation (C,) each over batches (B, C, h, w), in one pass.

    >>> [value.tolist() for value in moments([torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)])]
    [[2.0], [1.0]]
    """
    n, total, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in batches:
        values = batch.detach().double().cpu().transpose(0, 1).flatten(1)  # (C, B * h * w)
        n += values.shape[1]
        total = total + values.sum(1)
        squares = squares + values.square().sum(1)
    mean = total / n
    deviation = (squares / n - mean.square()).clamp_min(1e-12).sqrt()
    return mean.float().to(batch.device), deviation.float().to(batch.device)
