"""Frozen teachers: ImageNet ResNets up to layer3, and the bundled ones that the project trained.

A teacher returns the features after layer1, layer2 and layer3: for images of S px they have
64e, 128e and 256e channels at S/4, S/8 and S/16 (e = 1 for ResNet-18/34, 4 for Bottleneck nets).
Names inside are torchvision's, so its weight files load as they are; layer4 and fc are never built.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rd4ad.home import WEIGHTS
from rd4ad.methods.vision import BasicBlock, Bottleneck, models

_UNREADABLE = (UnpicklingError, SafetensorError, RuntimeError, EOFError, ValueError, TypeError)

Block = type[BasicBlock] | type[Bottleneck]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """The shape of a ResNet and where its weights come from.

    Args:
        block: residual block class, `BasicBlock` or `Bottleneck`.
        depths: number of blocks in layer1, layer2, layer3.
        width: channels of the first feature map, before the block's expansion; the student's too.
        base_width: torchvision's width_per_group; 128 doubles the inner width (wide ResNets).
        url: address of torchvision's IMAGENET1K_V1 file; empty for the bundled teacher.
        oce_depth: residual blocks of the one-class embedding (released code: like layer4).
        trunk_width: channels of the stem and of layer1's blocks where they differ from `width`; a
            1x1 convolution per layer, the neck, then brings each feature map to `width`.
    """

    block: Block
    depths: tuple[int, int, int]
    width: int = 64
    base_width: int = 64
    url: str = ""
    oce_depth: int = 3
    trunk_width: int | None = None

    @property
    def channels(self) -> tuple[int, int, int]:
        """Channels of the three feature maps, finest first."""
        first = self.width * self.block.expansion
        return first, 2 * first, 4 * first


def _imagenet(name: str) -> str:
    return str(models.get_model_weights(name)["IMAGENET1K_V1"].url)


BACKBONES: dict[str, Backbone] = {
    "resnet18": Backbone(
        block=BasicBlock, depths=(2, 2, 2), url=_imagenet("resnet18"), oce_depth=2
    ),
    "resnet34": Backbone(block=BasicBlock, depths=(3, 4, 6), url=_imagenet("resnet34")),
    "resnet50": Backbone(block=Bottleneck, depths=(3, 4, 6), url=_imagenet("resnet50")),
    "wide_resnet50_2": Backbone(
        block=Bottleneck, depths=(3, 4, 6), base_width=128, url=_imagenet("wide_resnet50_2")
    ),
    "compact": Backbone(block=BasicBlock, depths=(2, 2, 2), width=20, oce_depth=2),
    "distilled": Backbone(
        block=BasicBlock, depths=(2, 2, 2), width=32, trunk_width=48, oce_depth=2
    ),
}


def backbone_named(name: str) -> Backbone:
    """Return the backbone called `name`.

    >>> backbone_named("resnet50").channels
    (256, 512, 1024)

    Raises:
        ValueError: the name is not in `BACKBONES`; the message lists those that are.
    """
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}; expected one of {', '.join(BACKBONES)}")
    return BACKBONES[name]


def residual_block(shape: Backbone, channels_in: int, planes: int, stride: int) -> nn.Module:
    """Return torchvision's residual block from `channels_in` to planes * expansion channels."""
    channels_out = planes * shape.block.expansion
    shortcut = None
    if stride != 1 or channels_in != channels_out:
        shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
            nn.BatchNorm2d(channels_out),
        )
    if shape.block is BasicBlock:  # torchvision's BasicBlock refuses any other base width
        return BasicBlock(channels_in, planes, stride, shortcut)
    return Bottleneck(channels_in, planes, stride, shortcut, base_width=shape.base_width)


class Teacher(nn.Module):
    """ResNet stem and layers 1 to 3, always in evaluation mode and without gradients.

    `forward` maps normalized images (B, 3, S, S) to three feature maps, finest first.
    """

    def __init__(self, shape: Backbone) -> None:
        super().__init__()
        width = shape.trunk_width or shape.width
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels_in = width
        for index, depth in enumerate(shape.depths):
            planes = width * 2**index
            blocks = []
            for position in range(depth):
                stride = 2 if index > 0 and position == 0 else 1
                blocks.append(residual_block(shape, channels_in, planes, stride))
                channels_in = planes * shape.block.expansion
            setattr(self, f"layer{index + 1}", nn.Sequential(*blocks))
        self.neck = nn.ModuleList()
        if shape.trunk_width:
            for index, channels in enumerate(shape.channels):
                trunk_channels = width * 2**index * shape.block.expansion
                self.neck.append(_projection(trunk_channels, channels))
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "Teacher":
        """Return self, still in evaluation mode: a teacher's batch norms are never updated."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features of layer1, layer2, layer3 for images (B, 3, S, S)."""
        features = self.trunk_features(images)
        if not self.neck:
            return features
        return [project(x) for project, x in zip(self.neck, features, strict=True)]

    def trunk_features(self, images: Tensor) -> list[Tensor]:
        """Return what layer1, layer2, layer3 give before any neck."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))  # (B, width, S/4, S/4)
        features = []
        for index in (1, 2, 3):
            x = self.get_submodule(f"layer{index}")(x)
            features.append(x)
        return features


def _projection(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def find_weights(name: str, given: str | Path | None = None) -> Path:
    """Return the local weight file of a backbone, downloading torchvision's if none is found.

    >>> find_weights("compact").name
    'compact.safetensors'

    Looked for in this order: `given` (a file or a folder), the folder in the environment variable
    RD4AD_WEIGHTS, the bundled folder, torch's cache; then torchvision's own download.

    Raises:
        FileNotFoundError: `given` holds no such file, or none is here and none can be downloaded.
    """
    shape = backbone_named(name)
    file_name = shape.url.rsplit("/", 1)[-1]
    if given is not None:
        found = Path(given) if Path(given).is_file() else _look_in(Path(given), name)
        if found is None:
            raise FileNotFoundError(
                f"no weights of {name} at {given}: expected a .pth or .safetensors file, "
                f"or a folder holding one whose name starts with {name!r}"
            )
        return found
    for place in (os.environ.get("RD4AD_WEIGHTS"), WEIGHTS):
        found = _look_in(Path(place), name) if place else None
        if found is not None:
            return found
    if not shape.url:
        raise FileNotFoundError(f"{WEIGHTS} lacks {name}.safetensors: the installation is damaged")
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    if not (cache / file_name).exists():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(shape.url, str(cache / file_name), progress=True)
        except OSError as error:
            raise FileNotFoundError(
                f"no weights of {name} here and no download ({error}): put torchvision's "
                f"{file_name} into {cache}, or name its folder in RD4AD_WEIGHTS or --weights, "
                "or use --backbone compact, which needs no download"
            ) from error
    return cache / file_name


def _look_in(folder: Path, name: str) -> Path | None:
    files = sorted(folder.glob(f"{name}[-_.]*"))
    return next((file for file in files if file.suffix in (".pth", ".pt", ".safetensors")), None)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file, or of a .pth read with weights_only=True.

    >>> state = read_state_dict(find_weights("compact"))
    >>> tuple(state["conv1.weight"].shape)[1:]
    (3, 7, 7)

    Raises:
        ValueError: the file is truncated, not a weight file, or holds anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except _UNREADABLE as error:
        raise ValueError(
            f"{path} is not a readable weight file ({type(error).__name__}: "
            f"{str(error).splitlines()[0][:200]}); it may be truncated or hold code: fetch it again"
        ) from error


def load_teacher(name: str, weights: str | Path | None = None) -> tuple[Teacher, dict[str, str]]:
    """Return the frozen teacher of a backbone and where its weights came from.

    >>> teacher, file = load_teacher("compact")
    >>> [tuple(layer.shape[2:]) for layer in teacher(torch.zeros(1, 3, 64, 64))]
    [(16, 16), (8, 8), (4, 4)]

    The second value holds `name` (the file's) and `sha256` (of its content). A partial state dict
    that covers conv1 to layer3 is enough; anything more is ignored.

    Raises:
        FileNotFoundError: see `find_weights`.
        ValueError: the file lacks tensors of this backbone, or their shapes differ.
    """
    path = find_weights(name, weights)
    teacher = Teacher(backbone_named(name))
    fill_module(teacher, read_state_dict(path), f"{path} (as weights of {name})")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return teacher, {"name": path.name, "sha256": digest}


def fill_module(module: nn.Module, state: dict[str, Tensor], origin: str) -> None:
    """Load into `module` the tensors that it has; extra ones are ignored.

    Raises:
        ValueError: a tensor is missing or has another shape; names the first and the origin.
    """
    expected = module.state_dict()
    counters = {key for key in expected if key.endswith("num_batches_tracked")}
    for key, value in expected.items():
        if key in counters:  # counts training steps, plays no part here; older files lack it
            continue
        if key not in state:
            raise ValueError(f"{origin} lacks {key!r}: another backbone, or not such a file")
        if state[key].shape != value.shape:
            raise ValueError(
                f"{origin} has {key!r} of shape {tuple(state[key].shape)}, expected "
                f"{tuple(value.shape)}: it belongs to another backbone"
            )
    module.load_state_dict({key: state.get(key, expected[key]) for key in expected})
