"""CutPaste (Li, Sohn, Yoon, Pfister, CVPR 2021, arXiv 2104.04015).

A network learns to tell normal images from two kinds of spoiled ones, and then a Gaussian of its
features on normal images says how unusual an image is:

- CutPaste copies a rectangle of 2% to 15% of the area, of aspect (0.3, 1) or its inverse, to
  another place of the same image; CutPaste-scar a strip 2 to 16 px wide and 10 to 25 px long,
  turned by up to 45 degrees. The colors of what is pasted are jittered by up to 10%.
- Training minimizes the cross-entropy of the three classes (normal, CutPaste, scar), each batch
  holding all three versions of its images: 32 images, so 96 inputs, as in the paper.
- With mean m and covariance C of the pooled features f of normal images, the score is the
  Mahalanobis distance sqrt((f - m)^T C^-1 (f - m)): of the whole image for detection, of each patch
  of 64 px for localization. Patch scores become a map by a Gaussian around each patch's center
  (receptive field upsampling, Liznerski et al., ICLR 2021: sigma 10 px).

Where the numbers come from. Paper: the two augmentations, the three classes, batch size, SGD with
learning rate 0.03 and momentum 0.9 and weight decay 3e-5. Public re-implementation
(Runinho/pytorch-cutpaste): jitter of 10%, one hidden layer of 512, unit-length features,
covariance shrunk by Ledoit and Wolf's rule.

What differs, and why:
- One network learns on whole images and on random crops of 64 px at once, with a head for each; the
  paper trains two. The crops add 6% of the arithmetic and save a second training.
- The network starts from the frozen teacher's weights, as in the paper's transfer experiments, and
  not at random. It ends at layer3, where those weights end: features are pooled over the chosen
  layers (layer3 alone by default; the paper pools layer4).
- Batch norm keeps the statistics it came with: weights with folded norms would lose their scales
  under batch statistics. Without those the published learning rate is too large: over 80 steps on
  bottle patches the loss stayed at ln 3, chance, with 0.03 and fell to 0.92 with 0.003, used here.
- 256 epochs over the normal images at a constant rate; the paper takes 256 times 256 steps and
  lowers the rate along a cosine, and also shifts its images at random.
- Patches lie 16 px apart, not 4: a sixteenth of the arithmetic. Each of the 169 positions has a
  Gaussian of its own, as in the paper where objects are aligned; it takes one for all positions
  where they are not. With one for all, a part in the wrong place looks as usual as in the right one
  (docs/LOG.md). A position's Gaussian is 0.26 MB with ResNet-18 and 4.2 MB with 50-layer networks:
  44 and 709 MB a checkpoint.
Lengths are for 256 px; other sizes keep their share of the image.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf  # type: ignore[import-untyped]
from torch import Tensor, nn

from rd4ad.methods.backbones import Teacher, backbone_named
from rd4ad.methods.method import Method, Session
from rd4ad.methods.riad import MEAN, STD, unit_range
from rd4ad.scoring import IMAGE

MOMENTUM = 0.9
WEIGHT_DECAY = 3e-5
HIDDEN = 512
JITTER = 0.1
AREA = (0.02, 0.15)
ASPECT = (0.3, 1.0)
SCAR_WIDTH_PX = (2.0, 16.0)
SCAR_LENGTH_PX = (10.0, 25.0)
SCAR_DEGREES = 45.0
PATCH_SHARE = 4  # a patch is a quarter of the image wide
STRIDE_SHARE = 16
SIGMA_SHARE = 10 / 256
PATCHES_AT_ONCE = 256


class Gaussians(nn.Module):
    """Mean and inverse Cholesky factor of a covariance at each of P positions.

    Their value is the Mahalanobis distance.

    >>> Gaussians(1, 2)(torch.tensor([[[3.0, 4.0]]]))  # mean 0, covariance 1 until they are fitted
    tensor([[5.]])
    """

    mean: Tensor
    whitening: Tensor

    def __init__(self, n_positions: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_positions, width))
        self.register_buffer("whitening", torch.eye(width).repeat(n_positions, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return the distances (N, P) of features (N, P, C)."""
        centered = (features - self.mean).transpose(0, 1)  # (P, N, C)
        return torch.linalg.vector_norm(centered @ self.whitening.mT, dim=2).T

    def fit(self, features: Tensor) -> None:
        """Take mean and shrunk covariance of features (N, P, C) at each position.

        >>> gaussians = Gaussians(1, 2)
        >>> gaussians.fit(torch.tensor([[[0.0, 2.0]], [[2.0, 0.0]]]))
        >>> gaussians.mean
        tensor([[1., 1.]])
        """
        eye = torch.eye(features.shape[-1], dtype=torch.float64)
        for position, rows in enumerate(features.double().cpu().transpose(0, 1)):
            covariance = torch.from_numpy(ledoit_wolf(rows.numpy())[0])
            factor = torch.linalg.cholesky(covariance + 1e-9 * eye)  # equal images do not vary
            self.whitening[position] = torch.linalg.solve_triangular(factor, eye, upper=False)
            self.mean[position] = rows.mean(0)


class CutPaste(Method):
    """A trunk that tells pasted from normal, and Gaussians of its features.

    >>> method = CutPaste("compact", layers=(3,))
    >>> with torch.no_grad():
    ...     maps = method.distance_maps(torch.zeros(1, 3, 64, 64))
    >>> {layer: tuple(d.shape) for layer, d in maps.items()}
    {3: (1, 16, 16), 0: (1, 1, 1)}
    """

    name = "cutpaste"

    def __init__(
        self, backbone: str, layers: tuple[int, ...] = (3,), *, teacher: Teacher | None = None
    ) -> None:
        super().__init__(backbone, layers, teacher=teacher)
        shape = backbone_named(backbone)
        self.trunk = Teacher(shape)  # stays in evaluation mode: batch norm keeps its statistics
        self.trunk.load_state_dict(self.teacher.state_dict())
        self.trunk.requires_grad_(True)
        width = sum(shape.channels[layer - 1] for layer in self.layers)
        self.heads = nn.ModuleDict({level: _head(width) for level in ("image", "patch")})
        n_positions = (STRIDE_SHARE - STRIDE_SHARE // PATCH_SHARE + 1) ** 2
        self.normal = nn.ModuleDict(
            {"image": Gaussians(1, width), "patch": Gaussians(n_positions, width)}
        )

    def fit(self, images: NDArray[np.uint8], session: Session) -> None:
        """Train the trunk on images (N, S, S, 3), then take the Gaussians of its features.

        Raises:
            ValueError: fewer than 2 images, which have no covariance.
        """
        if len(images) < 2:
            raise ValueError(f"CutPaste needs at least 2 normal images, got {len(images)}")
        parts = nn.ModuleDict({"trunk": self.trunk, "heads": self.heads})
        optimizer = torch.optim.SGD(
            parts.parameters(),
            lr=session.config.learning_rate or 0.0,
            momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY,
        )

        def loss_of(indices: Tensor, generator: torch.Generator) -> Tensor:
            batch = unit_range(images[indices.numpy()]).to(session.device)
            crops = random_crops(batch, batch.shape[-1] // PATCH_SHARE, generator)
            scale = batch.shape[-1] / 256
            return self.loss("image", three_ways(batch, scale, generator)) + self.loss(
                "patch", three_ways(crops, scale, generator)
            )

        session.optimize(parts, optimizer, len(images), loss_of)
        self._fit_gaussians(images, session)

    @torch.no_grad()
    def _fit_gaussians(self, images: NDArray[np.uint8], session: Session) -> None:
        whole, patches = [], []
        for start in range(0, len(images), 16):
            batch = _normalized(unit_range(images[start : start + 16]).to(session.device))
            whole.append(self.embed(batch)[:, None])
            patches.append(self.embed_patches(batch))
            session.report("gaussians", start + len(batch), len(images))
        for level, features in (("image", whole), ("patch", patches)):
            gaussians = self.normal[level]
            assert isinstance(gaussians, Gaussians)
            gaussians.fit(torch.cat(features))

    def fitted_parts(self) -> nn.ModuleDict:
        """Return trunk and Gaussians; the heads are of use in training alone."""
        return nn.ModuleDict({"trunk": self.trunk, "normal": self.normal})

    def pooled(self, images: Tensor) -> Tensor:
        """Return the trunk's features (B, C), pooled over the image, of normalized images."""
        features = self.trunk(images)
        return torch.cat([features[layer - 1].mean((2, 3)) for layer in self.layers], 1)

    def loss(self, level: str, versions: Tensor) -> Tensor:
        """Return the cross-entropy of `three_ways`, (3 B, 3, S, S) in [0, 1]."""
        labels = torch.arange(3, device=versions.device).repeat_interleave(len(versions) // 3)
        return F.cross_entropy(self.heads[level](self.pooled(_normalized(versions))), labels)

    def embed(self, images: Tensor) -> Tensor:
        """Return the features (B, C) of normalized images, of length one."""
        return F.normalize(self.pooled(images))

    def embed_patches(self, images: Tensor) -> Tensor:
        """Return the features (B, 13*13, C) of patches of normalized images, row by row."""
        patches = patches_of(images)
        features = [self.embed(part) for part in patches.flatten(0, 1).split(PATCHES_AT_ONCE)]
        return torch.cat(features).view(*patches.shape[:2], -1)

    def distance_maps(self, images: Tensor) -> dict[int, Tensor]:
        """Return the patch distances as one map (B, S/4, S/4), and the image's (B, 1, 1)."""
        distances = self.normal["patch"](self.embed_patches(images))  # (B, 169)
        side = round(distances.shape[1] ** 0.5)
        weights = patch_weights(images.shape[-1]).to(images)
        maps = weights @ distances.view(-1, side, side) @ weights.T
        whole = self.normal["image"](self.embed(images)[:, None])
        return {min(self.layers): maps, IMAGE: whole[:, :, None]}


def _head(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, HIDDEN, bias=False),
        nn.BatchNorm1d(HIDDEN),
        nn.ReLU(inplace=True),
        nn.Linear(HIDDEN, 3),
    )


def _normalized(images: Tensor) -> Tensor:
    return (images - MEAN.to(images)) / STD.to(images)


def patches_of(images: Tensor) -> Tensor:
    """Return the patches (B, 13*13, 3, S/4, S/4) of images, S/16 apart, row by row.

    >>> patches_of(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 169, 3, 16, 16])
    """
    side, stride = images.shape[-1] // PATCH_SHARE, images.shape[-1] // STRIDE_SHARE
    grid = images.unfold(2, side, stride).unfold(3, side, stride)  # (B, 3, 13, 13, side, side)
    return grid.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


def patch_weights(size_px: int) -> Tensor:
    """Return (S/4, 13): along an axis, how much each patch counts at each point of the map.

    The points reach from the first pixel to the last; the weights fall off as a Gaussian around a
    patch's center and add up to one.

    >>> weights = patch_weights(64)
    >>> weights.shape, weights[0].argmax(), weights[-1].argmax()
    (torch.Size([16, 13]), tensor(0), tensor(12))
    """
    side, stride = size_px // PATCH_SHARE, size_px // STRIDE_SHARE
    centers = torch.arange(0, size_px - side + 1, stride) + side / 2
    points = torch.linspace(0, size_px - 1, size_px // 4) + 0.5
    distance = (points[:, None] - centers[None]) / (SIGMA_SHARE * size_px)
    return torch.softmax(-0.5 * distance**2, 1)


def random_crops(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Return a crop (B, 3, side, side) of each image, anywhere in it.

    >>> random_crops(torch.zeros(2, 3, 64, 64), 16, torch.Generator()).shape
    torch.Size([2, 3, 16, 16])
    """
    n = len(images)
    corner = torch.randint(images.shape[-1] - side + 1, (2, n, 1), generator=generator)
    rows, columns = (corner + torch.arange(side)).to(images.device)  # (B, side) each
    which = torch.arange(n, device=images.device)[:, None, None]
    return images[which, :, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def three_ways(images: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    """Return images (B, 3, S, S) in [0, 1] as normal, with a paste, with a scar: (3 B, 3, S, S).

    Args:
        scale: pixels for each pixel at 256 px, of which the lengths of scars are given.
    """

    def drawn(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(images), generator=generator)

    images = jittered(images, generator)
    area, aspect = drawn(*AREA) * images.shape[-1] ** 2, drawn(*ASPECT)
    aspect = torch.where(drawn(-1, 1) > 0, aspect, 1 / aspect)
    sides = torch.stack(((area * aspect).sqrt(), (area / aspect).sqrt()))
    scar = scale * torch.stack((drawn(*SCAR_LENGTH_PX), drawn(*SCAR_WIDTH_PX)))
    angle = torch.deg2rad(drawn(-SCAR_DEGREES, SCAR_DEGREES))
    upright = torch.zeros_like(angle)
    pasted = paste(images, sides, upright, generator), paste(images, scar, angle, generator)
    return torch.cat((images, *pasted))


def paste(images: Tensor, sides: Tensor, angle: Tensor, generator: torch.Generator) -> Tensor:
    """Return images (B, 3, S, S) with a rectangle of theirs pasted elsewhere, turned and jittered.

    Args:
        sides: height and width of the rectangles (2, B), in pixels.
        angle: by which they are turned, (B,), in radians.
    """
    size = images.shape[-1]
    device = images.device
    centers = sides / 2 + torch.rand(2, 2, len(images), generator=generator) * (size - sides)
    (from_y, from_x), (to_y, to_x) = centers.to(device)[..., None, None]  # (B, 1, 1) each
    half = (sides / 2).clamp(min=0.5).to(device)[..., None, None]  # a pixel at least
    grid = torch.arange(size, device=device) + 0.5
    dy, dx = grid[:, None] - to_y, grid - to_x  # (B, S, 1) and (B, 1, S)
    cos, sin = (f(angle).to(device)[:, None, None] for f in (torch.cos, torch.sin))
    y, x = cos * dy + sin * dx, cos * dx - sin * dy  # within the rectangle, from its center
    inside = (y.abs() <= half[0]) & (x.abs() <= half[1])
    rows, columns = (c.floor().clamp(0, size - 1).long() for c in (from_y + y, from_x + x))
    source = (rows * size + columns).flatten(1)[:, None].expand(-1, 3, -1)
    pieces = jittered(images, generator).flatten(2).gather(2, source).view_as(images)
    return torch.where(inside[:, None], pieces, images)


def jittered(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images (B, 3, S, S) in [0, 1] with brightness, contrast, saturation and hue changed.

    >>> gray = torch.full((1, 3, 2, 2), 0.5)
    >>> changed = jittered(gray, torch.Generator().manual_seed(0))
    >>> bool((changed - changed.mean()).abs().max() < 1e-6), 0.45 <= float(changed.mean()) <= 0.55
    (True, True)
    """
    drawn = JITTER * (2 * torch.rand(4, len(images), 1, 1, 1, generator=generator) - 1)
    brightness, contrast, saturation = 1 + drawn[:3].to(images)
    hue = 2 * torch.pi * drawn[3].to(images)
    images = images * brightness
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + contrast * (images - mean)
    gray = images.mean(1, keepdim=True)
    color = images - gray
    # Hue is an angle around the gray axis (1, 1, 1), of which 10% are 36 degrees.
    across = (color.roll(-2, 1) - color.roll(-1, 1)) / 3**0.5
    color = torch.cos(hue) * color + torch.sin(hue) * across
    return (gray + saturation * color).clamp(0, 1)
