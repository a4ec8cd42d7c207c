"""What determines a training, checked once, without torch."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from rd4ad.catalogue import DEFAULT_METHOD, Entry, entry_of
from rd4ad.scoring import Scoring, checked_layers

LOSS_NAMES = ("flattened", "per_position")
PRECISIONS = ("float32", "bfloat16")
ENGINES = ("onnx", "torch")  # what runs the networks: ONNX Runtime on a CPU, or torch


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """All that determines a training, beside the images and the teacher's weights.

    >>> config = TrainingConfig()
    >>> config.backbone, config.layers, config.epochs, config.learning_rate
    ('resnet18', (1, 2, 3), 200, 0.005)

    What is None becomes the method's own default, which follows its paper or released code.

    Args:
        method: method, e.g. reverse_distillation, padim
        backbone: resnet18, resnet34, resnet50, wide_resnet50_2 (ImageNet), compact or distilled
            (bundled)
        layers: layers used in training, a choice of 1, 2, 3
        size_px: side in pixels to which images are resized, a multiple of 32
        epochs: passes over the normal images; 0 for methods fitted in one pass
        batch_size: images per step
        learning_rate: the optimizer's step size
        loss: of reverse distillation: flattened (released code) or per_position (the paper's text)
        precision: float32 (released code) or bfloat16; for the command, auto takes the quicker
        seed: of initial weights, order and held-out choice
        holdout: share of normal images held out of training to calibrate the threshold, in [0, 0.5]
        quantile: share of held-out normal scores under the threshold, in [0.5, 1]
        sigma_px: Gaussian smoothing of the anomaly map in pixels (RD4AD: 4 at every size)

    Raises:
        ValueError: a value outside its range.
    """

    method: str = DEFAULT_METHOD
    backbone: str | None = None
    layers: tuple[int, ...] | None = None
    size_px: int = 256
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    loss: str = "flattened"
    precision: str = "float32"
    seed: int = 0
    holdout: float = 0.1
    quantile: float = 0.99
    sigma_px: float | None = None

    def __post_init__(self) -> None:
        entry = entry_of(self.method)
        defaults = {"backbone": entry.backbones[0]} | {
            name: getattr(entry, name)
            for name in ("layers", "epochs", "batch_size", "learning_rate", "sigma_px")
        }
        for name, default in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        object.__setattr__(self, "layers", checked_layers(tuple(self.layers or ())))
        for name in ("learning_rate", "holdout", "quantile", "sigma_px"):
            if isinstance(getattr(self, name), int):  # 0 and 0.0 are one setting, and one run id
                object.__setattr__(self, name, float(getattr(self, name)))
        checked_size(self.size_px)
        self.scoring()
        for name, choices in (
            ("backbone", entry.backbones), ("loss", LOSS_NAMES), ("precision", PRECISIONS),
        ):  # fmt: skip
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} must be one of {', '.join(choices)}; got {getattr(self, name)!r}"
                )
        for name, (low, high) in self._ranges(entry).items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must lie in [{low}, {high}]; got {getattr(self, name)}")

    def scoring(self) -> Scoring:
        """Return how the trained detector scores: as the method's paper does.

        >>> TrainingConfig(layers=(2, 3)).scoring().layers
        (2, 3)
        """
        entry = entry_of(self.method)
        return Scoring(
            layers=entry.map_layers(tuple(self.layers or ())),
            sigma_px=entry.sigma_px if self.sigma_px is None else self.sigma_px,
            score=entry.score,
        )

    @staticmethod
    def _ranges(entry: Entry) -> dict[str, tuple[float, float]]:
        ranges: dict[str, tuple[float, float]] = {
            "epochs": (1, 100_000) if entry.epochs else (0, 0),  # fitted in one pass
            "batch_size": (2, 1024),
            "seed": (0, 2**31 - 1),
            "holdout": (0.0, 0.5),
            "quantile": (0.5, 1.0),
        }
        return ranges | ({"learning_rate": (1e-7, 1.0)} if entry.epochs else {})


@dataclass(frozen=True, kw_only=True)
class Stop:
    """When a training ends before its last epoch; with neither, it does not.

    Args:
        budget_minutes: it ends with the last epoch that fits, teacher's features included.
        patience: it ends once so many epochs brought no lower loss of held-out normal images.

    Raises:
        ValueError: a value that would end it before it began.
    """

    budget_minutes: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.budget_minutes is not None and not self.budget_minutes > 0:
            raise ValueError(f"budget_minutes must be over 0; got {self.budget_minutes}")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience must be 1 epoch or more; got {self.patience}")

    def ends(self, minutes: float, epochs: int, held_losses: Sequence[float]) -> bool:
        """Return whether a training ends after an epoch.

        >>> Stop(budget_minutes=10).ends(9, epochs=9, held_losses=[])  # the tenth fits
        False
        >>> Stop(patience=2).ends(9, epochs=4, held_losses=[0.3, 0.1, 0.2, 0.2])
        True

        Args:
            minutes: since it began.
            epochs: done.
            held_losses: of held-out normal images after every epoch.
        """
        if self.budget_minutes is not None and minutes * (1 + 1 / epochs) > self.budget_minutes:
            return True
        if self.patience is None or not held_losses:
            return False
        return len(held_losses) - 1 - held_losses.index(min(held_losses)) >= self.patience


KEPT_SECONDS = 3600
"""How long a server keeps what a visitor sent, and what was made of it."""
OVERLAYS = ("jpeg", "png", "defective", "none")
"""Which overlays `predict` writes: of every image, as JPEG of defective ones alone, or none."""
OVERLAY_PX = 1024
"""Longer side of an overlay."""


def number_setting(name: str, default: float) -> float:
    """Return an operator's setting from the environment; 0 means no limit.

    Args:
        name: of the variable.
        default: where it is not set.

    Raises:
        ValueError: it is no number, or under 0; names it.
    """
    text = os.environ.get(name, str(default))
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}: expected a number") from None
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name} is {text!r}: expected 0 (no limit) or more")
    return number


def checked_size(size_px: int) -> int:
    """Return `size_px`, a multiple of 32 from 32 to 1024 (the networks halve it five times).

    >>> checked_size(256)
    256

    Raises:
        ValueError: anything else; the message gives the nearest size that works.
    """
    if size_px % 32 or not 32 <= size_px <= 1024:
        nearest = min(max(32, 32 * round(size_px / 32)), 1024)
        raise ValueError(
            f"size_px must be a multiple of 32 from 32 to 1024; got {size_px}, try {nearest}"
        )
    return size_px
