"""What a process of its own does for a benchmark: one fit, or one detector that it holds.

Memory is what Linux reports of the process; elsewhere it is nan.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from rd4ad.config import TrainingConfig
from rd4ad.inference.detector import Detector
from rd4ad.inference.torch_engine import TorchEngine
from rd4ad.machine import memory_bytes
from rd4ad.methods.method import teacher_of
from rd4ad.training.category import train
from rd4ad.training.session import TrainingProgress

_CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What such a process needs to know.

    Args:
        config: the method, its backbone and size.
        checkpoint: where its fit is written, and read from.
        weights: the teacher's file, or a folder with it.
        n_threads: of torch and of ONNX Runtime.
    """

    config: TrainingConfig
    checkpoint: Path
    weights: Path
    n_threads: int


class Stopwatch:
    """Sums up the second epochs of a fit's stages, whose steps alone know the loss of a first.

    >>> watch = Stopwatch()
    >>> watch(TrainingProgress("training", 4, 8, float("nan"), 1.0, 1.0))
    >>> watch.epoch_seconds
    0.0
    >>> watch(TrainingProgress("training", 8, 8, 0.5, 1.0, 1.0))
    >>> watch.epoch_seconds > 0
    True
    """

    def __init__(self) -> None:
        self.last, self.epoch_seconds = perf_counter(), 0.0

    def __call__(self, progress: TrainingProgress) -> None:
        """Take the time of a step."""
        now = perf_counter()
        if progress.loss == progress.loss:
            self.epoch_seconds += now - self.last
        self.last = now


def fit(job: Job, data: Path, category: str) -> tuple[float, int]:
    """Write the job's checkpoint; return the seconds of its schedule, and its parameters.

    One pass, or two epochs, are measured; the epochs beyond take as long as the second.
    """
    torch.set_num_threads(job.n_threads)
    epochs = job.config.epochs or 0
    n_measured = min(epochs, 2)
    watch = Stopwatch()
    detector = train(
        data,
        category,
        replace(job.config, epochs=n_measured),
        out=job.checkpoint,
        weights=job.weights,
        on_progress=watch,
    )
    seconds: float = detector.config["seconds"]
    assert isinstance(detector.engine, TorchEngine)  # which is what trains
    n_parameters = sum(part.numel() for part in detector.engine.module.parameters())
    return seconds + (epochs - n_measured) * watch.epoch_seconds, n_parameters


@dataclass(frozen=True)
class Held:
    """A detector in memory, an image for it, and what was in memory before, in MB."""

    detector: Detector
    image: NDArray[np.uint8]
    imports_mb: float
    teacher_mb: float


@cache
def warm_detector(job: Job) -> Held:
    """Return the job's detector, loaded once per process and warm; memory counts from here on."""
    torch.set_num_threads(job.n_threads)
    imports_mb = memory_mb("VmRSS")
    teacher, _ = teacher_of(str(job.config.backbone), job.weights)
    teacher_mb = memory_mb("VmRSS") - imports_mb
    del teacher  # the detector loads it again, into the same room
    detector = Detector.load(job.checkpoint, weights=job.weights, n_threads=job.n_threads)
    size_px = job.config.size_px
    image = np.random.default_rng(0).integers(0, 255, (size_px, size_px, 3), np.uint8)
    forget_peak()
    detector.predict(image)  # the first call allocates
    return Held(detector, image, imports_mb, teacher_mb)


def load(job: Job) -> None:
    """Load the job's detector into this process."""
    warm_detector(job)


def image_seconds(job: Job) -> float:
    """Return the seconds of one image, from uint8 pixels to smoothed map and score."""
    own = warm_detector(job)
    began = perf_counter()
    own.detector.predict(own.image)
    return perf_counter() - began


def footprint(job: Job) -> dict[str, float]:
    """Return what detector and images took beyond imports and teacher, and the teacher."""
    own = warm_detector(job)
    return {
        "memory_mb": memory_mb("VmHWM") - own.imports_mb - own.teacher_mb,
        "teacher_mb": own.teacher_mb,
    }


def memory_mb(line: str) -> float:
    """Return `rd4ad.machine.memory_bytes` in MB."""
    return memory_bytes(line) / 1e6


def forget_peak() -> None:
    """Let the most memory so far be what is in use now."""
    if _CLEAR.exists():
        _CLEAR.write_text("5")  # Linux, Documentation/filesystems/proc.rst
