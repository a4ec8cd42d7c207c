"""Train the bundled teacher `distilled`: a narrow ResNet-18 that sees what the ImageNet one sees.

It starts from the least-squares solution of `reduced_resnet` and is then distilled on crops of free
photographs, drawings and surfaces, of mosaics of CIFAR-10 and of dead leaves (`crops`); no part
that the project demonstrates or evaluates is among them. Two things have to agree with ImageNet
ResNet-18 in every layer: the features, predicted by a 1x1 convolution, from before and after the
neck; and how alike the positions of two images are, by cosine and by dot product, since that is
what detectors measure. Run by hand, in the background; it resumes:

    python -m rd4ad.training.teacher collect --packages UNPACKED --out PICTURES
    python -m rd4ad.training.teacher train --pictures PICTURES --cifar CIFAR10.zip \
        --weights RESNET18.pth --out FOLDER
"""

import argparse
import copy
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from rd4ad.inference.checkpoint import replace_file
from rd4ad.inference.torch_engine import normalize
from rd4ad.methods.backbones import BACKBONES, Teacher, load_teacher
from rd4ad.training import pictures
from rd4ad.training.crops import Crops, cifar_images, dead_leaves
from rd4ad.training.reduced_resnet import fill_from

SIZES = ((32, 128, 0.6), (14, 192, 0.25), (8, 256, 0.15))  # images, pixels a side, share of steps
LEARNING_RATE = 1.5e-3
WARM_UP = 0.03  # share of the steps
AVERAGED = 0.999  # of the weights that are written, a step
POSITIONS = 256  # compared with each other in a pair of images
SAVE_EVERY_SECONDS = 120.0

Targets = list[Tensor]


class Distillation(nn.Module):
    """The narrow teacher, with a linear head a layer onto ResNet-18's channels on either side.

    >>> model = Distillation(Teacher(BACKBONES["distilled"]))
    >>> features, predicted = model(torch.zeros(2, 3, 64, 64))
    >>> [layer.shape[1] for layer in features]
    [32, 64, 128]
    >>> [[layer.shape[1] for layer in side] for side in predicted]
    [[64, 128, 256], [64, 128, 256]]
    """

    def __init__(self, compact: Teacher) -> None:
        super().__init__()
        self.compact = compact.requires_grad_(True)
        wide = BACKBONES["resnet18"].channels
        necks: list[Any] = list(compact.neck)
        trunk = [projection[0].in_channels for projection in necks]
        narrow = [projection[0].out_channels for projection in necks]
        self.heads = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(side, wide, strict=True))
            for side in (trunk, narrow)
        )

    def train(self, mode: bool = True) -> "Distillation":
        """Set the mode of the compact net too, which as a `Teacher` would stay in evaluation."""
        for part in self.modules():
            part.training = mode
        return self

    def forward(self, images: Tensor) -> tuple[Targets, list[Targets]]:
        """Return the compact features, and ResNet-18's as predicted before and after the neck."""
        trunk = self.compact.trunk_features(images)
        features = [part(x) for part, x in zip(self.compact.neck, trunk, strict=True)]
        predicted = []
        for heads, side in zip(self.heads, (trunk, features), strict=True):
            assert isinstance(heads, nn.ModuleList)
            predicted.append([head(x) for head, x in zip(heads, side, strict=True)])
        return features, predicted


class Loss:
    """What is minimized: the error of the features and of how alike positions are.

    >>> images = torch.rand(4, 3, 64, 64)
    >>> wide = Teacher(BACKBONES["resnet18"])
    >>> loss = Loss(wide(images))
    >>> features, predicted = Distillation(Teacher(BACKBONES["distilled"]))(images)
    >>> loss(features, predicted, wide(images), torch.Generator()).item() > 0
    True

    Args:
        sample: ResNet-18's features of some images, (N, C, h, w) a layer; they give each channel's
            weight, half of it by its variance and half alike for all.
    """

    def __init__(self, sample: Targets) -> None:
        self.weights = [_channel_weights(layer.var((0, 2, 3))) for layer in sample]
        self.lengths = [layer.square().sum(1).mean() for layer in sample]

    def __call__(
        self, found: Targets, predicted: list[Targets], wanted: Targets, picks: torch.Generator
    ) -> Tensor:
        """Return the loss (scalar).

        Args:
            found: compact features (B, c, h, w) a layer; B is even.
            predicted: ResNet-18's features as predicted before and after the neck.
            wanted: ResNet-18's features (B, C, h, w) a layer.
            picks: draws the positions that are compared.
        """
        total = torch.zeros(())
        for layer, (narrow, wide) in enumerate(zip(found, wanted, strict=True)):
            narrow, wide = narrow.float(), wide.float()
            weight = self.weights[layer].view(1, -1, 1, 1)
            for share, side in zip((0.5, 1.0), predicted, strict=True):
                error = (side[layer].float() - wide).square() * weight
                total = total + share * error.mean()
            total = total + relation_loss(narrow, wide, float(self.lengths[layer]), picks)
        return total


def relation_loss(narrow: Tensor, wide: Tensor, length: float, picks: torch.Generator) -> Tensor:
    """Return the unexplained share of how alike positions are within pairs of images.

    >>> features = torch.rand(2, 4, 8, 8)
    >>> float(relation_loss(features, features, 1.0, torch.Generator())) < 1e-6
    True

    Cosines count in full, dot products by half.

    Args:
        narrow: features that are trained (B, c, h, w).
        wide: features whose relations are wanted (B, C, h, w).
        length: mean squared length of the wide features, which the dot products are divided by.
        picks: draws at most `POSITIONS` positions.
    """
    rows = [x.flatten(2).transpose(1, 2) for x in (narrow, wide)]  # (B, h*w, channels)
    rows = [x.reshape(len(x) // 2, -1, x.shape[2]) for x in rows]  # a pair of images together
    chosen = torch.randperm(rows[0].shape[1], generator=picks)[:POSITIONS]
    narrow, wide = (x[:, chosen] for x in rows)
    dots = [x @ x.transpose(1, 2) / length for x in (narrow, wide)]
    unit = [F.normalize(x, dim=2) for x in (narrow, wide)]
    cosines = [x @ x.transpose(1, 2) for x in unit]
    return _unexplained(*cosines) + 0.5 * _unexplained(*dots)


def _unexplained(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the error of matrices (B, p, p) over their variance; outliers count 25 at most."""
    spread = wanted.var((1, 2), keepdim=True)
    return ((found - wanted).square() / (spread + 0.2 * spread.mean())).clamp(max=25).mean()


def _channel_weights(variance: Tensor) -> Tensor:
    weights = 0.5 / variance.mean() + 0.5 / (variance + 0.02 * variance.mean())
    return weights / (weights * variance).mean()


def learning_rate(step: int, steps: int) -> float:
    """Return the learning rate of a step: a linear rise, then half a cosine down to zero.

    >>> [round(learning_rate(step, 1000) / LEARNING_RATE, 2) for step in (0, 30, 515, 999)]
    [0.03, 1.0, 0.5, 0.0]
    """
    rise = max(1, round(WARM_UP * steps))
    if step < rise:
        return LEARNING_RATE * (step + 1) / rise
    return LEARNING_RATE * 0.5 * (1 + float(np.cos(np.pi * (step - rise) / (steps - rise))))


class _Batches(torch.utils.data.Dataset[NDArray[np.uint8]]):
    """The batch of every step from `first` on, made in another process."""

    def __init__(self, crops: Crops, first: int, steps: int) -> None:
        self.crops, self.first, self.steps = crops, first, steps

    def __len__(self) -> int:
        return self.steps - self.first

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        step = self.first + index
        shares = [share for _, _, share in SIZES]
        n, size_px, _ = SIZES[np.random.default_rng([8, step]).choice(len(SIZES), p=shares)]
        return self.crops.batch([7, step], n, size_px)


def _batches(crops: Crops, first: int, steps: int) -> Iterator[Tensor]:
    loader = torch.utils.data.DataLoader(
        _Batches(crops, first, steps), batch_size=None, num_workers=1, prefetch_factor=6
    )
    for batch in loader:
        yield normalize(batch.numpy()).contiguous(memory_format=torch.channels_last)


def distill(crops: Crops, imagenet: Teacher, out: Path, *, steps: int, n_sample: int = 512) -> None:
    """Write `out`/distilled.safetensors, resuming `out`/.teacher.state if it is there.

    Args:
        crops: training images.
        imagenet: ResNet-18.
        out: folder to write into.
        steps: of the optimizer.
        n_sample: images that the start is solved on.
    """
    torch.manual_seed(0)
    state_file = out / ".teacher.state"
    sample = normalize(crops.batch([5], n_sample, 128))
    compact = Teacher(BACKBONES["distilled"])
    if not state_file.exists():
        fill_from(imagenet, compact, sample)
    with torch.no_grad():
        loss_of = Loss(imagenet(sample[:96]))
    model = Distillation(compact).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub
    averaged = copy.deepcopy(compact)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    parts = {"model": model, "averaged": averaged, "optimizer": optimizer}
    first, losses = 0, list[float]()
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        first, losses = state["step"], state["losses"]
    saved = time.monotonic()
    bar = tqdm(_batches(crops, first, steps), initial=first, total=steps, desc="distilling")
    for step, batch in enumerate(bar, first):
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                wanted = imagenet(batch)
            found, predicted = model(batch)
        loss = loss_of(found, predicted, wanted, torch.Generator().manual_seed(step))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        _average(averaged, compact, min(AVERAGED, (step + 1) / (step + 10)))
        losses.append(loss.item())
        if step % 50 == 49:
            bar.set_postfix(loss=f"{np.mean(losses[-200:]):.4f}")
        if time.monotonic() - saved > SAVE_EVERY_SECONDS or step + 1 == steps:
            state = {name: part.state_dict() for name, part in parts.items()}
            state |= {"step": step + 1, "losses": losses}
            replace_file(state_file, partial(torch.save, state))
            _write(averaged, out, {"steps": steps, "done": step + 1, "loss": losses[-200:]})
            saved = time.monotonic()


def _average(averaged: nn.Module, model: nn.Module, keep: float) -> None:
    """Move the averaged weights towards the present ones; counters are copied."""
    with torch.no_grad():
        pairs = zip(averaged.state_dict().values(), model.state_dict().values(), strict=True)
        for mean, now in pairs:
            if mean.is_floating_point():
                mean.lerp_(now, 1 - keep)
            else:
                mean.copy_(now)


def _write(teacher: Teacher, out: Path, record: dict[str, Any]) -> None:
    """Write a teacher's weights as float16, with how they were made."""
    tensors = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in teacher.state_dict().items()
    }
    record = record | {"loss": round(float(np.mean(record["loss"])), 4)}
    metadata = {"training": json.dumps(record)}
    replace_file(out / "distilled.safetensors", lambda beside: save_file(tensors, beside, metadata))


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    collect = commands.add_parser("collect", help="gather the pictures of unpacked packages")
    collect.add_argument("--packages", type=Path, required=True, help="a folder a package")
    collect.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    train = commands.add_parser("train", help="distill the teacher")
    train.add_argument("--pictures", type=Path, required=True, help="what collect wrote")
    train.add_argument("--cifar", type=Path, required=True, help="zip of split/class/number.jpg")
    train.add_argument("--weights", type=Path, help="ImageNet ResNet-18 file or folder")
    train.add_argument("--out", type=Path, required=True, help="folder for distilled.safetensors")
    train.add_argument("--steps", type=int, default=12_000, help="of the optimizer")
    arguments = parser.parse_args()
    if arguments.command == "collect":
        pictures.collect(arguments.packages, arguments.out)
        return
    crops = Crops(
        pictures.read(arguments.pictures), cifar_images(arguments.cifar, every=12), dead_leaves()
    )
    imagenet, _ = load_teacher("resnet18", arguments.weights)
    distill(crops, imagenet, arguments.out, steps=arguments.steps)


if __name__ == "__main__":
    main()
