"""What a method is: fitted on normal images, then distance maps for any image.

All that follows (fusion, smoothing, scores, metrics, runs, pages) is shared and asks a method for
nothing else. A new method is one module with one subclass of `Method`, and one line in
`rd4ad.catalogue.METHODS`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rd4ad.catalogue import NO_BACKBONE, entry_of
from rd4ad.config import TrainingConfig
from rd4ad.methods.backbones import Teacher, backbone_named, load_teacher
from rd4ad.scoring import checked_layers

LossOf = Callable[[Tensor, torch.Generator], Tensor]
"""From the indices of a batch, and a generator for whatever is drawn at random, to its loss."""


class Session(Protocol):
    """What `Method.fit` is given; `rd4ad.training.session.Session` is the one there is."""

    config: TrainingConfig
    device: str

    def features(self, teacher: Teacher, images: NDArray[np.uint8]) -> list[Tensor]:
        """Return the teacher's features of all images, computed once."""
        ...

    def held_features(self, teacher: Teacher) -> list[Tensor] | None:
        """Return the teacher's features of held-out images, where the fit is to look at them."""
        ...

    def optimize(
        self, parts: nn.Module, optimizer: torch.optim.Optimizer, n_images: int, loss_of: LossOf,
        *, epochs: int | None = None, stage: str = "training",
        held_loss: Callable[[], float] | None = None,
    ) -> None:  # fmt: skip
        """Run the epochs, resumable."""
        ...

    def report(self, stage: str, done: int, total: int) -> None:
        """Say how far a stage is that is not resumable."""
        ...


class Method(nn.Module):
    """A method for one backbone and some layers, empty until `fit` or a checkpoint fills it.

    Args:
        backbone: a name in `rd4ad.methods.backbones.BACKBONES`, or `NO_BACKBONE`.
        layers: a choice of 1, 2, 3.
        teacher: a teacher with its weights; without one it is random, of use for shapes alone.
        settings: what a method needs to know of its own shape, see `settings_for`; kept in the
            checkpoint.

    Raises:
        ValueError: unknown backbone or layers.
    """

    name = ""
    """Its key in the catalogue."""

    def __init__(
        self,
        backbone: str,
        layers: tuple[int, ...],
        *,
        teacher: Teacher | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.layers = checked_layers(layers)
        self.settings = settings
        if backbone != NO_BACKBONE:
            self.teacher = teacher or Teacher(backbone_named(backbone))

    def fit(self, images: NDArray[np.uint8], session: Session) -> None:
        """Learn what is normal from images (N, S, S, 3)."""
        raise NotImplementedError

    def distance_maps(self, images: Tensor) -> dict[int, Tensor]:
        """Return the distance maps (B, h, w) by layer, non-negative, higher is more anomalous.

        A method with a score of its own for the whole image adds it, (B, 1, 1), under the key
        `rd4ad.scoring.IMAGE`.

        Args:
            images: (B, 3, S, S), normalized as for ImageNet, S a multiple of 32.
        """
        raise NotImplementedError

    def fitted_parts(self) -> nn.Module:
        """Return all that fitting changes and a checkpoint keeps; never the teacher."""
        raise NotImplementedError

    @classmethod
    def settings_for(cls, config: TrainingConfig, n_images: int) -> dict[str, Any]:
        """Return what the constructor needs beside backbone, layers and teacher, as JSON.

        Args:
            config: of the fit to come.
            n_images: how many images it will be fitted on.
        """
        return {}


def method_class(name: str) -> type[Method]:
    """Return the class of a method of the catalogue.

    >>> method_class("reverse_distillation").__name__
    'ReverseDistillation'

    Raises:
        ValueError: no such method.
    """
    module, _, cls = entry_of(name).home.partition(":")
    found: type[Method] = getattr(import_module(module), cls)
    return found


def teacher_of(
    backbone: str, weights: str | Path | None = None
) -> tuple[Teacher | None, dict[str, str]]:
    """Return a backbone's teacher and its file's `name` and `sha256`; (None, both empty) for none.

    >>> teacher_of("none")
    (None, {'name': '', 'sha256': ''})

    Raises:
        FileNotFoundError, ValueError: as `load_teacher`.
    """
    if backbone == NO_BACKBONE:
        return None, {"name": "", "sha256": ""}
    return load_teacher(backbone, weights)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw what torch draws inside from `seed`, and leave its own generator as it was.

    >>> with seeded(1):
    ...     a = torch.rand(1)
    >>> with seeded(1):
    ...     bool(torch.rand(1) == a)
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
