"""Reconstruction by inpainting, RIAD (Zavrtanik, Kristan, Skočaj, Pattern Recognition 112, 2021).

A network that only fills in what it cannot see has no way to copy a defect. The image is cut into
square cells of k px, which are dealt at random into n = 3 disjoint sets S_1, ..., S_n of equal
size; for each set the network F sees the image x without that set's cells and fills them in:

    restored = sum_i  M_i * F((1 - M_i) * x),        M_i = 1 on the cells of S_i, 0 elsewhere.

Training on normal images minimizes L2 + SSIM + MSGMS between x and `restored`, k drawn for every
batch. MSGMS compares gradient magnitudes g (Prewitt) on four scales, each half the one before:

    distance = 1 - (2 g_x g_r + c) / (g_x^2 + g_r^2 + c) = (g_x - g_r)^2 / (g_x^2 + g_r^2 + c).

The anomaly map is the mean of that distance over the scales and over all k, smoothed by a mean
filter; the score of an image is its maximum.

Where the numbers come from. Paper: n = 3, k = 2, 4, 8, 16, equal weights of the three losses, c and
the Prewitt filter (from gradient magnitude similarity, Xue et al., TIP 2014), four scales, the mean
filter. Public re-implementation (plutoyuxie/Reconstruction-by-inpainting-for-visual-anomaly-
detection): c = 0.0026, Adam, learning rate 1e-4, weight decay 1e-5, batches of 4, 300 epochs, the
U-Net's shape, SSIM with an 11 px Gaussian window of sigma 1.5 px.

What differs, and why:
- The U-Net has a quarter of the re-implementation's width (16 channels at full resolution, not
  64) and so a sixteenth of its arithmetic, which is about 1 TFLOP an image and training step at
  256 px: too much for a CPU. Expect less sharp restorations.
- The learning rate stays as it is (the re-implementation divides it by ten at epoch 250), and
  training runs all its epochs (the re-implementation stops early on held-out loss).
- Pixels, losses and constants are in [0, 1]; the network ends in a sigmoid.
- At test time the cells are dealt by a fixed seed, so an image's score depends on that image alone.
- The map is kept at a quarter of the resolution, below what its mean filter leaves to see.
- Gradients are those of the plain gray image: the re-implementation's median filter before them is
  not in the paper.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from rd4ad.data.images import IMAGENET_MEAN, IMAGENET_STD
from rd4ad.methods.backbones import Teacher
from rd4ad.methods.method import Method, Session

CELLS_PX = (2, 4, 8, 16)
N_SETS = 3
WIDTH = 16
WEIGHT_DECAY = 1e-5
N_SCALES = 4
GMS_CONSTANT = 0.0026
FILTER_PX = 21  # at 256 px
MEAN = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
STD = torch.tensor(IMAGENET_STD).view(3, 1, 1)


class UNet(nn.Module):
    """Fill in images (B, 3, S, S) in [0, 1], S a multiple of 16: five levels, skips at each.

    >>> UNet(width=2)(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 3, 32, 32])
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        widths = [width * factor for factor in (1, 2, 4, 8, 8)]
        self.first = _convolutions(3, width)
        self.down = nn.ModuleList(_convolutions(a, b, halve=True) for a, b in pairwise(widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 4, 2, 1) for a, b in pairwise(widths))
        self.merge = nn.ModuleList(_convolutions(2 * a, a) for a in widths[:-1])
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the images filled in, (B, 3, S, S) in [0, 1]."""
        levels = [self.first(images)]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        for up, merge in zip(reversed(self.up), reversed(self.merge), strict=True):
            x = merge(torch.cat((up(x), levels.pop()), 1))
        return torch.sigmoid(self.last(x))


def _convolutions(channels_in: int, channels_out: int, *, halve: bool = False) -> nn.Sequential:
    kernel, stride = (4, 2) if halve else (3, 1)
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, 1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_out, channels_out, 3, 1, 1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class Riad(Method):
    """A U-Net that inpaints.

    >>> maps = Riad("none").eval().distance_maps(torch.zeros(1, 3, 64, 64))
    >>> {layer: tuple(d.shape) for layer, d in maps.items()}
    {1: (1, 16, 16)}
    """

    name = "riad"

    def __init__(
        self, backbone: str, layers: tuple[int, ...] = (1,), *, teacher: Teacher | None = None
    ) -> None:
        super().__init__(backbone, layers, teacher=teacher)
        self.unet = UNet()

    def fit(self, images: NDArray[np.uint8], session: Session) -> None:
        """Train the U-Net to fill in cells of images (N, S, S, 3)."""
        parts = self.fitted_parts()
        rate = session.config.learning_rate or 0.0
        optimizer = torch.optim.Adam(
            parts.parameters(), lr=rate, weight_decay=WEIGHT_DECAY, fused=True
        )

        def loss_of(indices: Tensor, generator: torch.Generator) -> Tensor:
            batch = unit_range(images[indices.numpy()]).to(session.device)
            choice = int(torch.randint(len(CELLS_PX), (1,), generator=generator))
            sets = deal_cells(batch.shape[-1], CELLS_PX[choice], generator)
            return inpainting_loss(batch, self.inpaint(batch, sets))

        session.optimize(parts, optimizer, len(images), loss_of)

    def fitted_parts(self) -> nn.ModuleDict:
        """Return the U-Net."""
        return nn.ModuleDict({"unet": self.unet})

    def inpaint(self, images: Tensor, sets: Tensor) -> Tensor:
        """Return images (B, 3, S, S) with every pixel filled in from those of the other sets.

        Args:
            images: in [0, 1].
            sets: (S, S), to which of the sets a pixel belongs.
        """
        restored = torch.zeros_like(images)
        for index in range(N_SETS):  # one after the other: a third of the memory
            hidden = (sets == index).to(images)
            restored = restored + hidden * self.unet((1 - hidden) * images)
        return restored

    def distance_maps(self, images: Tensor) -> dict[int, Tensor]:
        """Return the smoothed distance (B, S/4, S/4), in [0, 1], under the finest layer's key."""
        images = images * STD.to(images) + MEAN.to(images)
        size_px = images.shape[-1]
        generator = torch.Generator().manual_seed(0)  # the same cells for every image
        distances = []
        for cell_px in CELLS_PX:
            sets = deal_cells(size_px, cell_px, generator).to(images.device)
            distances.append(gradient_distance(images, self.inpaint(images, sets)))
        mean = torch.stack(distances).mean(0)
        reach = round(FILTER_PX // 2 * size_px / 256)
        smooth = F.avg_pool2d(mean[:, None], 2 * reach + 1, 1, reach, count_include_pad=False)
        return {min(self.layers): _resized(smooth, size_px // 4, align_corners=True)[:, 0]}


def unit_range(images: NDArray[np.uint8]) -> Tensor:
    """Return images (N, S, S, 3) as (N, 3, S, S) float32 in [0, 1].

    >>> unit_range(np.full((1, 2, 2, 3), 255, np.uint8)).unique()
    tensor([1.])
    """
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def deal_cells(size_px: int, cell_px: int, generator: torch.Generator) -> Tensor:
    """Return for each pixel (S, S) its cell's set, 0, 1 or 2; sets differ by one cell at most.

    >>> sets = deal_cells(8, 4, torch.Generator())
    >>> sets.shape, sets[::4, ::4].flatten().bincount().sort().values
    (torch.Size([8, 8]), tensor([1, 1, 2]))
    """
    n = size_px // cell_px
    sets = (torch.randperm(n * n, generator=generator) % N_SETS).view(n, n)
    return sets.repeat_interleave(cell_px, 0).repeat_interleave(cell_px, 1)


def inpainting_loss(images: Tensor, restored: Tensor) -> Tensor:
    """Return L2 + SSIM + MSGMS loss, 0 for equal images; in float32, whatever the network ran in.

    >>> images = torch.rand(2, 3, 32, 32)
    >>> round(float(inpainting_loss(images, images)), 4)
    0.0
    """
    # A variance is a small difference of large squares: in bfloat16 mostly rounding is left of it.
    with torch.autocast(images.device.type, enabled=False):
        gradients = torch.stack([d.mean() for d in _distances_by_scale(images, restored)]).mean()
        similarity = structural_similarity(images, restored).mean()
        return F.mse_loss(restored, images) + (1 - similarity) + gradients


def gradient_distance(images: Tensor, restored: Tensor) -> Tensor:
    """Return the multi-scale gradient magnitude distance (B, S, S), in [0, 1]."""
    size_px = images.shape[-1]
    scales = [_resized(d, size_px) for d in _distances_by_scale(images, restored)]
    return torch.stack(scales).mean(0)[:, 0]


def _distances_by_scale(images: Tensor, restored: Tensor) -> Iterator[Tensor]:
    for scale in range(N_SCALES):
        if scale:
            images, restored = F.avg_pool2d(images, 2), F.avg_pool2d(restored, 2)
        a, b = gradient_magnitude(images), gradient_magnitude(restored)
        yield (a - b) ** 2 / (a**2 + b**2 + GMS_CONSTANT)


def gradient_magnitude(images: Tensor) -> Tensor:
    """Return the Prewitt gradient's length (B, 1, S, S) of the mean over channels.

    >>> ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    >>> gradient_magnitude(ramp)[0, 0, 1].round().tolist()  # the border is repeated
    [1.0, 2.0, 2.0, 1.0]
    """
    gray = F.pad(images.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = torch.tensor([-1.0, 0.0, 1.0]).expand(3, 3) / 3
    gradient = F.conv2d(gray, torch.stack((across, across.T))[:, None].to(gray))
    # The root's slope is infinite at 0, where an image is flat.
    return (gradient.square().sum(1, keepdim=True) + 1e-10).sqrt()


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Return SSIM (Wang et al., TIP 2004) of each window that lies inside, (B, 3, S-10, S-10).

    Args:
        a, b: (B, 3, S, S) in [0, 1], S over 10.
    """
    window = torch.exp(-((torch.arange(11.0) - 5) ** 2) / (2 * 1.5**2)).to(a)
    padded = F.pad(window / window.sum(), (0, a.shape[-1] - 11))
    blur = torch.stack([padded.roll(i) for i in range(a.shape[-1] - 10)])  # (S-10, S)
    # A matrix product takes a tenth of the time of convolutions with a single channel.
    mean_a, mean_b, square_a, square_b, product = (
        blur @ torch.stack((a, b, a * a, b * b, a * b)) @ blur.T
    )
    covariance = product - mean_a * mean_b
    variances = square_a - mean_a**2 + square_b - mean_b**2
    luminance = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    return luminance * (2 * covariance + 0.03**2) / (variances + 0.03**2)


def _resized(stack: Tensor, size_px: int, align_corners: bool = False) -> Tensor:
    return F.interpolate(stack, size=size_px, mode="bilinear", align_corners=align_corners)
