"""Multiresolution knowledge distillation, MKD.

Source: Salehi, Sadjadi, Baselizadeh, Rohban, Rabiee, "Multiresolution Knowledge Distillation for
Anomaly Detection", CVPR 2021, arXiv 2011.11108; released code Niousha12/Knowledge_Distillation_AD.

A student much narrower than the frozen teacher learns, on normal images alone, to give the
teacher's features t at several layers. What it gives, s, is compared by value and by direction,
both summed over the layers (eq. 1 to 3):

    value     = mean over channels and positions of (t - s)^2
    direction = 1 - cosine of the flattened t and s
    total     = value + w * direction

It is trained on the total, and an image's score is its total. For maps, the same terms are taken at
every position over the channels: mean (t - s)^2 + w * (1 - cosine).

Settings and where they come from:

- w makes both terms equal on the untrained student (section 3.1), here on the first batch of
  training images. The released code puts a fixed factor on the value term instead (0.5 for MVTec
  AD), which suits the size of VGG's features alone.
- Adam, learning rate 0.001, batches of 64 (section 3.2); 601 epochs on MVTec AD (released
  config.yaml). Weights start Xavier-uniform, convolutions have no bias, inner ones 16 channels; the
  one that gives a compared layer has the teacher's channels and no norm (released network.py).
- The Gaussian of 4 px is that of the released maps (test_functions.py).

What differs from the paper:

- Teachers are ResNets up to layer3 and not VGG-16, so three layers are compared, not four. The
  student keeps the teacher's layout: as many residual blocks, all narrow, then a wide convolution.
- Maps are feature distances, not gradients of the total to the input, blurred and opened. Distances
  need no backward pass and come one a layer; pixel metrics are therefore not the paper's method.
- Images are normalized as for ImageNet; the released code does so for CIFAR-10 alone.
- Training ends after the stated epochs; the paper averages metrics of several epochs.
"""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from rd4ad.methods.backbones import Backbone, Teacher, backbone_named, residual_block
from rd4ad.methods.method import Method, Session
from rd4ad.methods.vision import BasicBlock
from rd4ad.scoring import IMAGE

WIDTH = 16  # released network.py, cfg 'B'


class Student(nn.Module):
    """A ResNet of 16 channels that widens to the teacher's where a layer is compared.

    >>> student = Student(backbone_named("resnet18"), (2, 3))
    >>> [tuple(layer.shape) for layer in student(torch.zeros(1, 3, 64, 64))]
    [(1, 128, 8, 8), (1, 256, 4, 4)]

    It is built down to the deepest layer asked for.
    """

    direction_weight: Tensor

    def __init__(self, shape: Backbone, layers: tuple[int, ...]) -> None:
        super().__init__()
        narrow = replace(shape, block=BasicBlock, width=WIDTH, base_width=64)
        self.layers = layers
        self.stem = nn.Sequential(
            nn.Conv2d(3, WIDTH, 7, 2, 3, bias=False),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        self.stages = nn.ModuleList()
        channels_in = WIDTH
        for layer in range(1, max(layers) + 1):
            blocks: list[nn.Module] = []
            for position in range(shape.depths[layer - 1]):
                stride = 2 if layer > 1 and position == 0 else 1
                blocks.append(residual_block(narrow, channels_in, WIDTH, stride))
                channels_in = WIDTH
            if layer in layers:
                channels_in = shape.channels[layer - 1]
                blocks.append(nn.Conv2d(WIDTH, channels_in, 3, padding=1, bias=False))
                blocks.append(nn.ReLU())
            self.stages.append(nn.Sequential(*blocks))
        self.register_buffer("direction_weight", torch.ones(()))
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.xavier_uniform_(part.weight)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return its version of the teacher's features at the layers asked for, finest first."""
        x = self.stem(images)  # (B, 16, S/4, S/4)
        features = []
        for layer, stage in enumerate(self.stages, 1):
            x = stage(x)
            if layer in self.layers:
                features.append(x)
        return features


class MultiresolutionDistillation(Method):
    """A frozen teacher and its narrow student.

    >>> method = MultiresolutionDistillation("resnet18", (1, 2))
    >>> maps = method.eval().distance_maps(torch.zeros(1, 3, 64, 64))
    >>> {layer: tuple(stack.shape) for layer, stack in maps.items()}  # 0: the score of the image
    {1: (1, 16, 16), 2: (1, 8, 8), 0: (1, 1, 1)}
    """

    name = "mkd"

    def __init__(
        self, backbone: str, layers: tuple[int, ...], *, teacher: Teacher | None = None
    ) -> None:
        super().__init__(backbone, layers, teacher=teacher)
        self.student = Student(backbone_named(backbone), self.layers)

    def fit(self, images: NDArray[np.uint8], session: Session) -> None:
        """Train the student on images (N, S, S, 3)."""
        config = session.config
        stacks = session.features(  # the images as the networks see them lie behind the features
            lambda x: [*self.chosen(x), x],  # type: ignore[arg-type]  # calling it is all there is
            images,
        )
        parts = self.fitted_parts()

        def terms_of(indices: Tensor) -> tuple[Tensor, Tensor]:
            *features, pictures = (stack[indices].to(session.device) for stack in stacks)
            return loss_terms(features, self.student(pictures))

        with torch.no_grad():
            value, direction = terms_of(torch.arange(len(images))[: config.batch_size])
            self.student.direction_weight.copy_(value.mean() / direction.mean())

        def loss_of(indices: Tensor, generator: torch.Generator) -> Tensor:
            value, direction = terms_of(indices)
            return (value + self.student.direction_weight * direction).mean()

        optimizer = torch.optim.Adam(parts.parameters(), lr=config.learning_rate or 0.0, fused=True)
        session.optimize(parts, optimizer, len(images), loss_of)

    def fitted_parts(self) -> nn.ModuleDict:
        """Return the student, which holds the weight of the direction term."""
        return nn.ModuleDict({"student": self.student})

    def chosen(self, images: Tensor) -> list[Tensor]:
        """Return the teacher's features at the chosen layers."""
        features = self.teacher(images)
        return [features[layer - 1] for layer in self.layers]

    def distance_maps(self, images: Tensor) -> dict[int, Tensor]:
        """Return a distance map (B, h, w) a chosen layer, and the totals (B, 1, 1) of the images.

        Args:
            images: (B, 3, S, S), normalized as for ImageNet.
        """
        weight = self.student.direction_weight
        teacher, student = self.chosen(images), self.student(images)
        maps = {}
        for layer, t, s in zip(self.layers, teacher, student, strict=True):
            direction = 1 - F.cosine_similarity(t, s)
            maps[layer] = (t - s).square().mean(1) + weight * direction.clamp_min(0)  # rounding
        value, direction = loss_terms(teacher, student)
        maps[IMAGE] = (value + weight * direction.clamp_min(0))[:, None, None]
        return maps


def loss_terms(teacher: list[Tensor], student: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return every image's value and direction terms (B,), summed over the layers.

    >>> features = [torch.ones(1, 4, 2, 2)]
    >>> value, direction = loss_terms(features, [3 * features[0]])
    >>> value.tolist(), direction.abs().round(decimals=4).tolist()
    ([4.0], [0.0])

    Args:
        teacher: features (B, C, h, w) a layer.
        student: its version of them.
    """
    pairs = list(zip(teacher, student, strict=True))
    values = [(t - s).square().flatten(1).mean(1) for t, s in pairs]
    directions = [1 - F.cosine_similarity(t.flatten(1), s.flatten(1)) for t, s in pairs]
    return torch.stack(values).sum(0), torch.stack(directions).sum(0)
