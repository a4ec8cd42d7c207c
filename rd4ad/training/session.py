"""What a method is given to fit with: cached teacher features and a loop that survives a kill.

The teacher never changes and images are not augmented for it, so its features are computed once and
kept: in memory when they fit the stated budget, in a memory-mapped file beside the checkpoint
otherwise. The order of images depends on (seed, epoch) alone, so training that was killed goes on
from its last state to the same result as if it had never stopped (same machine, same number of
threads).
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from glob import escape
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rd4ad.config import Stop, TrainingConfig
from rd4ad.inference.checkpoint import replace_file
from rd4ad.inference.torch_engine import normalize
from rd4ad.methods.backbones import Teacher
from rd4ad.methods.method import LossOf

SAVE_EVERY_SECONDS = 120.0  # a kill costs at most this much work


@dataclass(frozen=True)
class TrainingProgress:
    """Where a training stands, given to `on_progress` after every step.

    Args:
        stage: "reading", "teacher", "training", or another step that a method names.
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


class Reporter:
    """Turns counts into rates for `on_progress`."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self.on_progress = on_progress
        self.start("reading", 0)

    def start(self, stage: str, done: int) -> None:
        """Begin to count a stage of which `done` images are there already."""
        self.stage, self.began, self.done_before = stage, time.monotonic(), done

    def __call__(self, stage: str, done: int, total: int, loss: float = float("nan")) -> None:
        """Report that `done` of `total` images of a stage are done."""
        if stage != self.stage:
            self.start(stage, 0)
        if self.on_progress is None:
            return
        rate = (done - self.done_before) / max(time.monotonic() - self.began, 1e-9)
        left = (total - done) / rate if rate else float("nan")
        self.on_progress(TrainingProgress(stage, done, total, loss, rate, left))


class Session:
    """One fit of a method: its configuration, and what is kept beside the checkpoint meanwhile.

    Args:
        config: see `TrainingConfig`.
        out: the checkpoint to be; state and cache lie beside it.
        record: what determines the fit; a state with another record is refused.
        device: a torch device.
        cache_mib: teacher features up to this size are kept in memory, larger ones in a file.
        report: called as work goes on.
        stop: when a stage ends before its last epoch.
        held: (N, S, S, 3) held-out normal images, which `stop` may look at.
        on_epoch: called with the number of epochs done after each; the stage ends if it says so.
    """

    def __init__(
        self,
        config: TrainingConfig,
        out: Path,
        record: dict[str, Any],
        *,
        device: str = "cpu",
        cache_mib: int = 4096,
        report: Reporter | None = None,
        stop: Stop | None = None,
        held: NDArray[np.uint8] | None = None,
        on_epoch: Callable[[int], bool] = lambda epochs_done: False,
    ) -> None:
        self.config, self.out, self.device, self.cache_mib = config, out, device, cache_mib
        self.report = report or Reporter(None)
        self.fingerprint = json.dumps(record, sort_keys=True)
        self.stop, self.held, self.on_epoch = stop or Stop(), held, on_epoch
        self.final_loss: float | None = None
        self.epochs_done = 0
        self._began = time.monotonic()
        self._cache = out.with_name(f".{out.name}.features")
        self._held_cache = out.with_name(f".{out.name}.held-features")

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self._cache.unlink(missing_ok=True)
        self._held_cache.unlink(missing_ok=True)

    def features(self, teacher: Teacher, images: NDArray[np.uint8]) -> list[Tensor]:
        """Return the teacher's features of images (N, S, S, 3); see `teacher_features`."""
        return teacher_features(
            teacher, images,
            device=self.device, cache_mib=self.cache_mib, file=self._cache, report=self.report,
        )  # fmt: skip

    def held_features(self, teacher: Teacher) -> list[Tensor] | None:
        """Return the teacher's features of held-out images; None where nothing looks at them."""
        if self.stop.patience is None or self.held is None:
            return None
        return teacher_features(
            teacher, self.held,
            device=self.device, cache_mib=self.cache_mib, file=self._held_cache,
            report=Reporter(None),
        )  # fmt: skip

    def optimize(
        self,
        parts: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        n_images: int,
        loss_of: LossOf,
        *,
        epochs: int | None = None,
        stage: str = "training",
        held_loss: Callable[[], float] | None = None,
    ) -> None:
        """Run a stage's epochs, going on from its state if it was stopped before.

        Args:
            parts: what is trained; put into training mode.
            optimizer: over the parameters of `parts`.
            n_images: they come in batches of the configuration's size, shuffled every epoch.
            loss_of: from a batch's indices and a generator, seeded by (seed, epoch), to its loss.
            epochs: the configuration's by default.
            stage: its name, unique within a fit.
            held_loss: of held-out normal images, in evaluation mode; asked for after every epoch.

        Raises:
            ValueError: the state file is damaged or belongs to another configuration, or the loss
                is no longer finite.
        """
        epochs = self.config.epochs if epochs is None else epochs
        assert epochs is not None
        state = state_path(self.out, stage)
        so_far = self._resume(state, parts, optimizer)
        loss, held_losses = so_far.loss, list(so_far.held_losses)
        began, saved = self._began - 60 * so_far.minutes, time.monotonic()
        self.report.start(stage, so_far.epoch * n_images)
        has_ended = so_far.epoch and self.stop.ends(so_far.minutes, so_far.epoch, held_losses)
        for epoch in range(epochs if has_ended else so_far.epoch, epochs):
            parts.train()
            loss = self._run_epoch(optimizer, n_images, loss_of, epoch, epochs, stage, loss)
            if not math.isfinite(loss):
                raise ValueError(
                    f"the training diverged: the loss of epoch {epoch + 1} is {loss}; try a lower "
                    "--learning-rate"
                )
            if held_loss:
                parts.eval()
                held_losses.append(held_loss())
            now = time.monotonic()
            minutes = (now - began) / 60
            is_last = epoch + 1 == epochs or self.stop.ends(minutes, epoch + 1, held_losses)
            is_last = self.on_epoch(epoch + 1) or is_last
            if is_last or now - saved > SAVE_EVERY_SECONDS:
                done = Progressed(epoch + 1, loss, minutes, held_losses)
                self._save_state(state, parts, optimizer, done)
                saved = now
            self.epochs_done = epoch + 1
            if is_last:
                break
        self.final_loss = loss
        self.epochs_done = self.epochs_done or so_far.epoch

    def _run_epoch(
        self,
        optimizer: torch.optim.Optimizer,
        n_images: int,
        loss_of: LossOf,
        epoch: int,
        epochs: int,
        stage: str,
        last_loss: float,
    ) -> float:
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + epoch)
        done, losses = 0, []
        assert self.config.batch_size is not None
        lower = torch.autocast(
            torch.device(self.device).type,
            torch.bfloat16,
            enabled=self.config.precision == "bfloat16",
        )
        for indices in batches(n_images, self.config.batch_size, generator):
            with lower:
                loss = loss_of(indices, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append((loss.detach(), len(indices)))  # to be read later: a GPU runs ahead
            done += len(indices)
            self.report(stage, epoch * n_images + done, epochs * n_images, last_loss)
        return sum(loss.item() * n for loss, n in losses) / n_images

    def _save_state(
        self,
        path: Path,
        parts: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        done: "Progressed",
    ) -> None:
        state = asdict(done) | {
            "fingerprint": self.fingerprint,
            "parts": parts.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        replace_file(path, lambda beside: torch.save(state, beside))

    def _resume(
        self, path: Path, parts: torch.nn.Module, optimizer: torch.optim.Optimizer
    ) -> "Progressed":
        if not path.exists():
            return Progressed()
        state = _read_state(path)
        if state["fingerprint"] != self.fingerprint:
            raise ValueError(
                f"{path} holds an unfinished training with another configuration: finish it with "
                "the same arguments, remove that file, or choose another --out"
            )
        parts.load_state_dict(state["parts"])
        optimizer.load_state_dict(state["optimizer"])
        return Progressed(**{field.name: state[field.name] for field in fields(Progressed)})


@dataclass(frozen=True)
class Progressed:
    """How far a stage is.

    Args:
        epoch: epochs done.
        loss: mean loss of the last, nan before.
        minutes: that they took, whatever lay between them.
        held_losses: of held-out normal images after each, where something looks at them.
    """

    epoch: int = 0
    loss: float = float("nan")
    minutes: float = 0.0
    held_losses: list[float] = field(default_factory=list)


def _read_state(path: Path) -> dict[str, Any]:
    expected = ["fingerprint", "parts", "optimizer", *(field.name for field in fields(Progressed))]
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        return {key: state[key] for key in expected}
    except (UnpicklingError, RuntimeError, EOFError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no readable state of a training: it was damaged; remove it to start again"
        ) from error


def state_path(out: Path, stage: str = "training") -> Path:
    """Return the file beside a checkpoint that holds an unfinished stage of its training.

    >>> state_path(Path("runs/bottle.safetensors")).name
    '.bottle.safetensors.training.state'
    """
    return out.with_name(f".{out.name}.{stage}.state")


def recorded(out: Path, stage: str = "training") -> dict[str, Any] | None:
    """Return what determines the unfinished training of a checkpoint; None if there is none.

    >>> recorded(Path("nowhere.safetensors")) is None
    True
    """
    path = state_path(out, stage)
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(_read_state(path)["fingerprint"])
    return found


def remove_states(out: Path) -> None:
    """Remove the states of all stages; the checkpoint is whole."""
    for path in out.parent.glob(f".{escape(out.name)}.*.state"):
        path.unlink()


def batches(n: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the shuffled index batches of one epoch.

    A last batch of one image joins the one before it: batch norm over one image of 1x1 features is
    undefined.

    >>> [len(batch) for batch in batches(33, 16, torch.Generator())]
    [16, 17]
    """
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
    report: Reporter,
    batch_size: int = 16,
) -> list[Tensor]:
    """Return the teacher's features of all images, (N, C, h, w) float32 a layer, finest first.

    They lie channels last, as the convolutions of training want them. Up to `cache_mib` they are
    in memory, a GPU's own where that leaves half of it free; beyond, they are one memory-mapped
    `file`, and so need no more memory than the pages in use.
    """
    stacks: list[Tensor] = []
    for start in range(0, len(images), batch_size):
        features = teacher(normalize(images[start : start + batch_size]).to(device))
        if not stacks:
            stacks = _room_for(features, len(images), cache_mib, file)
        for stack, layer in zip(stacks, features, strict=True):
            stack[start : start + len(layer)] = layer
        report("teacher", start + len(features[0]), len(images))
    return stacks


def _room_for(features: list[Tensor], n: int, cache_mib: int, file: Path) -> list[Tensor]:
    shapes = [(n, *layer.shape[1:]) for layer in features]
    sizes = [int(np.prod(shape)) for shape in shapes]
    if sum(sizes) * 4 <= cache_mib * 2**20:
        device = features[0].device
        if device.type == "cuda" and sum(sizes) * 8 > torch.cuda.mem_get_info(device)[0]:
            device = torch.device("cpu")
        flat = torch.empty(sum(sizes), device=device)
    else:
        with file.open("wb") as reserved:  # a full disk is an error here, not a crash later
            os.posix_fallocate(reserved.fileno(), 0, 4 * sum(sizes))
        flat = torch.from_file(str(file), shared=True, size=sum(sizes))
    return [
        part.view(n, h, w, c).permute(0, 3, 1, 2)
        for part, (n, c, h, w) in zip(flat.split(sizes), shapes, strict=True)
    ]
