"""A detector's graph at work in ONNX Runtime: uint8 images in, NumPy out; no torch."""

import ctypes
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnxruntime.capi import (  # type: ignore[import-untyped]
    onnxruntime_pybind11_state as reasons,
)

from rd4ad.scoring import Maps

Weights = dict[str, onnxruntime.OrtValue]
_REFUSED = (reasons.Fail, reasons.InvalidArgument, reasons.InvalidGraph, reasons.InvalidProtobuf)
_DISTANCE = "distance_"
_LARGE_BYTES = 4096  # the runtime itself reads the small ones, such as axes, in the model
BATCH = 4
"""Images run at once: 8% faster an image than one by one; more were no faster."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """What the graph says of N images.

    Args:
        distances: distance maps (N, h, w) by layer, finest first.
        anomaly_maps: (N, S, S).
        scores: (N,), higher is more anomalous.
    """

    distances: dict[int, Maps]
    anomaly_maps: Maps
    scores: NDArray[np.float32]


class OnnxModel:
    """A model of `rd4ad.inference.graph.build_graph`, ready to run.

    Args:
        graph: the model without its larger constants, as `split_weights` returns it.
        weights: these constants; empty afterwards, so that their memory can go.
        n_threads: threads of one image; by default one a core.

    Raises:
        ValueError: no such model, or one whose tensors do not fit each other.
    """

    def __init__(self, graph: bytes, weights: Weights, n_threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads or 0
        # Threads that spin while they wait made an image 15% slower where other work shared the
        # cores. The runtime's other defaults (every optimization, arena, memory pattern) held.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # what is refused is raised, so it need not be printed too
        options.add_external_initializers(list(weights), list(weights.values()))
        _give_memory_back()  # what building the graph left, before as much again is taken
        with _refused():
            self._session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
        weights.clear()
        del options
        _give_memory_back()
        about = self._session.get_modelmeta().custom_metadata_map
        if "rd4ad" not in about:
            raise ValueError("a model, but none that rd4ad export wrote")
        self.description: dict[str, Any] = json.loads(about["rd4ad"])
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, images: NDArray[np.uint8]) -> Outputs:
        """Return the maps and scores of images (N, S, S, 3) uint8, N at least 1.

        Raises:
            ValueError: its tensors do not fit each other, which some show at work alone.
        """
        found = self.outputs(images)
        distances = {
            int(name.removeprefix(_DISTANCE)): maps
            for name, maps in found.items()
            if name.startswith(_DISTANCE)
        }
        return Outputs(distances, found["anomaly_map"], found["score"])

    def outputs(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Return all outputs by name, the images (N, S, S, 3) along the first axis.

        Raises:
            ValueError: as `run`.
        """
        starts = range(0, len(images), BATCH)
        with _refused():
            parts = [self._session.run(None, {"image": images[i : i + BATCH]}) for i in starts]
        return {
            name: np.concatenate(column)
            for name, column in zip(self._names, zip(*parts), strict=True)
        }


def read_model(path: Path) -> onnx.ModelProto:
    """Return the model of an .onnx file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: truncated, or no model.
    """
    try:
        return onnx.load_model_from_string(path.read_bytes())
    except DecodeError as error:
        raise ValueError(f"{path} is not a whole .onnx file: export or fetch it again") from error


def split_weights(model: onnx.ModelProto) -> tuple[bytes, Weights]:
    """Return a model without its larger constants, and these; it has lost them then.

    Beside the model the runtime takes them as they lie. Inside it they would be written, parsed and
    copied: of a ResNet-18 detector, a quarter of a second and 150 MiB more at the worst moment.
    """
    large: Weights = {}
    for tensor in model.graph.initializer:
        if tensor.ByteSize() > _LARGE_BYTES:
            array = numpy_helper.to_array(tensor)
            large[tensor.name] = onnxruntime.OrtValue.ortvalue_from_numpy(array)
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="memory")
    return model.SerializeToString(), large


def _give_memory_back() -> None:
    """Return free memory to the system: otherwise a session keeps twice its weights' size."""
    with suppress(OSError, TypeError, AttributeError):  # elsewhere than with Linux's C library
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except _REFUSED as error:
        raise ValueError(
            "not a model that can run, damaged or with tensors of another backbone "
            f"({str(error)[:300]}): export or fetch it again"
        ) from error
