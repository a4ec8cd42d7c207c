"""A detector in ONNX Runtime: built from a checkpoint's tensors, or read from an exported model."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from rd4ad.catalogue import entry_of
from rd4ad.inference.checkpoint import (
    Header,
    find_teacher,
    read_checkpoint,
    read_tensors,
)
from rd4ad.inference.graph import NoGraphError, build_graph, checked_scoring
from rd4ad.inference.onnx_session import BATCH, OnnxModel, read_model, split_weights
from rd4ad.inference.stored_weights import Tensors
from rd4ad.scoring import IMAGE, Maps, Scoring, anomaly_maps


class OnnxEngine:
    """A checkpoint, or a model that `rd4ad export` wrote, in ONNX Runtime; see `Engine`.

    >>> engine = OnnxEngine(Path("results/detectors/tile.safetensors"), n_threads=1)
    >>> found = engine.distances(np.zeros((1, 256, 256, 3), np.uint8), (2, 3))
    >>> {layer: maps.shape for layer, maps in found.items()}
    {2: (1, 32, 32), 3: (1, 16, 16)}

    A checkpoint becomes a graph of no more than the layers asked for take, when they are first
    asked for; so its files have to stay where they are.

    Args:
        path: .safetensors or .onnx.
        weights: file or folder of the teacher's weights; found as in `find_teacher` otherwise.
        n_threads: threads of one image; by default one a core.

    Raises:
        FileNotFoundError: no such file, or its teacher is not here.
        NoGraphError: the detector's method, or its way to score an image, has no graph.
        ValueError: truncated, damaged, not a checkpoint or model of this package, of another
            teacher; or it takes torch to read its teacher, and torch is not installed.
    """

    name = "onnx"
    batch_size = BATCH

    def __init__(
        self, path: Path, *, weights: str | Path | None = None, n_threads: int | None = None
    ) -> None:
        self._path, self._weights, self._n_threads = path, weights, n_threads
        self._models: dict[tuple[int, ...], OnnxModel] = {}
        self._is_exported = path.suffix == ".onnx"
        with self._named():
            if self._is_exported:
                model = OnnxModel(*split_weights(read_model(path)), n_threads)
                self.header: Header = model.description
                self.layers = Scoring(**self.header["scoring"]).layers
                self._models[self.layers] = model
            else:
                self.header = read_checkpoint(path)[0]
                entry = entry_of(self.header["method"])
                self.layers = entry.map_layers(tuple(self.header["layers"]))
                self._model(checked_scoring(self.header).layers)  # what cannot run says so now
        self.method: str = self.header["method"]
        self.backbone: str = self.header["backbone"]
        self.float16: bool = self.header.get("float16", False)
        self.settings: dict[str, Any] = self.header.get("settings", {})

    def distances(self, images: NDArray[np.uint8], layers: tuple[int, ...]) -> dict[int, Maps]:
        """Return the distance maps (N, h, w) of some of its layers; see `Engine`.

        Raises:
            ValueError: as the constructor.
        """
        with self._named():
            found = self._model(layers).run(images).distances
        return {layer: found[layer] for layer in found if layer in layers or layer == IMAGE}

    def anomaly_maps(self, distances: Mapping[int, Maps], scoring: Scoring, size_px: int) -> Maps:
        """Return the anomaly maps (N, size_px, size_px); see `Engine`."""
        return anomaly_maps(distances, scoring, size_px)

    def tensors(self) -> Tensors:
        """Return bottleneck and student.

        Raises:
            ValueError: an exported model has them folded.
        """
        if self._is_exported:
            raise ValueError(f"{self._path} is an exported model: save the checkpoint it came from")
        return read_checkpoint(self._path)[1]

    def _model(self, layers: tuple[int, ...]) -> OnnxModel:
        if self._is_exported:
            return self._models[self.layers]
        if layers not in self._models:
            self._models[layers] = OnnxModel(*split_weights(self._graph(layers)), self._n_threads)
        return self._models[layers]

    def _graph(self, layers: tuple[int, ...]) -> onnx.ModelProto:
        header, tensors = read_checkpoint(self._path)
        teacher = teacher_tensors(header, self._weights)
        own = Scoring(**header["scoring"])
        return build_graph(header, tensors, teacher, replace(own, layers=layers))

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name the file in errors that do not."""
        try:
            yield
        except NoGraphError:
            raise
        except ValueError as error:
            if str(self._path) in str(error):
                raise
            raise ValueError(f"{self._path}: {error}") from error


def teacher_tensors(header: Header, weights: str | Path | None = None) -> Tensors:
    """Return the weights of a checkpoint's teacher; torch reads them where they are a .pth file.

    >>> header, _ = read_checkpoint(Path("results/detectors/tile.safetensors"))
    >>> teacher_tensors(header)["conv1.weight"].shape
    (48, 3, 7, 7)

    Args:
        header: the checkpoint's.
        weights: file or folder, looked at alone if named; found as in `find_teacher` otherwise.

    Raises:
        FileNotFoundError, ValueError: as `OnnxEngine`.
    """
    file = find_teacher(header, weights)
    if file:
        return read_tensors(file)[1]
    try:
        from rd4ad.inference.torch_engine import teacher_named
    except ModuleNotFoundError as error:
        raise ValueError(
            f"of its teacher's file {header['teacher_file']['name']} there is no .safetensors copy "
            f"with the same sha256 here, and {error.name} is not installed to read others: "
            "pip install -r requirements.txt, or use the .onnx file that rd4ad export writes"
        ) from error
    teacher = teacher_named(header, weights)
    assert teacher is not None  # what has a graph has one
    return {name: tensor.numpy() for name, tensor in teacher.state_dict().items()}
