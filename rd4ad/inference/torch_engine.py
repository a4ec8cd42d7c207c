"""The torch border: a method's networks turn images into NumPy distance maps. No gradients here.

On a GPU the networks lie channels last, and what `ReverseDistillation` does to a batch is recorded
once as a CUDA graph and then replayed: one call instead of some hundred small ones.
"""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rd4ad.data.images import IMAGENET_MEAN, IMAGENET_STD
from rd4ad.inference.checkpoint import Header
from rd4ad.inference.stored_weights import Tensors, pack, unpack
from rd4ad.methods import backbones
from rd4ad.methods.method import Method, method_class, teacher_of
from rd4ad.methods.reverse_distillation import ReverseDistillation
from rd4ad.scoring import IMAGE, Maps, Scoring, anomaly_maps, smoothing, upsampling


class TorchEngine:
    """A fitted method on a torch device; see `rd4ad.inference.onnx_engine.Engine`.

    >>> engine = TorchEngine(ReverseDistillation("compact"))
    >>> found = engine.distances(np.zeros((1, 64, 64, 3), np.uint8), (3,))
    >>> {layer: maps.shape for layer, maps in found.items()}
    {3: (1, 4, 4)}

    Args:
        module: fitted; in evaluation mode from here on.
        device: a torch device.
        float16: let the networks compute in float16; the distances are float32 all the same.
    """

    name = "torch"

    def __init__(self, module: Method, device: str = "cpu", *, float16: bool = False) -> None:
        self.module = module.eval().to(device)
        self.device = torch.device(device)
        self.method, self.backbone = module.name, module.backbone
        self.layers, self.settings = module.layers, module.settings
        self.is_gpu = self.device.type == "cuda"
        self.float16 = float16
        self.batch_size = 64 if self.is_gpu else 16
        self._replays: dict[tuple[int, ...], Replay] = {}
        self._one_at_a_time = Lock()  # a recording has room for one batch
        if self.is_gpu:
            self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def distances(self, images: NDArray[np.uint8], layers: tuple[int, ...]) -> dict[int, Maps]:
        """Return the distance maps (N, h, w) of some of its layers; see `Engine`.

        A method's own score of the image, under `rd4ad.scoring.IMAGE`, comes with any of them.
        """
        given = torch.from_numpy(np.ascontiguousarray(images))
        if self.is_gpu and isinstance(self.module, ReverseDistillation):
            found = self._replayed(given)
        else:
            tensors = self.computed(given.to(self.device))
            found = {layer: stack.cpu().numpy() for layer, stack in tensors.items()}
        return {layer: found[layer] for layer in found if layer in layers or layer == IMAGE}

    @torch.no_grad()
    def computed(self, images: Tensor) -> dict[int, Tensor]:
        """Return the distance maps of images (N, S, S, 3) uint8, all of them on the device."""
        with torch.autocast(self.device.type, torch.float16, enabled=self.float16):
            return self.module.distance_maps(normalized(images))

    @torch.no_grad()
    def anomaly_maps(self, distances: Mapping[int, Maps], scoring: Scoring, size_px: int) -> Maps:
        """Return the anomaly maps (N, size_px, size_px); see `Engine`."""
        if not self.is_gpu:
            return anomaly_maps(distances, scoring, size_px)

        def there(array: Maps) -> Tensor:
            return torch.from_numpy(array).to(self.device)

        upsampled = []
        for layer in scoring.layers:
            stack = there(distances[layer])
            rows, columns = (there(upsampling(side, size_px)) for side in stack.shape[1:])
            upsampled.append(rows @ stack @ columns.T)
        together = torch.stack(upsampled)
        fused = together.sum(0) if scoring.fusion == "sum" else together.prod(0)
        gaussian = there(smoothing(size_px, scoring.sigma_px))
        found: Maps = (gaussian @ fused @ gaussian.T).cpu().numpy()
        return found

    def _replayed(self, images: Tensor) -> dict[int, Maps]:
        """Return the same by a recorded graph, for as many images or filled up to some more."""
        shape = (room_for(len(images), self.batch_size), *images.shape[1:])
        with self._one_at_a_time:
            if shape not in self._replays:
                self._replays[shape] = Replay(self.computed, shape, self.device)
            return self._replays[shape](images)

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
    return TorchEngine(module, device, float16=header.get("float16", False))


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
            f"({found['sha256'][:12]}...) was found: name the right one with --weights, or train "
            "again if an earlier version of this package bundled it"
        )
    return teacher


def round_weights(module: nn.Module, store: str) -> None:
    """Round a module's weights to what a file keeps of them; see `stored_weights.pack`.

    >>> layer = nn.Linear(2, 2)
    >>> round_weights(layer, "float16")
    >>> torch.equal(layer.weight, layer.weight.half().float())
    True

    Raises:
        ValueError: no such way to store weights.
    """
    if store == "float32":
        return
    state = {name: value.cpu().numpy() for name, value in module.state_dict().items()}
    rounded = unpack(pack(state, store))
    module.load_state_dict({name: torch.from_numpy(value) for name, value in rounded.items()})


def normalize(images: NDArray[np.uint8]) -> Tensor:
    """Return images (N, S, S, 3) uint8 as (N, 3, S, S) float32, normalized as for ImageNet.

    >>> tuple(normalize(np.zeros((2, 64, 64, 3), np.uint8)).shape)
    (2, 3, 64, 64)
    """
    return normalized(torch.from_numpy(np.ascontiguousarray(images)))


def normalized(images: Tensor) -> Tensor:
    """Return what `normalize` does, of images that are a tensor already, where they are.

    >>> normalized(torch.zeros(2, 64, 64, 3, dtype=torch.uint8)).shape
    torch.Size([2, 3, 64, 64])
    """
    mean, std = _statistics(images.device)
    return (images.permute(0, 3, 1, 2).float() / 255 - mean) / std


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    mean, std = (
        torch.tensor(values, device=device).view(3, 1, 1)
        for values in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return mean, std


def room_for(n_images: int, batch_size: int) -> int:
    """Return for how many images to record a graph: few sizes, none much larger than it needs.

    >>> [room_for(n, 64) for n in (1, 2, 16, 17, 64, 65)]
    [1, 16, 16, 64, 64, 65]
    """
    return next((room for room in (1, 16, batch_size) if n_images <= room), n_images)


class Replay:
    """What a function of images does on a GPU, recorded as a CUDA graph.

    Args:
        compute: from images (N, S, S, 3) uint8 to tensors; what it does must not depend on values.
        shape: of the images, (N, S, S, 3).
        device: a CUDA device.
    """

    def __init__(
        self,
        compute: Callable[[Tensor], dict[int, Tensor]],
        shape: tuple[int, ...],
        device: torch.device,
    ) -> None:
        self._images = torch.zeros(shape, dtype=torch.uint8, device=device)
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):  # the libraries choose and allocate before the recording
            for _ in range(3):
                compute(self._images)
        torch.cuda.current_stream(device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._found = compute(self._images)

    def replay(self) -> None:
        """Do what was recorded once more, of the images that are there already."""
        self._graph.replay()

    def __call__(self, images: Tensor) -> dict[int, Maps]:
        """Return what was recorded, of these images (n, S, S, 3), n at most N."""
        n_images = len(images)
        self._images[:n_images].copy_(images)
        self.replay()
        return {layer: stack[:n_images].cpu().numpy() for layer, stack in self._found.items()}
