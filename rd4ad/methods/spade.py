"""Semantic pyramid anomaly detection, SPADE: nearest neighbors of images, then of positions.

Source: Cohen, Hoshen, "Sub-Image Anomaly Detection with Deep Pyramid Correspondences", 2020,
arXiv 2005.02357.

Nothing is learnt: the features of all normal images are kept. An image is described by its deepest
features, averaged over all positions; its K nearest normal images are looked up, and its score is
the mean distance to them. Those K images are the gallery for its maps: the distance of a position
is the mean distance of its features to the kappa nearest ones in the gallery, at any position:

    score(y)       = mean of |pooled(y) - pooled(z)| over the K nearest normal images z
    distance(y, p) = mean of |F(y, p) - f| over the kappa nearest f in F(z, q), any q, those K z

Settings and where they come from:

- K = 50, kappa = 1, WideResNet-50-2, features of the first three blocks, with equal weights
  (section 4; jpcbertoldo/anomasota's table states K and kappa too). With fewer than 50 images,
  K is their number; the checkpoint's settings say which. byungjae89/SPADE-pytorch takes K = 5.
- Distances are Euclidean, not squared, and each layer is searched for itself, as in
  byungjae89/SPADE-pytorch main.py. Gaussian of 4 px (section 4 and the same file).

What differs from the paper:

- It concatenates the layers before the search; here each has a map of its own, and maps are summed.
  The search is over all positions, so that fine features alone find a match for a whole part in the
  wrong place: layer 3 alone then has the better map.
- Teachers end at layer3, so images are described by layer3 and not by the features after the last
  block (the settings name the pooled layer).
- Whole images at their size, not the center 224 px of 256.

Memory and size: the gallery holds every feature of every normal image in float16. At 256 px an
image takes 0.9 MB with ResNet-18 and 3.7 MB with WideResNet-50-2, so 213 images make 195 or 780 MB;
reading a checkpoint takes four times its size for a moment.

The search is exact and does every comparison, like the public codes. With K = 50 at 256 px that is
1.2e11 operations an image for ResNet-18, seconds on one core, and the forward pass is nothing
beside it. What is compared was rounded to float16, and squares are subtracted in float32, so that
equal features may lie some thousandths of their length apart.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rd4ad.config import TrainingConfig
from rd4ad.methods.backbones import Teacher, backbone_named
from rd4ad.methods.method import Method, Session
from rd4ad.scoring import IMAGE

N_NEIGHBORS = 50  # K, section 4
POOLED_LAYER = 3  # the deepest that a teacher has
COMPARED_AT_ONCE = 256  # positions of the image, with all of one normal image: 4 MB at 64 x 64


class Spade(Method):
    """The features of all normal images, and a search in them.

    >>> method = Spade("resnet18", (2, 3), size_px=64, n_images=4, n_neighbours=4, pooled_layer=3)
    >>> maps = method.distance_maps(torch.ones(1, 3, 64, 64))
    >>> {layer: tuple(d.shape) for layer, d in maps.items()}
    {2: (1, 8, 8), 3: (1, 4, 4), 0: (1, 1, 1)}

    Args:
        backbone: a name in `backbones.BACKBONES`.
        layers: layers with a map; any choice of 1, 2, 3.
        teacher: a teacher with its weights; without one it is random, of use for shapes alone.
        size_px: side of the images.
        n_images: how many normal images there will be.
        n_neighbours: how many of them are looked up.
        pooled_layer: the layer by which they are looked up.

    Raises:
        ValueError: unknown backbone or layers, or not 1 <= n_neighbours <= n_images.
    """

    name = "spade"

    def __init__(
        self,
        backbone: str,
        layers: tuple[int, ...],
        *,
        teacher: Teacher | None = None,
        size_px: int,
        n_images: int,
        n_neighbours: int,
        pooled_layer: int,
    ) -> None:
        super().__init__(
            backbone, layers, teacher=teacher,
            size_px=size_px, n_images=n_images,
            n_neighbours=n_neighbours, pooled_layer=pooled_layer,
        )  # fmt: skip
        if not 1 <= n_neighbours <= n_images:
            raise ValueError(
                f"n_neighbours must lie in [1, {n_images}], the number of normal images; "
                f"got {n_neighbours}"
            )
        self.n_neighbours, self.pooled_layer = n_neighbours, pooled_layer
        channels = backbone_named(backbone).channels
        self.gallery = nn.Module()
        self.gallery.register_buffer("pooled", torch.zeros(n_images, channels[pooled_layer - 1]))
        for layer in self.layers:
            shape = (n_images, (size_px // 2 ** (1 + layer)) ** 2, channels[layer - 1])
            self.gallery.register_buffer(f"layer{layer}", torch.zeros(shape, dtype=torch.half))

    def fit(self, images: NDArray[np.uint8], session: Session) -> None:
        """Keep the features of images (N, S, S, 3), N as the constructor was told."""
        *stacks, pooled = session.features(
            self.described,  # type: ignore[arg-type]  # calling it is all there is
            images,
        )
        self.gallery.get_buffer("pooled").copy_(pooled.flatten(1))
        for layer, stack in zip(self.layers, stacks, strict=True):
            self.kept(layer).copy_(by_position(stack))

    def distance_maps(self, images: Tensor) -> dict[int, Tensor]:
        """Return one distance map (B, h, w) a chosen layer, and the score of the image."""
        *features, pooled = self.described(images)
        nearest = torch.cdist(
            pooled.flatten(1),
            self.gallery.get_buffer("pooled"),
            compute_mode="donot_use_mm_for_euclid_dist",
        ).topk(self.n_neighbours, largest=False)
        maps = {}
        for layer, stack in zip(self.layers, features, strict=True):
            distances = [
                nearest_distances(queries, self.kept(layer), neighbors.tolist())
                for queries, neighbors in zip(by_position(stack), nearest.indices, strict=True)
            ]
            maps[layer] = torch.stack(distances).view(len(images), *stack.shape[2:])
        maps[IMAGE] = nearest.values.mean(1).view(-1, 1, 1)
        return maps

    def fitted_parts(self) -> nn.ModuleDict:
        """Return the features of the normal images."""
        return nn.ModuleDict({"gallery": self.gallery})

    def described(self, images: Tensor) -> list[Tensor]:
        """Return the features of the chosen layers and, last, the pooled ones (B, C, 1, 1)."""
        features = self.teacher(images)
        pooled = features[self.pooled_layer - 1].mean((2, 3), keepdim=True)
        return [*(features[layer - 1] for layer in self.layers), pooled]

    def kept(self, layer: int) -> Tensor:
        """Return a layer's features of the normal images, (N, h*w, C) float16."""
        return self.gallery.get_buffer(f"layer{layer}")

    @classmethod
    def settings_for(cls, config: TrainingConfig, n_images: int) -> dict[str, Any]:
        """Return the gallery's shape, how many images are looked up, and by which layer.

        >>> settings = Spade.settings_for(TrainingConfig(method="spade"), n_images=20)
        >>> settings["n_images"], settings["n_neighbours"], settings["pooled_layer"]
        (20, 20, 3)
        """
        return {
            "size_px": config.size_px,
            "n_images": n_images,
            "n_neighbours": min(N_NEIGHBORS, n_images),
            "pooled_layer": POOLED_LAYER,
        }


def by_position(features: Tensor) -> Tensor:
    """Return features (B, C, h, w) as (B, h*w, C)."""
    return features.flatten(2).mT


def nearest_distances(queries: Tensor, kept: Tensor, chosen: list[int]) -> Tensor:
    """Return each query's Euclidean distance (Q,) to the nearest feature of the chosen images.

    >>> kept = torch.tensor([[[0.0, 0.0], [3.0, 4.0]], [[1.0, 0.0], [9.0, 9.0]]])
    >>> nearest_distances(torch.tensor([[0.0, 0.0], [1.0, 0.5]]), kept, [1]).tolist()
    [1.0, 0.5]

    Args:
        queries: (Q, C).
        kept: (N, P, C), of N images.
        chosen: which of these to look in.
    """
    parts = queries.split(COMPARED_AT_ONCE)
    best = [part.new_full((len(part),), torch.inf) for part in parts]
    for image in chosen:
        known = kept[image].float()
        squares = known.square().sum(1)
        for i, part in enumerate(parts):  # |q - f|^2 = |q|^2 + (|f|^2 - 2 q f)
            smallest = torch.addmm(squares, part, known.T, alpha=-2).amin(1)
            best[i] = torch.minimum(best[i], smallest)
    return (torch.cat(best) + queries.square().sum(1)).clamp(min=0).sqrt()
