"""Train the bundled compact teacher: a narrow ResNet-18, distilled from the ImageNet one.

Every position of the compact net's three feature maps, through one linear (1x1) head a layer, has
to predict the standardized features of ImageNet ResNet-18 at that position. The images are
generated: two in three are "dead leaves", overlapping textured shapes of every size, whose
statistics resemble those of photographs (Baradad et al., NeurIPS 2021); the third is a flawless
demo part, drawn from a seed of its own, so that no demo image is among them. Where CIFAR-10 is
given, a third of every batch are mosaics of its photographs.

A detector compares features by their cosine, so the compact net must also distinguish what the
ImageNet net distinguishes: in a second phase, `--start` from the first one's weights, the cosines
between the positions of an image have to agree too. Run by hand, in the background; it resumes:

    python -m rd4ad.training.teacher --cifar CIFAR10.zip --weights RESNET18.pth --out FIRST
    python -m rd4ad.training.teacher --cifar CIFAR10.zip --weights RESNET18.pth \
        --out rd4ad/weights --start FIRST/compact.safetensors --relations 1 --steps 5000
"""

import argparse
import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from tqdm import tqdm

from rd4ad.data.parts import PARTS, render
from rd4ad.inference.checkpoint import replace_file
from rd4ad.inference.torch_engine import normalize
from rd4ad.methods.backbones import (
    BACKBONES,
    Teacher,
    fill_module,
    load_teacher,
    read_state_dict,
)

CROP_PX = 128
SEED = 20220101
SAVE_EVERY_SECONDS = 120.0
POSITIONS = 256  # compared with each other in an image


class Distillation(nn.Module):
    """The compact net with one linear head a layer onto the ImageNet net's channels.

    >>> features, predicted = Distillation()(torch.zeros(1, 3, 64, 64))
    >>> [layer.shape[1] for layer in features], [layer.shape[1] for layer in predicted]
    ([20, 40, 80], [64, 128, 256])
    """

    def __init__(self) -> None:
        super().__init__()
        small, large = BACKBONES["compact"], BACKBONES["resnet18"]
        self.compact = Teacher(small).requires_grad_(True)
        self.heads = nn.ModuleList(
            nn.Conv2d(a, b, 1) for a, b in zip(small.channels, large.channels, strict=True)
        )

    def train(self, mode: bool = True) -> "Distillation":
        """Set the mode of the compact net too, which as a `Teacher` would stay in evaluation."""
        for part in self.modules():
            part.training = mode
        return self

    def forward(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the compact features and the predicted ImageNet ones for images (B, 3, S, S)."""
        features = self.compact(images)
        return features, [head(x) for head, x in zip(self.heads, features, strict=True)]


def relation_loss(small: Tensor, large: Tensor, generator: torch.Generator) -> Tensor:
    """Return the unexplained share of the cosines between an image's positions, averaged.

    >>> features = torch.rand(2, 4, 8, 8)
    >>> float(relation_loss(features, 3 * features, torch.Generator())) < 1e-4
    True

    Args:
        small: (B, c, h, w) features that are trained.
        large: (B, C, h, w) features whose cosines are wanted.
        generator: picks the positions compared, `POSITIONS` at most.
    """
    chosen = torch.randperm(small[0, 0].numel(), generator=generator)[:POSITIONS]
    cosines = []
    for features in (small, large):
        unit = nn.functional.normalize(features.flatten(2)[:, :, chosen].float(), dim=1)
        cosines.append(unit.transpose(1, 2) @ unit)  # (B, positions, positions)
    found, wanted = cosines
    spread = wanted.var((1, 2), keepdim=True) + 1e-4
    return ((found - wanted).square() / spread).mean()


Targets = Callable[[Tensor], tuple[list[Tensor], list[Tensor]]]


def standardizer(teacher: Teacher, images: NDArray[np.uint8]) -> Targets:
    """Return a function from images to the teacher's features, raw and of unit variance.

    >>> images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)
    >>> _, standardized = standardizer(load_teacher("compact")[0], images)(normalize(images))
    >>> 0.9 < float(standardized[0].std()) < 1.1
    True
    """
    with torch.no_grad():
        features = teacher(normalize(images))
    means = [layer.mean((0, 2, 3), keepdim=True) for layer in features]
    deviations = [layer.std((0, 2, 3), keepdim=True) + 1e-3 for layer in features]

    @torch.no_grad()
    def targets(batch: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        raw = teacher(batch)
        layers = zip(raw, means, deviations, strict=True)
        return raw, [(layer - mean) / deviation for layer, mean, deviation in layers]

    return targets


def drawn(index: int) -> NDArray[np.uint8]:
    """Return generated image number `index`, (256, 256, 3): every third is a flawless demo part.

    >>> drawn(2).shape
    (256, 256, 3)
    """
    if index % 3 < 2:
        return dead_leaves(index)
    category = list(PARTS)[index // 3 % len(PARTS)]
    return render(category, "good", index, split="train", seed=SEED)[0]


def dead_leaves(index: int, size_px: int = 256) -> NDArray[np.uint8]:
    """Return generated image number `index`, (size_px, size_px, 3): overlapping textured shapes.

    >>> dead_leaves(0, size_px=64).shape
    (64, 64, 3)
    """
    rng = np.random.default_rng([SEED, index])
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32)
    canvas = np.broadcast_to(rng.uniform(0, 255, 3), (size_px, size_px, 3)).copy()
    for _ in range(int(rng.integers(20, 160))):
        reach = size_px * 0.5 * rng.uniform(0.06, 1) ** 3 + 2  # many small ones, few large ones
        center_y, center_x, angle = *rng.uniform(0, size_px, 2), rng.uniform(0, 2 * np.pi)
        low_y, low_x = max(int(center_y - reach), 0), max(int(center_x - reach), 0)
        window = np.s_[low_y : int(center_y + reach) + 1, low_x : int(center_x + reach) + 1]
        dy, dx = y[window] - center_y, x[window] - center_x
        along = dx * np.cos(angle) + dy * np.sin(angle)
        across = dy * np.cos(angle) - dx * np.sin(angle)
        flat = rng.uniform(0.1, 1)  # how narrow the shape is
        power = rng.choice([1.0, 2.0, 6.0])  # diamond, ellipse, rounded rectangle
        inside = np.abs(along / reach) ** power + np.abs(across / (flat * reach)) ** power < 1
        leaf = rng.uniform(0, 255, 3) + _texture(rng, along, across)[..., None]
        canvas[window] = np.where(inside[..., None], leaf, canvas[window])
    canvas = gaussian_filter(canvas, (sigma := rng.uniform(0.3, 0.9), sigma, 0))
    canvas += rng.normal(0, rng.uniform(0, 6), canvas.shape)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _texture(
    rng: np.random.Generator, along: NDArray[np.float32], across: NDArray[np.float32]
) -> NDArray[np.float32]:
    contrast, period = rng.uniform(0, 60), rng.uniform(2, 24)
    kind = rng.integers(4)
    if kind == 0:
        return contrast * np.sin(along * 2 * np.pi / period)
    if kind == 1:
        return contrast * np.sin(along * 2 * np.pi / period) * np.sin(across * 2 * np.pi / period)
    if kind == 2:
        noise = gaussian_filter(rng.normal(size=along.shape), rng.uniform(0.5, 4, 2))
        return (contrast * noise / (noise.std() + 1e-6)).astype(np.float32)
    return contrast * along / (np.abs(along).max() + 1)  # shading


def generated_images(n: int, file: Path) -> NDArray[np.uint8]:
    """Return `n` generated images (n, 256, 256, 3), made once and kept in `file` (.npy)."""
    if not file.exists():
        with ProcessPoolExecutor() as pool:
            made = pool.map(drawn, range(n), chunksize=16)
            images = np.stack(list(tqdm(made, total=n, desc="images", unit="image")))
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, lambda beside: _save_array(beside, images))
    loaded: NDArray[np.uint8] = np.load(file, mmap_mode="r")
    return loaded


def _save_array(path: Path, images: NDArray[np.uint8]) -> None:
    with path.open("wb") as file:
        np.save(file, images)


def cifar_images(archive: Path) -> NDArray[np.uint8]:
    """Return CIFAR-10's training images (50000, 32, 32, 3) from split/class/number.jpg in a zip."""
    with zipfile.ZipFile(archive) as files:
        names = sorted(n for n in files.namelist() if "train/" in n and n.endswith(".jpg"))
        return np.stack([np.asarray(Image.open(io.BytesIO(files.read(n)))) for n in names])


def crops(
    rng: np.random.Generator,
    n: int,
    generated: NDArray[np.uint8],
    photographs: NDArray[np.uint8] | None,
) -> NDArray[np.uint8]:
    """Return `n` crops (n, CROP_PX, CROP_PX, 3), a third of photographs if there are any.

    >>> crops(np.random.default_rng(0), 2, np.zeros((1, 256, 256, 3), np.uint8), None).shape
    (2, 128, 128, 3)
    """
    batch = np.empty((n, CROP_PX, CROP_PX, 3), np.uint8)
    for i in range(n):
        if photographs is not None and rng.random() < 1 / 3:
            crop = _mosaic(rng, photographs)
        else:
            y, x = rng.integers(0, generated.shape[1] - CROP_PX + 1, 2)
            crop = generated[rng.integers(len(generated)), y : y + CROP_PX, x : x + CROP_PX]
        crop = np.rot90(crop, int(rng.integers(4)))
        gain, shift = rng.uniform(0.7, 1.3, 3), rng.uniform(-25, 25)  # light and its color
        batch[i] = np.clip(crop * gain + shift, 0, 255)
    return batch


def _mosaic(rng: np.random.Generator, photographs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    per_side = int(rng.choice([1, 2]))  # 32 px photographs magnified four times, or twice
    side = CROP_PX // per_side
    canvas = np.empty((CROP_PX, CROP_PX, 3), np.uint8)
    for y in range(0, CROP_PX, side):
        for x in range(0, CROP_PX, side):
            photograph = Image.fromarray(photographs[rng.integers(len(photographs))])
            canvas[y : y + side, x : x + side] = np.asarray(
                photograph.resize((side, side), Image.Resampling.BICUBIC)
            )
    return canvas


def pretrain(
    generated: NDArray[np.uint8],
    photographs: NDArray[np.uint8] | None,
    imagenet: Teacher,
    out: Path,
    *,
    steps: int,
    start: Path | None = None,
    relations: float = 0.0,
    batch_size: int = 32,
    learning_rate: float = 3e-3,
) -> None:
    """Write `out`/compact.safetensors, resuming `out`/.compact.state if it is there.

    Args:
        generated: images (N, 256, 256, 3).
        photographs: CIFAR-10's images, if there are any.
        imagenet: the teacher's teacher.
        out: folder to write into.
        steps: of the optimizer.
        start: weights to begin with instead of random ones.
        relations: weight of `relation_loss` beside the squared error.
        batch_size: crops a step.
        learning_rate: the highest of the one cycle.
    """
    torch.manual_seed(0)
    model = Distillation().train()
    if start is not None:
        fill_module(model.compact, read_state_dict(start), str(start))
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps + 1)
    state_file, first, losses = out / ".compact.state", 0, []
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first, losses = state["step"], state["losses"]
    sample = crops(np.random.default_rng(0), 64, generated, photographs)
    targets = standardizer(imagenet, sample)
    saved = time.monotonic()
    bar = tqdm(range(first, steps), initial=first, total=steps, desc="distilling", unit="step")
    for step in bar:
        batch = normalize(
            crops(np.random.default_rng([1, step]), batch_size, generated, photographs)
        )
        with torch.autocast("cpu", torch.bfloat16):
            (large, wanted), (small, predicted) = targets(batch), model(batch)
        pairs = zip(predicted, wanted, strict=True)
        loss = torch.stack([(p.float() - w.float()).square().mean() for p, w in pairs]).mean()
        if relations:
            picks = torch.Generator().manual_seed(step)
            apart = [relation_loss(s, b, picks) for s, b in zip(small, large, strict=True)]
            loss = loss + relations * torch.stack(apart).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 50 == 49:
            bar.set_postfix(loss=f"{np.mean(losses[-50:]):.4f}")
        if time.monotonic() - saved > SAVE_EVERY_SECONDS:
            state = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "step": step + 1,
                "losses": losses,
            }
            replace_file(state_file, partial(torch.save, state))
            saved = time.monotonic()
    tensors = {key: value.contiguous() for key, value in model.compact.state_dict().items()}
    record = {
        "steps": steps,
        "batch_size": batch_size,
        "crop_px": CROP_PX,
        "n_generated": len(generated),
        "n_photographs": 0 if photographs is None else len(photographs),
        "start": None if start is None else hashlib.sha256(start.read_bytes()).hexdigest(),
        "relations": relations,
        "loss_last_500": round(float(np.mean(losses[-500:])), 4),
    }
    metadata = {"pretraining": json.dumps(record)}
    replace_file(out / "compact.safetensors", lambda beside: save_file(tensors, beside, metadata))
    state_file.unlink(missing_ok=True)


def main() -> None:
    """Run the pretraining from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for compact.safetensors")
    parser.add_argument("--weights", type=Path, help="ImageNet ResNet-18 file or folder")
    parser.add_argument("--cifar", type=Path, help="zip of CIFAR-10 as split/class/number.jpg")
    parser.add_argument("--images", type=int, default=4500, help="generated images")
    parser.add_argument("--steps", type=int, default=12000, help="optimizer steps of 32 crops")
    parser.add_argument("--start", type=Path, help="weights to begin with (second phase)")
    parser.add_argument("--relations", type=float, default=0.0, help="weight of the cosines")
    arguments = parser.parse_args()
    generated = generated_images(arguments.images, arguments.out / ".generated.npy")
    photographs = cifar_images(arguments.cifar) if arguments.cifar else None
    imagenet, _ = load_teacher("resnet18", arguments.weights)
    pretrain(
        generated, photographs, imagenet, arguments.out, steps=arguments.steps,
        start=arguments.start, relations=arguments.relations,
    )  # fmt: skip


if __name__ == "__main__":
    main()
