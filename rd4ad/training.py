"""Train reverse distillation on the normal images of one category.

The teacher never changes and images are not augmented, so its features are computed once and kept:
in memory when they fit the stated budget, in a memory-mapped file beside the checkpoint otherwise.
The order of images depends on (seed, epoch) alone, so training that was killed goes on from its
last state to the same result as if it had never stopped (same machine, same number of threads).
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rd4ad.config import TrainingConfig
from rd4ad.data.folders import DatasetError, open_category
from rd4ad.data.images import read_images
from rd4ad.detector import Calibration, Detector, checked_checkpoint_name, normalise, replace_file
from rd4ad.methods.backbones import Teacher, load_teacher
from rd4ad.methods.reverse_distillation import ReverseDistillation
from rd4ad.scoring import Scoring

SAVE_EVERY_SECONDS = 120.0  # a kill costs at most this much work


@dataclass(frozen=True)
class TrainingProgress:
    """Where a training stands, given to `on_progress` after every step.

    Args:
        stage: "reading", "teacher" or "training".
        done: images handled in this stage, those of epochs before a resume included.
        total: images of this stage.
        loss: mean loss of the last whole epoch, nan before.
        images_per_second: of this stage, since it started or was resumed.
        seconds_left: of this stage at that rate.
    """

    stage: str
    done: int
    total: int
    loss: float
    images_per_second: float
    seconds_left: float


OnProgress = Callable[[TrainingProgress], None]


def train(
    data: str | Path,
    category: str,
    config: TrainingConfig | None = None,
    *,
    out: str | Path,
    weights: str | Path | None = None,
    device: str = "cpu",
    cache_mib: int = 4096,
    half: bool = False,
    skip_bad: bool = False,
    on_progress: OnProgress | None = None,
) -> Detector:
    """Train on `category`/train/good below `data`, write the checkpoint `out`, return the detector.

    >>> from tempfile import TemporaryDirectory
    >>> from rd4ad.data.parts import write_parts
    >>> with TemporaryDirectory() as folder:
    ...     write_parts(folder, categories=("bottle",), n_train=4, n_good=1, n_per_defect=1)
    ...     config = TrainingConfig(backbone="compact", size_px=64, epochs=1, holdout=0)
    ...     detector = train(folder, "bottle", config, out=Path(folder) / "bottle.safetensors")
    >>> detector.config["n_images"]
    4

    A state file `.<name>.state` beside `out` is written every two minutes; called again with the
    same arguments after a kill, training goes on from it. It is removed at the end.

    Args:
        data: folder of categories in MVTec layout.
        category: folder name below it.
        config: see `TrainingConfig`; the released settings by default.
        out: checkpoint to write, ending in .safetensors.
        weights: file or folder of the teacher's weights; see `find_weights`.
        device: a torch device.
        cache_mib: teacher features up to this size are kept in memory, larger ones in a file.
        half: store the checkpoint in float16; the threshold is that of the rounded networks.
        skip_bad: leave out unreadable images instead of stopping; they are reported by name.
        on_progress: called after every step.

    Raises:
        DatasetError: no such category, no normal images, or an unreadable image (without skip_bad).
        FileNotFoundError: no teacher weights.
        ValueError: a bad name for `out`, or the state file belongs to another configuration.
    """
    config = config or TrainingConfig()
    out = checked_checkpoint_name(out)
    report = _Reporter(on_progress)
    samples = open_category(Path(data), category).train
    read = read_images(
        [sample.path for sample in samples],
        config.size_px,
        skip_bad=skip_bad,
        progress=lambda done, total: report("reading", done, total),
    )
    kept, held = split_holdout(len(read.images), config.holdout, config.seed)
    teacher, teacher_file = load_teacher(config.backbone, weights)
    record = asdict(config) | {
        "category": category,
        "n_images": len(kept),
        "n_held_out": len(held),
        "teacher_sha256": teacher_file["sha256"],
        "n_threads": torch.get_num_threads(),
    }
    started = time.monotonic()
    method = fit(
        read.images[kept], config, teacher, out, record,
        device=device, cache_mib=cache_mib, report=report,
    )  # fmt: skip
    if half:
        method.trained_parts().half().float()  # what is calibrated is what will be loaded
    record["skipped"] = list(read.skipped)
    record["seconds"] = round(time.monotonic() - started, 1)
    detector = Detector(
        method,
        size_px=config.size_px,
        scoring=Scoring(layers=config.layers, sigma_px=config.sigma_px),
        teacher_file=teacher_file,
        config=record,
        device=device,
    )
    if len(held):
        detector.calibration = calibrate(detector, read.images[held], config.quantile)
    detector.save(out, half=half)
    state_path(out).unlink(missing_ok=True)
    return detector


def split_holdout(n: int, share: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return sorted indices (kept, held out) of `n` normal images.

    >>> [len(part) for part in split_holdout(50, 0.1, seed=0)]
    [45, 5]

    Raises:
        DatasetError: fewer than two images would be left to train on.
    """
    n_held = round(n * share)
    if n - n_held < 2:
        raise DatasetError(f"training needs at least 2 normal images, found {n}: add more")
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[n_held:]), np.sort(order[:n_held])


def calibrate(detector: Detector, images: NDArray[np.uint8], quantile: float) -> Calibration:
    """Return the calibration from normal images (N, S, S, 3) that training never saw."""
    predictions = detector.judge(detector.distances(images))
    return Calibration(scores=tuple(sorted(p.score for p in predictions)), quantile=quantile)


def state_path(out: Path) -> Path:
    """Return the file beside a checkpoint that holds an unfinished training."""
    return out.with_name(f".{out.name}.state")


def fit(
    images: NDArray[np.uint8],
    config: TrainingConfig,
    teacher: Teacher,
    out: Path,
    record: dict[str, Any],
    *,
    device: str,
    cache_mib: int,
    report: "_Reporter",
) -> ReverseDistillation:
    """Return the method trained on images (N, S, S, 3) uint8, going on from `out`'s state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        method = ReverseDistillation(config.backbone, config.layers, teacher=teacher).to(device)
    parts = method.trained_parts().train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(
        parts.parameters(),
        lr=config.learning_rate,
        betas=(0.5, 0.999),  # hq-deng/RD4AD main.py
        fused=True,
    )
    state, fingerprint = state_path(out), json.dumps(record, sort_keys=True)
    first_epoch, loss = _resume(state, fingerprint, parts, optimizer)
    cache_file = out.with_name(f".{out.name}.features")
    try:
        features = teacher_features(
            method.teacher, images, device=device, cache_mib=cache_mib, file=cache_file,
            report=report,
        )  # fmt: skip
        saved = time.monotonic()
        report.start("training", first_epoch * len(images))
        for epoch in range(first_epoch, config.epochs):
            loss = _run_epoch(method, optimizer, features, config, epoch, loss, report)
            if time.monotonic() - saved > SAVE_EVERY_SECONDS:
                _save_state(state, fingerprint, parts, optimizer, epoch + 1, loss)
                saved = time.monotonic()
    finally:
        cache_file.unlink(missing_ok=True)
    record["final_loss"] = loss
    return method


def _run_epoch(
    method: ReverseDistillation,
    optimizer: torch.optim.Optimizer,
    features: list[Tensor],
    config: TrainingConfig,
    epoch: int,
    last_loss: float,
    report: "_Reporter",
) -> float:
    device = next(method.parameters()).device
    n_images, done, total = len(features[0]), 0, 0.0
    for indices in batches(n_images, config.batch_size, config.seed, epoch):
        batch = [stack[indices].to(device) for stack in features]
        loss = method.loss(batch, config.loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(indices)
        done += len(indices)
        report("training", epoch * n_images + done, config.epochs * n_images, last_loss)
    return total / n_images


def batches(n: int, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """Yield the shuffled index batches of one epoch; they depend on the arguments alone.

    A last batch of one image joins the one before it: batch norm over one image of 1x1 features is
    undefined.

    >>> [len(batch) for batch in batches(33, 16, seed=0, epoch=0)]
    [16, 17]
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(n, generator=generator)
    cuts = list(range(batch_size, n, batch_size))
    if cuts and n - cuts[-1] == 1:
        cuts.pop()
    yield from torch.tensor_split(order, cuts)


@torch.no_grad()
def teacher_features(
    teacher: Teacher,
    images: NDArray[np.uint8],
    *,
    device: str,
    cache_mib: int,
    file: Path,
    report: "_Reporter",
    batch_size: int = 16,
) -> list[Tensor]:
    """Return the teacher's features of all images, (N, C, h, w) float32 a layer, finest first.

    They lie channels last, as the convolutions of training want them. Up to `cache_mib` they are
    in memory; beyond, they are one memory-mapped `file`, and so need no more memory than the pages
    in use.
    """
    report.start("teacher", 0)
    stacks: list[Tensor] = []
    for start in range(0, len(images), batch_size):
        batch = normalise(images[start : start + batch_size]).to(device)
        features = [layer.cpu() for layer in teacher(batch)]
        if not stacks:
            stacks = _room_for(features, len(images), cache_mib, file)
        for stack, layer in zip(stacks, features, strict=True):
            stack[start : start + len(layer)] = layer
        report("teacher", start + len(batch), len(images))
    return stacks


def _room_for(features: list[Tensor], n: int, cache_mib: int, file: Path) -> list[Tensor]:
    shapes = [(n, *layer.shape[1:]) for layer in features]
    sizes = [int(np.prod(shape)) for shape in shapes]
    if sum(sizes) * 4 <= cache_mib * 2**20:
        flat = torch.empty(sum(sizes))
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        flat = torch.from_file(str(file), shared=True, size=sum(sizes))
    return [
        part.view(n, h, w, c).permute(0, 3, 1, 2)
        for part, (n, c, h, w) in zip(flat.split(sizes), shapes, strict=True)
    ]


def _save_state(
    path: Path,
    fingerprint: str,
    parts: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    loss: float,
) -> None:
    state = {
        "fingerprint": fingerprint,
        "epoch": epoch,
        "loss": loss,
        "parts": parts.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    replace_file(path, lambda beside: torch.save(state, beside))


def _resume(
    path: Path, fingerprint: str, parts: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    if not path.exists():
        return 0, float("nan")
    state = torch.load(path, weights_only=True)
    if state["fingerprint"] != fingerprint:
        raise ValueError(
            f"{path} holds an unfinished training with another configuration: finish it with the "
            "same arguments, remove that file, or choose another --out"
        )
    parts.load_state_dict(state["parts"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epoch"]), float(state["loss"])


class _Reporter:
    """Turns counts into rates for `on_progress`."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self.on_progress = on_progress
        self.start("reading", 0)

    def start(self, stage: str, done: int) -> None:
        self.stage, self.began, self.done_before = stage, time.monotonic(), done

    def __call__(self, stage: str, done: int, total: int, loss: float = float("nan")) -> None:
        if self.on_progress is None:
            return
        rate = (done - self.done_before) / max(time.monotonic() - self.began, 1e-9)
        left = (total - done) / rate if rate else float("nan")
        self.on_progress(TrainingProgress(stage, done, total, loss, rate, left))
