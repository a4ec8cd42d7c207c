"""PatchCore: a memory of patches of normal images, and the distance to the nearest of them.

Source: Roth, Pemula, Zepeda, Schölkopf, Brox, Gehler, "Towards Total Recall in Industrial Anomaly
Detection", CVPR 2022, arXiv 2106.08265.

Each chosen layer's features are averaged over 3 x 3 positions (eq. 2), coarser layers are enlarged
bilinearly to the finest one's grid, and all are concatenated: one patch a position. A coreset of
the normal images' patches is the memory M (algorithm 1). A position's distance is the one to its
nearest patch, and an image's score is its largest distance, weighted by how crowded the memory is
there (eq. 6 and 7):

    distance(p) = min over m in M of |p - m|,   attained at m*(p)
    score       = (1 - exp |p* - m*| / sum over b nearest m to m* of exp |p* - m|) |p* - m*|

Settings and where they come from:

- Layers 2 and 3, neighborhood 3, coresets of 10% and 1% (section 4.1 and table 1); b = 9
  (anomalib's default; the paper names no value). m* counts among its own b nearest.
- Zeros beyond the border count in the mean, as in amazon-science/patchcore-inspection, whose
  unfolding pads with them. Without them transistor loses 12 points of image AUROC at 30 images.
- Gaussian of 4 px (section 3.3).
- With `place` a patch has two more channels, its row and column as shares of the side, times that
  number: what lies far away in the picture is then far in the memory too. The paper has none.
- With `pool` 2, patches are averaged over 2 x 2 positions: a quarter of the patches and of the
  search, so that layer 1 can take part at the price of layer 2. The paper has none.

What differs from the public code: it averages over neighboring channels down to 1024 before the
search, compares squared distances, and leaves the weight of eq. 7 out. What differs from the
paper: whole images at their size, not the center 224 px of 256.

Memory and size, float32: a patch takes 1.5 KB with ResNet-18 (384 channels) and 6 KB with
WideResNet-50-2; at 256 px an image has 1024 patches. While fitting, all patches are in memory, 330
MB for 209 images of ResNet-18; afterwards the chosen share. The search is exact, in blocks of
`SEARCHED_AT_ONCE` rows.
"""

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from rd4ad.config import TrainingConfig
from rd4ad.data.folders import DatasetError
from rd4ad.methods.backbones import Teacher, backbone_named
from rd4ad.methods.coreset import N_NEIGHBORS, SEARCHED_AT_ONCE, greedy_coreset, grid
from rd4ad.methods.method import Method, Session
from rd4ad.scoring import IMAGE, checked_layers


class PatchCore(Method):
    """A memory of patches of the teacher's features.

    >>> method = PatchCore("resnet18", (2, 3), n_rows=20)
    >>> maps = method.distance_maps(torch.ones(1, 3, 64, 64))
    >>> {layer: tuple(d.shape) for layer, d in maps.items()}
    {2: (1, 8, 8), 0: (1, 1, 1)}

    Args:
        backbone: a name in `backbones.BACKBONES`.
        layers: layers concatenated; any choice of 1, 2, 3.
        teacher: a teacher with its weights; without one it is random, of use for shapes alone.
        n_rows: patches in the memory.
        place: what the distance across the picture counts, in the features' unit.
        pool: patches are averaged over so many positions squared.

    Raises:
        ValueError: unknown backbone or layers.
    """

    name = "patchcore"
    share: ClassVar[float] = 0.1
    """Of the normal images' patches that the memory keeps."""

    def __init__(
        self,
        backbone: str,
        layers: tuple[int, ...],
        *,
        teacher: Teacher | None = None,
        n_rows: int,
        place: float = 0.0,
        pool: int = 1,
    ) -> None:
        super().__init__(backbone, layers, teacher=teacher, n_rows=n_rows, place=place, pool=pool)
        self.place, self.pool = place, pool
        channels = [backbone_named(backbone).channels[layer - 1] for layer in self.layers]
        self.memory = nn.Module()
        n_channels = sum(channels) + (2 if place else 0)
        self.memory.register_buffer("patches", torch.zeros(n_rows, n_channels))

    def fit(self, images: NDArray[np.uint8], session: Session) -> None:
        """Keep a coreset of the patches of images (N, S, S, 3), N at least 2.

        Raises:
            DatasetError: fewer than 2 images.
        """
        if len(images) < 2:
            raise DatasetError(f"expected at least 2 normal images, found {len(images)}: add more")
        stacks = session.features(
            self.averaged,  # type: ignore[arg-type]  # calling it is all there is
            images,
        )
        rows = torch.cat([by_row(self.joined([s[i : i + 1] for s in stacks]))
                          for i in range(len(images))])  # fmt: skip
        kept = self.memory.get_buffer("patches")
        chosen = greedy_coreset(rows.cpu().numpy(), len(kept), session.config.seed)
        kept.copy_(rows[torch.from_numpy(chosen)])
        session.report("coreset", len(kept), len(kept))

    def distance_maps(self, images: Tensor) -> dict[int, Tensor]:
        """Return the one map (B, h, w), at the finest chosen layer's resolution, and the score."""
        joined = self.joined(self.averaged(images))
        side = joined.shape[2:]
        patches = by_row(joined).unflatten(0, (len(images), -1))  # (B, h*w, C)
        memory = self.memory.get_buffer("patches")
        distances = torch.stack([nearest_distances(one, memory) for one in patches])
        scores = [image_score(one, d, memory) for one, d in zip(patches, distances, strict=True)]
        return {
            self.layers[0]: distances.view(-1, *side),
            IMAGE: torch.stack(scores).view(-1, 1, 1),
        }

    def fitted_parts(self) -> nn.ModuleDict:
        """Return the memory."""
        return nn.ModuleDict({"memory": self.memory})

    def averaged(self, images: Tensor) -> list[Tensor]:
        """Return the chosen layers' features, averaged, each at its own resolution."""
        features = self.teacher(images)
        return [F.avg_pool2d(features[layer - 1], 3, 1, 1) for layer in self.layers]

    def joined(self, averaged: list[Tensor]) -> Tensor:
        """Return one patch a position of the finest layer, pooled, (B, C, h, w)."""
        side = averaged[0].shape[2:]
        enlarged = [F.interpolate(x, side, mode="bilinear") for x in averaged[1:]]
        joined = F.avg_pool2d(torch.cat([averaged[0], *enlarged], 1), self.pool)
        if not self.place:
            return joined
        places = torch.from_numpy(self.place * grid(joined.shape[2])).to(joined)
        return torch.cat([joined, places.expand(len(joined), -1, -1, -1)], 1)

    @classmethod
    def settings_for(cls, config: TrainingConfig, n_images: int) -> dict[str, Any]:
        """Return how many patches the memory keeps.

        >>> PatchCore.settings_for(TrainingConfig(method="patchcore"), n_images=30)
        {'n_rows': 3072}
        """
        finest = checked_layers(tuple(config.layers or ()))[0]
        n_patches = n_images * (config.size_px // 2 ** (1 + finest)) ** 2
        return {"n_rows": max(1, round(cls.share * n_patches))}


class PatchCore1(PatchCore):
    """PatchCore with 1% of the patches."""

    name = "patchcore_1"
    share = 0.01


def by_row(patches: Tensor) -> Tensor:
    """Return patches (B, C, h, w) as rows (B*h*w, C)."""
    return patches.flatten(2).mT.flatten(0, 1)


def nearest_distances(patches: Tensor, memory: Tensor) -> Tensor:
    """Return each patch's Euclidean distance (P,) to the nearest row of the memory.

    >>> nearest_distances(torch.tensor([[0.0, 3.0]]), torch.tensor([[9.0, 9.0], [4.0, 0.0]]))
    tensor([5.])

    Args:
        patches: (P, C).
        memory: (M, C).
    """
    parts = [
        torch.addmm(rows.square().sum(1), patches, rows.T, alpha=-2).amin(1)
        for rows in memory.split(SEARCHED_AT_ONCE)
    ]
    smallest = torch.stack(parts).amin(0)
    return (smallest + patches.square().sum(1)).clamp(min=0).sqrt()


def image_score(patches: Tensor, distances: Tensor, memory: Tensor) -> Tensor:
    """Return an image's score by eq. 7, a scalar.

    >>> memory = torch.tensor([[0.0], [1.0]])
    >>> score = image_score(torch.tensor([[3.0]]), torch.tensor([2.0]), memory)
    >>> round(float(score), 4) == round((1 - 1 / (1 + np.e)) * 2, 4)
    True

    Args:
        patches: the image's (P, C).
        distances: theirs, (P,).
        memory: (M, C).
    """
    place = distances.argmax()
    to_memory = (memory - patches[place]).norm(dim=1)
    nearest = memory[to_memory.argmin()]
    crowd = (memory - nearest).norm(dim=1).topk(min(N_NEIGHBORS, len(memory)), largest=False)
    farther = to_memory[crowd.indices] - to_memory.min()
    return (1 - 1 / farther.exp().sum()) * distances[place]
