"""The torch border: a method's networks turn images into NumPy distance maps. No gradients here."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rd4ad.checkpoint import Tensors
from rd4ad.data.images import IMAGENET_MEAN, IMAGENET_STD
from rd4ad.engine import Header
from rd4ad.methods import backbones
from rd4ad.methods.method import Method, method_class, teacher_of
from rd4ad.methods.reverse_distillation import ReverseDistillation
from rd4ad.scoring import IMAGE, Maps


class TorchEngine:
    """A fitted method on a torch device; see `rd4ad.engine.Engine`.

    >>> engine = TorchEngine(ReverseDistillation("compact"))
    >>> found = engine.distances(np.zeros((1, 64, 64, 3), np.uint8), (3,))
    >>> {layer: maps.shape for layer, maps in found.items()}
    {3: (1, 4, 4)}

    Args:
        module: fitted; in evaluation mode from here on.
        device: a torch device.
    """

    name = "torch"
    batch_size = 16

    def __init__(self, module: Method, device: str = "cpu") -> None:
        self.module = module.eval().to(device)
        self.device = device
        self.method, self.backbone = module.name, module.backbone
        self.layers, self.settings = module.layers, module.settings

    @torch.no_grad()
    def distances(self, images: NDArray[np.uint8], layers: tuple[int, ...]) -> dict[int, Maps]:
        """Return the distance maps (N, h, w) of some of its layers; see `Engine`.

        A method's own score of the image, under `rd4ad.scoring.IMAGE`, comes with any of them.
        """
        found = self.module.distance_maps(normalise(images).to(self.device))
        return {
            layer: stack.cpu().numpy()
            for layer, stack in found.items()
            if layer in layers or layer == IMAGE
        }

    def tensors(self) -> Tensors:
        """Return all that fitting changed."""
        state = self.module.fitted_parts().state_dict()
        return {name: tensor.cpu().contiguous().numpy() for name, tensor in state.items()}


def load_engine(
    header: Header, tensors: Tensors, origin: str, *,
    weights: str | Path | None = None, device: str = "cpu",
) -> TorchEngine:  # fmt: skip
    """Return a checkpoint's engine.

    Args:
        header, tensors: the checkpoint's.
        origin: its name, for messages.
        weights: file or folder of the teacher's weights; found as in `find_weights` otherwise.
        device: a torch device.

    Raises:
        FileNotFoundError: the teacher's weights are not here.
        ValueError: an unknown method, another teacher file than it was trained with, or tensors
            that do not fit.
    """
    teacher = teacher_named(header, weights, origin)
    module = method_class(header["method"])(
        header["backbone"],
        tuple(header["layers"]),
        teacher=teacher,
        **header.get("settings", {}),
    )
    state = {name: torch.from_numpy(array) for name, array in tensors.items()}
    backbones.fill_module(module.fitted_parts(), state, origin)
    return TorchEngine(module, device)


def official_engine(
    checkpoint: Path, backbone: str, *, weights: str | Path | None = None, device: str = "cpu"
) -> tuple[TorchEngine, dict[str, str]]:
    """Return the engine of a checkpoint of the released code, and its teacher's file.

    Raises:
        FileNotFoundError: no such file, or no teacher weights.
        ValueError: not such a checkpoint, or of another backbone.
    """
    if not checkpoint.is_file():
        raise FileNotFoundError(f"no checkpoint at {checkpoint}")
    state: dict[str, Any] = backbones.read_state_dict(checkpoint)
    if not {"bn", "decoder"} <= set(state):
        raise ValueError(
            f"{checkpoint} is no checkpoint of the released code: expected the entries 'bn' "
            f"and 'decoder', found {', '.join(sorted(state)[:6])}"
        )
    teacher, teacher_file = backbones.load_teacher(backbone, weights)
    method = ReverseDistillation(backbone, teacher=teacher)
    backbones.fill_module(method.bottleneck, state["bn"], f"{checkpoint} ('bn')")
    backbones.fill_module(method.student, state["decoder"], f"{checkpoint} ('decoder')")
    return TorchEngine(method, device), teacher_file


def teacher_named(
    header: Header, weights: str | Path | None = None, origin: str = "the checkpoint"
) -> backbones.Teacher | None:
    """Return the teacher that a checkpoint names; None for methods that have none.

    Args:
        header: the checkpoint's.
        weights: file or folder; found as in `find_weights` otherwise.
        origin: its name, for messages.

    Raises:
        FileNotFoundError: the teacher's weights are not here.
        ValueError: another teacher file than the one that the checkpoint names.
    """
    teacher, found = teacher_of(header["backbone"], weights)
    wanted = header["teacher_file"]
    if wanted["sha256"] != found["sha256"]:
        raise ValueError(
            f"{origin} was trained with the teacher file {wanted['name']} "
            f"(sha256 {wanted['sha256'][:12]}...), but {found['name']} "
            f"({found['sha256'][:12]}...) was found: name the right one with --weights"
        )
    return teacher


def normalise(images: NDArray[np.uint8]) -> Tensor:
    """Return images (N, S, S, 3) uint8 as (N, 3, S, S) float32, normalised as for ImageNet.

    >>> tuple(normalise(np.zeros((2, 64, 64, 3), np.uint8)).shape)
    (2, 3, 64, 64)
    """
    batch = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    return (batch - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(
        3, 1, 1
    )
