"""The torch border: a trained method with all that it needs to turn images into NumPy figures.

Gradients are off here and nowhere else. A checkpoint is one .safetensors file: bottleneck and
student as tensors; configuration, teacher's name and sha256, and calibration as JSON in its header.
The frozen teacher is not in it: fifteen categories share one teacher, which is found by name and
compared by hash.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from rd4ad.checkpoint import SCHEMA, read_checkpoint, replace_file
from rd4ad.config import checked_size
from rd4ad.data.images import IMAGENET_MEAN, IMAGENET_STD, Picture, read_image, resize_image
from rd4ad.methods import backbones
from rd4ad.methods.method import Method, method_class, teacher_of
from rd4ad.methods.reverse_distillation import ReverseDistillation
from rd4ad.prediction import Calibration, Prediction, predictions
from rd4ad.scoring import Maps, Scoring


class Detector:
    """A method, its scoring and its calibration; images in, NumPy out.

    Args:
        method: fitted; in evaluation mode from here on.
        size_px: side to which images are resized; a multiple of 32.
        scoring: how distance maps are fused and scored.
        teacher_file: `name` and `sha256` of the teacher's weight file.
        calibration: scores of held-out normal images, if there were any.
        config: the training configuration, kept for the record.
    """

    def __init__(
        self,
        method: Method,
        *,
        size_px: int,
        scoring: Scoring,
        teacher_file: dict[str, str],
        calibration: Calibration | None = None,
        config: dict[str, Any] | None = None,
        device: str = "cpu",
    ) -> None:
        self.method = method.eval().to(device)
        self.size_px = checked_size(size_px)
        self.scoring = scoring
        self.teacher_file = teacher_file
        self.calibration = calibration
        self.config = config or {}
        self.device = device

    @torch.no_grad()
    def distances(
        self,
        images: NDArray[np.uint8],
        *,
        batch_size: int = 16,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[int, Maps]:
        """Return the distance maps by layer, (N, h, w) float32, of images (N, S, S, 3) uint8.

        Raises:
            ValueError: a map holds NaN or infinity: the detector's training diverged.
        """
        parts: list[dict[int, Tensor]] = []
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            maps = self.method.distance_maps(self.normalised(batch))
            parts.append({layer: stack.cpu() for layer, stack in maps.items()})
            if progress:
                progress(start + len(batch), len(images))
        stacked = {layer: torch.cat([part[layer] for part in parts]) for layer in parts[0]}
        if not all(bool(torch.isfinite(stack).all()) for stack in stacked.values()):
            raise ValueError(
                "the detector's distance maps hold NaN or infinity: its training diverged; "
                "train it again with a lower --learning-rate"
            )
        return {layer: stack.numpy() for layer, stack in stacked.items()}

    def normalised(self, images: NDArray[np.uint8]) -> Tensor:
        """Return images (N, S, S, 3) uint8 as the teacher's input (N, 3, S, S) float32."""
        return normalise(images).to(self.device)

    def predict(
        self, images: Picture | Sequence[Picture], *, batch_size: int = 16
    ) -> list[Prediction]:
        """Return one prediction an image, in order.

        Args:
            images: one or several of: a path, a PIL image, an (H, W, 3) uint8 array.
            batch_size: images a forward pass; changes speed and memory only.

        Raises:
            ValueError: something that is not an image; the message names it.
        """
        if isinstance(images, (str, Path, Image.Image)) or (
            isinstance(images, np.ndarray) and images.ndim == 3
        ):
            images = [images]
        predictions: list[Prediction] = []
        for start in range(0, len(images), batch_size):
            batch = [
                resize_image(read_image(image), self.size_px)
                for image in images[start : start + batch_size]
            ]
            predictions += self.judge(self.distances(np.stack(batch), batch_size=batch_size))
        return predictions

    def judge(self, distances: dict[int, Maps]) -> list[Prediction]:
        """Return the predictions for distance maps by layer, (N, h, w) each."""
        return predictions(distances, self.scoring, self.size_px, self.calibration)

    def with_scoring(self, **changes: Any) -> "Detector":
        """Return a detector that shares this one's networks and scores otherwise, uncalibrated."""
        return Detector(
            self.method,
            size_px=self.size_px,
            scoring=replace(self.scoring, **changes),
            teacher_file=self.teacher_file,
            config=self.config,
            device=self.device,
        )

    def save(self, path: str | Path, *, half: bool = False) -> None:
        """Write the checkpoint to `path` (.safetensors), beside it first and then renamed.

        Args:
            half: store float16, half the size; reading gives float32 again, rounded.

        Raises:
            ValueError: the name does not end in .safetensors.
            OSError: the folder cannot be written, or the disk is full; nothing half-written stays.
        """
        path = checked_checkpoint_name(path)
        header = {
            "schema": SCHEMA,
            "method": self.method.name,
            "backbone": self.method.backbone,
            "layers": self.method.layers,
            "settings": self.method.settings,
            "size_px": self.size_px,
            "scoring": asdict(self.scoring),
            "teacher_file": self.teacher_file,
            "calibration": asdict(self.calibration) if self.calibration else None,
            "config": self.config,
        }
        tensors = self.method.fitted_parts().state_dict()
        if half:
            tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
        tensors = {key: value.cpu().contiguous() for key, value in tensors.items()}
        metadata = {"rd4ad": json.dumps(header, sort_keys=True)}
        replace_file(path, lambda beside: save_file(tensors, beside, metadata))

    @classmethod
    def load(
        cls, path: str | Path, *, weights: str | Path | None = None, device: str = "cpu"
    ) -> "Detector":
        """Return the detector that `save` wrote to `path`.

        Args:
            path: a .safetensors checkpoint of this package.
            weights: file or folder of the teacher's weights; found as in `find_weights` otherwise.
            device: a torch device.

        Raises:
            FileNotFoundError: no such checkpoint, or the teacher's weights are not here.
            ValueError: truncated, not a checkpoint of this package, of a newer schema, of an
                unknown method, or trained with another teacher file than the one found.
        """
        path = Path(path)
        header, arrays = read_checkpoint(path)
        tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
        teacher, teacher_file = teacher_of(header["backbone"], weights)
        wanted = header["teacher_file"]
        if wanted["sha256"] != teacher_file["sha256"]:
            raise ValueError(
                f"{path} was trained with the teacher file {wanted['name']} "
                f"(sha256 {wanted['sha256'][:12]}...), but {teacher_file['name']} "
                f"({teacher_file['sha256'][:12]}...) was found: name the right one with --weights"
            )
        method = method_class(header["method"])(
            header["backbone"],
            tuple(header["layers"]),
            teacher=teacher,
            **header.get("settings", {}),
        )
        backbones.fill_module(method.fitted_parts(), tensors, str(path))
        calibration = header["calibration"]
        if calibration:
            calibration = Calibration(
                scores=tuple(calibration["scores"]), quantile=calibration["quantile"]
            )
        return cls(
            method,
            size_px=header["size_px"],
            scoring=Scoring(**header["scoring"]),
            teacher_file=teacher_file,
            calibration=calibration,
            config=header["config"],
            device=device,
        )

    @classmethod
    def from_official(
        cls,
        checkpoint: str | Path,
        *,
        backbone: str = "wide_resnet50_2",
        weights: str | Path | None = None,
        size_px: int = 256,
        device: str = "cpu",
    ) -> "Detector":
        """Return a detector from a checkpoint of the released code, {"bn": ..., "decoder": ...}.

        Raises:
            FileNotFoundError: no such file, or no teacher weights.
            ValueError: not such a checkpoint, or of another backbone.
        """
        if not Path(checkpoint).is_file():
            raise FileNotFoundError(f"no checkpoint at {checkpoint}")
        state: dict[str, Any] = backbones.read_state_dict(Path(checkpoint))
        if not {"bn", "decoder"} <= set(state):
            raise ValueError(
                f"{checkpoint} is no checkpoint of the released code: expected the entries 'bn' "
                f"and 'decoder', found {', '.join(sorted(state)[:6])}"
            )
        teacher, teacher_file = backbones.load_teacher(backbone, weights)
        method = ReverseDistillation(backbone, teacher=teacher)
        backbones.fill_module(method.bottleneck, state["bn"], f"{checkpoint} ('bn')")
        backbones.fill_module(method.student, state["decoder"], f"{checkpoint} ('decoder')")
        return cls(
            method, size_px=size_px, scoring=Scoring(), teacher_file=teacher_file, device=device
        )


def normalise(images: NDArray[np.uint8]) -> Tensor:
    """Return images (N, S, S, 3) uint8 as (N, 3, S, S) float32, normalised as for ImageNet.

    >>> tuple(normalise(np.zeros((2, 64, 64, 3), np.uint8)).shape)
    (2, 3, 64, 64)
    """
    batch = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    return (batch - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(
        3, 1, 1
    )


def checked_checkpoint_name(path: str | Path) -> Path:
    """Return the path, which must end in .safetensors.

    >>> checked_checkpoint_name("runs/bottle.safetensors").name
    'bottle.safetensors'

    Raises:
        ValueError: it does not.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"a checkpoint's name ends in .safetensors; got {path}")
    return path
