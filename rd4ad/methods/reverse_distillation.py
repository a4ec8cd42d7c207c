"""Reverse distillation from a one-class embedding (Deng & Li, CVPR 2022).

A frozen teacher sees the image; a bottleneck (fusion MFF, then one-class embedding OCE) squeezes
its three feature maps into one small code; a student decodes that code back into the teacher's
features, deepest first. Trained on normal images alone, the student cannot restore what it never
saw, so the distance between teacher and student at a position says how anomalous it is.

Module names inside `Bottleneck` and `Student` are those of the released checkpoints
({"bn": bottleneck, "decoder": student}), which therefore load as they are.

The paper and the released code differ in the training loss; both are here under their own names:

- `flattened` (released code, the default): 1 - cosine of the two (C*H*W) vectors of an image.
- `per_position` (paper, eq. 1 and 2): mean over positions of 1 - cosine over the C channels. On
  MVTec AD it was reported to cost 3.5 points of image AUROC (95.3 against 98.9; ReContrast, NeurIPS
  2023, Table 6).
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from rd4ad.config import TrainingConfig
from rd4ad.methods.backbones import Backbone, Teacher, backbone_named, residual_block
from rd4ad.methods.method import Method, Session
from rd4ad.methods.vision import BasicBlock

LAYERS = (1, 2, 3)


class Bottleneck(nn.Module):
    """Fuse three feature maps and embed them: (B, 64e, S/4..), ... -> (B, 512e, S/32, S/32).

    With fewer layers, fusion concatenates only those; the embedding keeps its width.
    """

    def __init__(self, shape: Backbone, layers: tuple[int, ...] = LAYERS) -> None:
        super().__init__()
        self.layers = layers
        first, second, third = shape.channels
        self.relu = nn.ReLU(inplace=True)
        if 1 in layers:
            self.conv1, self.bn1 = _down(first, second)
            self.conv2, self.bn2 = _down(second, third)
        if 2 in layers:
            self.conv3, self.bn3 = _down(second, third)
        planes = 8 * shape.width
        blocks = [residual_block(shape, third * len(layers), planes, stride=2)]
        for _ in range(shape.oce_depth - 1):
            blocks.append(residual_block(shape, planes * shape.block.expansion, planes, stride=1))
        self.bn_layer = nn.Sequential(*blocks)
        _initialize(self)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return the code (B, 512e, S/32, S/32) of the teacher's three feature maps."""
        fused = []
        if 1 in self.layers:
            half = self.relu(self.bn1(self.conv1(features[0])))  # (B, 128e, S/8, S/8)
            fused.append(self.relu(self.bn2(self.conv2(half))))
        if 2 in self.layers:
            fused.append(self.relu(self.bn3(self.conv3(features[1]))))
        if 3 in self.layers:
            fused.append(features[2])
        code: Tensor = self.bn_layer(torch.cat(fused, 1))  # cat: (B, 256e * layers, S/16, S/16)
        return code


class Student(nn.Module):
    """Decode the bottleneck's code into the teacher's features, the backbone mirrored.

    Its layer1 restores the teacher's layer3, its layer3 the teacher's layer1 (released names). It
    is built down to the finest layer asked for.
    """

    def __init__(self, shape: Backbone, layers: tuple[int, ...] = LAYERS) -> None:
        super().__init__()
        channels_in = 8 * shape.width * shape.block.expansion
        self.n_stages = 4 - min(layers)
        for index in range(self.n_stages):
            planes = shape.width * 2 ** (2 - index)
            blocks: list[nn.Module] = [_up_block(shape, channels_in, planes)]
            channels_in = planes * shape.block.expansion
            for _ in range(shape.depths[index] - 1):
                blocks.append(residual_block(shape, channels_in, planes, stride=1))
            setattr(self, f"layer{index + 1}", nn.Sequential(*blocks))
        _initialize(self)

    def forward(self, code: Tensor) -> list[Tensor]:
        """Return the restored features, finest first; the finest is that of the finest layer."""
        restored = []
        for index in range(self.n_stages):
            code = self.get_submodule(f"layer{index + 1}")(code)
            restored.append(code)
        return restored[::-1]


class _UpBasicBlock(nn.Module):
    """Residual block whose first convolution and shortcut are transposed, 2x2 with stride 2."""

    def __init__(self, channels_in: int, planes: int) -> None:
        super().__init__()
        self.conv1 = nn.ConvTranspose2d(channels_in, planes, 2, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.upsample = _up_shortcut(channels_in, planes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.upsample(x))


class _UpBottleneck(nn.Module):
    """Bottleneck block whose middle convolution and shortcut are transposed, 2x2 with stride 2."""

    def __init__(self, channels_in: int, planes: int, base_width: int) -> None:
        super().__init__()
        inner = planes * base_width // 64
        self.conv1 = nn.Conv2d(channels_in, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.ConvTranspose2d(inner, inner, 2, 2, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.relu = nn.ReLU(inplace=True)
        self.upsample = _up_shortcut(channels_in, 4 * planes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + self.upsample(x))


def _up_block(shape: Backbone, channels_in: int, planes: int) -> nn.Module:
    if shape.block is BasicBlock:
        return _UpBasicBlock(channels_in, planes)
    return _UpBottleneck(channels_in, planes, shape.base_width)


def _up_shortcut(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(channels_in, channels_out, 2, 2, bias=False),
        nn.BatchNorm2d(channels_out),
    )


def _down(channels_in: int, channels_out: int) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    convolution = nn.Conv2d(channels_in, channels_out, 3, 2, 1, bias=False)
    return convolution, nn.BatchNorm2d(channels_out)


def _initialize(module: nn.Module) -> None:
    """Kaiming-normal convolutions (fan_out, ReLU), as the release; norms start at one and zero.

    The release's loop tests for nn.Conv2d, which a transposed convolution is not: those keep
    torch's own default initialization.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


class ReverseDistillation(Method):
    """Teacher, bottleneck and student of one backbone.

    >>> method = ReverseDistillation("resnet18", layers=(2, 3))
    >>> maps = method.distance_maps(torch.zeros(1, 3, 64, 64))
    >>> {layer: tuple(d.shape) for layer, d in maps.items()}
    {2: (1, 8, 8), 3: (1, 4, 4)}

    Args:
        backbone: a name in `backbones.BACKBONES`.
        layers: teacher layers fused, restored and compared; any choice of 1, 2, 3.
        teacher: a teacher with its weights; without one it is random, of use for shapes alone.

    Raises:
        ValueError: unknown backbone or layers.
    """

    name = "reverse_distillation"

    def __init__(
        self, backbone: str, layers: tuple[int, ...] = LAYERS, *, teacher: Teacher | None = None
    ) -> None:
        super().__init__(backbone, layers, teacher=teacher)
        shape = backbone_named(backbone)
        self.bottleneck = Bottleneck(shape, self.layers)
        self.student = Student(shape, self.layers)

    def fit(self, images: NDArray[np.uint8], session: Session) -> None:
        """Train bottleneck and student on images (N, S, S, 3) as the release does."""
        config = session.config
        features = session.features(self.teacher, images)
        parts = self.fitted_parts()
        optimizer = torch.optim.Adam(
            parts.parameters(),
            lr=config.learning_rate or 0.0,
            betas=(0.5, 0.999),  # hq-deng/RD4AD main.py
            fused=True,
        )

        def taken(indices: Tensor | slice) -> list[Tensor]:
            return [stack[indices].to(session.device) for stack in features]

        loss = self.step_loss(taken(slice(config.batch_size)), config)

        def loss_of(indices: Tensor, generator: torch.Generator) -> Tensor:
            return loss(taken(indices))

        held = session.held_features(self.teacher)

        @torch.no_grad()
        def held_loss() -> float:
            assert held is not None
            batch = [stack.to(session.device) for stack in held]
            return float(self.loss(batch, config.loss))

        session.optimize(
            parts, optimizer, len(images), loss_of, held_loss=held_loss if held else None
        )

    def step_loss(
        self, batch: list[Tensor], config: TrainingConfig
    ) -> Callable[[list[Tensor]], Tensor]:
        """Return `loss` as training takes it, of features like those of a batch.

        On a GPU, forward and backward pass of so many images are recorded as CUDA graphs: a step of
        16 images is some hundred kernels so short that starting them takes longer than they do.
        Batches of another number of images are computed one kernel at a time.

        Args:
            batch: the teacher's three feature maps, finest first, (B, C, h, w) each.
            config: of the training; its loss and precision count.
        """

        def loss(features: list[Tensor]) -> Tensor:
            return self.loss(features, config.loss)

        if batch[0].device.type != "cuda":
            return loss
        parts = self.fitted_parts().train()
        before = {name: tensor.clone() for name, tensor in parts.state_dict().items()}
        lower = torch.autocast(
            "cuda", torch.bfloat16, config.precision == "bfloat16", cache_enabled=False
        )
        room = tuple(layer.clone() for layer in batch)  # what is replayed is copied into it
        with lower:
            recorded = torch.cuda.make_graphed_callables(_Loss(parts, loss), room)
        parts.load_state_dict(before)  # recording moved the norms' running means

        def replayed(features: list[Tensor]) -> Tensor:
            if len(features[0]) != len(room[0]):
                return loss(features)
            found = recorded(*features)
            assert isinstance(found, Tensor)  # torch's stub says object
            return found

        return replayed

    def fitted_parts(self) -> nn.ModuleDict:
        """Return bottleneck and student."""
        return nn.ModuleDict({"bottleneck": self.bottleneck, "student": self.student})

    def chosen(self, features: list[Tensor], finest: int) -> list[Tensor]:
        """Return the features of the chosen layers out of a list that starts at layer `finest`."""
        return [features[layer - finest] for layer in self.layers]

    def restore(self, features: list[Tensor]) -> list[Tensor]:
        """Return the student's version of the teacher's features, for the chosen layers."""
        return self.chosen(self.student(self.bottleneck(features)), min(self.layers))

    def distance_maps(self, images: Tensor) -> dict[int, Tensor]:
        """Return one distance map (B, h, w) a chosen layer, each in [0, 2]."""
        features = self.teacher(images)
        pairs = zip(self.chosen(features, 1), self.restore(features), strict=True)
        return {
            layer: 1 - F.cosine_similarity(t, s)
            for layer, (t, s) in zip(self.layers, pairs, strict=True)
        }

    def loss(self, features: list[Tensor], kind: str = "flattened") -> Tensor:
        """Return the training loss (scalar, lower is closer) for the teacher's three feature maps.

        Args:
            features: the teacher's, finest first, (B, C, h, w) each.
            kind: a key of `LOSSES`.
        """
        distance = LOSSES[kind]
        pairs = zip(self.chosen(features, 1), self.restore(features), strict=True)
        return torch.stack([distance(t, s) for t, s in pairs]).sum()


class _Loss(nn.Module):
    """A loss of the teacher's features as a module, which is what torch records."""

    def __init__(self, parts: nn.Module, loss: Callable[[list[Tensor]], Tensor]) -> None:
        super().__init__()
        self.parts, self.loss = parts, loss

    def forward(self, *features: Tensor) -> Tensor:
        return self.loss(list(features))


def flattened_loss(teacher: Tensor, student: Tensor) -> Tensor:
    """Return the batch mean of 1 - cosine of the flattened (C*H*W) features.

    >>> features = torch.ones(2, 4, 3, 3)
    >>> [round(float(flattened_loss(features, k * features)), 4) for k in (2, -1)]
    [0.0, 2.0]

    Source: train loss of the released code (hq-deng/RD4AD main.py, loss_fucntion).
    """
    # A cosine does not depend on the order of elements; channels last, nothing is copied.
    one, other = (layer.permute(0, 2, 3, 1).flatten(1) for layer in (teacher, student))
    return (1 - F.cosine_similarity(one, other)).mean()


def per_position_loss(teacher: Tensor, student: Tensor) -> Tensor:
    """Return the mean over batch and positions of 1 - cosine over channels (paper, eq. 1 and 2).

    >>> features = torch.ones(2, 4, 3, 3)
    >>> round(float(per_position_loss(features, -features)), 4)
    2.0
    """
    return (1 - F.cosine_similarity(teacher, student)).mean()


LOSSES = {"flattened": flattened_loss, "per_position": per_position_loss}
