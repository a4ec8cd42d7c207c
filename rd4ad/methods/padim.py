"""Patch distribution modeling, PaDiM.

Source: Defard, Setkov, Loesch, Audigier, "PaDiM: a Patch Distribution Modeling Framework for
Anomaly Detection and Localization", ICPR Workshops 2021, arXiv 2011.08785.

Every position (i, j) of the finest chosen layer has an embedding x of d channels: the coarser
layers are enlarged by nearest neighbor, all are concatenated, and d channels are chosen at random,
once and for all positions. The embeddings of the N normal images at a position give its Gaussian
(eq. 1), and a test image's distance there is Mahalanobis' (eq. 2):

    covariance = sum of (x - mean)(x - mean)^T / (N - 1) + 0.01 I
    distance   = sqrt((x - mean)^T covariance^-1 (x - mean))

With covariance = L L^T this is the length of L^-1 (x - mean). L^-1 is what is kept: one triangle a
position. It never exceeds 1 / sqrt(0.01) = 10 in norm, so it may be stored in float16.

Settings and where they come from:

- 0.01 on the diagonal, epsilon of eq. 1; it also makes fewer images than d enough: 2 are needed.
- d = 100 of 448 channels for ResNet-18, 550 of 1792 for WideResNet-50-2 (section V); ResNet-34 and
  ResNet-50, which the paper lacks, have those widths and get the same. Fewer where fewer are there.
- Nearest neighbor, and the covariance with N - 1: xiahaifeng1995/PaDiM-Anomaly-Detection-
  Localization-master main.py, whose unfold and fold repeat each coarse position. The value 0.01,
  the Gaussian of 4 px and the maximum as an image's score are those of section IV and that file.
- Which channels are chosen moves the metrics, image AUROC by some points: compare several seeds.

What differs from the paper: whole images at their size, not the center 224 px of 256; maps are
enlarged bilinearly like every method's here, not bicubically; scores are not stretched by the test
set's minimum and maximum, which changes no ranking metric.

Memory and size, float32: P positions need P (d (d + 1) / 2 + d) numbers, 84 MB for ResNet-18 and
2.5 GB for WideResNet-50-2 at 256 px. While fitting, the d chosen channels of all images wait at
their own resolution in the session's cache, 0.4 MB per image for ResNet-18, and past the cache's
budget in its file. That is less than running sums of outer products up to N = 2 d or so, and the
covariance is that of centered values, in float64.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rd4ad.config import TrainingConfig
from rd4ad.data.folders import DatasetError
from rd4ad.methods.backbones import Teacher, backbone_named
from rd4ad.methods.method import Method, Session
from rd4ad.methods.vision import BasicBlock
from rd4ad.scoring import checked_layers

RIDGE = 0.01  # epsilon of eq. 1
FITTED_AT_ONCE = 64  # positions; their covariances take 155 MB of float64 where d = 550
COMPARED_AT_ONCE = 1024  # positions; a column of their triangles stays in a core's own cache


class Gaussians(nn.Module):
    """One Gaussian a position, of the same channels everywhere.

    >>> gaussians = Gaussians(n_channels=3, n_dimensions=2, n_positions=1)
    >>> samples = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    >>> gaussians.fit(samples[:, :, None], first=0)
    >>> gaussians.mean[:, 0].tolist()
    [1.0, 1.0]
    >>> point = torch.tensor([[[2.0], [1.0]]])  # one away; the variance there is 4 / 3 + 0.01
    >>> round(float(gaussians.distances(point)), 4) == round((4 / 3 + 0.01) ** -0.5, 4)
    True

    Args:
        n_channels: how many there are to choose from.
        n_dimensions: how many are chosen, at random with torch's own generator.
        n_positions: of the grid.
    """

    channels: Tensor
    mean: Tensor
    whitening: Tensor

    def __init__(self, n_channels: int, n_dimensions: int, n_positions: int) -> None:
        super().__init__()
        chosen = torch.randperm(n_channels)[:n_dimensions].sort().values
        n_entries = n_dimensions * (n_dimensions + 1) // 2
        self.register_buffer("channels", chosen)
        self.register_buffer("mean", torch.zeros(n_dimensions, n_positions))
        # L^-1, lower triangular, column after column from the diagonal down
        self.register_buffer("whitening", torch.zeros(n_entries, n_positions))

    def chosen(self, features: list[Tensor]) -> list[Tensor]:
        """Return the chosen ones of the features' channels, counted through from first to last."""
        picked, first = [], 0
        for stack in features:
            own = self.channels - first
            picked.append(stack[:, own[(own >= 0) & (own < stack.shape[1])]])
            first += stack.shape[1]
        return picked

    def fit(self, samples: Tensor, first: int) -> None:
        """Set mean and whitening of the positions from `first` on; samples are (N, d, p)."""
        x = samples.permute(2, 0, 1).double()  # (p, N, d)
        mean = x.mean(1, keepdim=True)
        x = x - mean
        covariance = x.mT @ x / (len(samples) - 1)
        covariance.diagonal(dim1=1, dim2=2).add_(RIDGE)
        lower = torch.linalg.cholesky(covariance)
        identity = torch.eye(x.shape[2], dtype=x.dtype, device=x.device)
        inverse = torch.linalg.solve_triangular(lower, identity, upper=False)  # (p, d, d)
        columns, rows = torch.triu_indices(*inverse.shape[1:])
        at = slice(first, first + len(x))
        self.mean[:, at] = mean[:, 0].T
        self.whitening[:, at] = inverse[:, rows, columns].T

    def distances(self, x: Tensor) -> Tensor:
        """Return Mahalanobis distances (B, P) of embeddings (B, d, P)."""
        n_dimensions = x.shape[1]
        found = []
        for part in range(0, x.shape[2], COMPARED_AT_ONCE):
            at = slice(part, part + COMPARED_AT_ONCE)
            centered = x[:, :, at] - self.mean[:, at]
            white = torch.zeros_like(centered)
            first = 0
            for column in range(n_dimensions):  # all positions at once: none is unpacked
                last = first + n_dimensions - column
                entries = self.whitening[first:last, at]
                white[:, column:].addcmul_(entries, centered[:, column : column + 1])
                first = last
            found.append(torch.linalg.vector_norm(white, dim=1))
        return torch.cat(found, 1)


class Padim(Method):
    """A Gaussian of the teacher's features at every position of the finest chosen layer.

    >>> method = Padim("resnet18", (2, 3), size_px=64, n_dimensions=100)
    >>> maps = method.distance_maps(torch.ones(1, 3, 64, 64))
    >>> {layer: tuple(d.shape) for layer, d in maps.items()}
    {2: (1, 8, 8)}

    Args:
        backbone: a name in `backbones.BACKBONES`.
        layers: layers concatenated; any choice of 1, 2, 3.
        teacher: a teacher with its weights; without one it is random, of use for shapes alone.
        size_px: side of the images.
        n_dimensions: channels chosen of those there are.

    Raises:
        ValueError: unknown backbone or layers.
    """

    name = "padim"

    def __init__(
        self,
        backbone: str,
        layers: tuple[int, ...],
        *,
        teacher: Teacher | None = None,
        size_px: int,
        n_dimensions: int,
    ) -> None:
        super().__init__(
            backbone, layers, teacher=teacher, size_px=size_px, n_dimensions=n_dimensions
        )
        n_positions = (size_px // 2 ** (1 + self.layers[0])) ** 2
        self.gaussians = Gaussians(n_channels(backbone, self.layers), n_dimensions, n_positions)

    def fit(self, images: NDArray[np.uint8], session: Session) -> None:
        """Fit the Gaussians to images (N, S, S, 3), N at least 2.

        Raises:
            DatasetError: fewer than 2 images.
        """
        if len(images) < 2:
            raise DatasetError(
                f"a covariance needs at least 2 normal images, found {len(images)}: add more"
            )
        stacks = session.features(
            self.chosen,  # type: ignore[arg-type]  # calling it is all there is
            images,
        )
        n_positions = self.gaussians.mean.shape[1]
        n_bands = stacks[-1].shape[2]  # one a row of the coarsest layer
        done = 0
        for band in range(n_bands):
            x = joined([stack.tensor_split(n_bands, 2)[band] for stack in stacks]).flatten(2)
            for samples in x.split(FITTED_AT_ONCE, 2):
                self.gaussians.fit(samples, done)
                done += samples.shape[2]
            session.report("gaussians", done, n_positions)

    def distance_maps(self, images: Tensor) -> dict[int, Tensor]:
        """Return the one map (B, h, w), at the finest chosen layer's resolution."""
        x = joined(self.chosen(images))
        distances = self.gaussians.distances(x.flatten(2))
        return {self.layers[0]: distances.view(len(x), *x.shape[2:])}

    def fitted_parts(self) -> nn.ModuleDict:
        """Return the Gaussians and which channels they are of."""
        return nn.ModuleDict({"gaussians": self.gaussians})

    def chosen(self, images: Tensor) -> list[Tensor]:
        """Return the chosen channels of the chosen layers, each at its own resolution."""
        features = self.teacher(images)
        return self.gaussians.chosen([features[layer - 1] for layer in self.layers])

    @classmethod
    def settings_for(cls, config: TrainingConfig, n_images: int) -> dict[str, Any]:
        """Return the images' size and the number of channels.

        >>> Padim.settings_for(TrainingConfig(method="padim"), n_images=213)
        {'size_px': 256, 'n_dimensions': 100}
        """
        backbone = str(config.backbone)
        wanted = 100 if backbone_named(backbone).block is BasicBlock else 550
        there = n_channels(backbone, checked_layers(tuple(config.layers or ())))
        return {"size_px": config.size_px, "n_dimensions": min(wanted, there)}


def n_channels(backbone: str, layers: tuple[int, ...]) -> int:
    """Return how many channels some layers of a backbone have together.

    >>> n_channels("resnet18", (1, 2, 3)), n_channels("wide_resnet50_2", (1, 2, 3))
    (448, 1792)
    """
    return sum(backbone_named(backbone).channels[layer - 1] for layer in layers)


def joined(features: list[Tensor]) -> Tensor:
    """Return features of several resolutions as one (B, C, h, w) at the first's, the finest.

    >>> fine, coarse = torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 1, 1)
    >>> joined([fine, coarse])[0, :, 1, 1].tolist()
    [0.0, 1.0, 1.0]
    """
    side = features[0].shape[3]
    enlarged = []
    for stack in features:
        n_times = side // stack.shape[3]
        enlarged.append(stack.repeat_interleave(n_times, 2).repeat_interleave(n_times, 3))
    return torch.cat(enlarged, 1)
