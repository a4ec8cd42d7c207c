"""A detector in 8-bit integers, offered only where it judges as the one in float32 does.

Convolutions alone are quantized: their weights by output channel, what goes in and comes out by the
range that normal training images show. A ReLU is one with the convolution before it, so that what
it cuts off takes no part of the 256 steps. Cosine, fusion and smoothing stay float32: in 8 bits the
distances, small differences of two alike directions, would be steps.

The first convolutions stay float32 as well: an error there is in the teacher's features of every
layer, while the student follows the teacher as it was. How many, normal images decide, by how far
their anomaly maps deviate. docs/LOG.md has what else was tried.
"""

import logging
import tempfile
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (  # type: ignore[import-untyped]
    CalibrationDataReader,
    QuantType,
    quantize_static,
)

from rd4ad.data.folders import open_category
from rd4ad.data.images import read_images
from rd4ad.evaluation.category import read_test
from rd4ad.export.accuracy_gate import gated, recalibrated
from rd4ad.export.onnx_file import model_of
from rd4ad.inference.checkpoint import checked_name, replace_file
from rd4ad.inference.graph import with_calibration
from rd4ad.inference.onnx_session import OnnxModel, split_weights
from rd4ad.scoring import Maps

N_IMAGES = 128  # normal ones, evenly among all: half show the ranges, half the deviation
BOUND = 0.02
"""Deviation of normal images' anomaly maps, as a share of their spread, that integers may bring."""
MOST = 1 / 6
"""Share of the convolutions in float32: 5 of ResNet-18's; 7 are less than 1.9 times as fast."""


def export_int8(
    checkpoint: Path, out: Path, data: Path, category: str,
    *, weights: str | Path | None = None, **changes: Any,
) -> list[dict[str, Any]]:  # fmt: skip
    """Write a checkpoint as one ONNX model in 8-bit integers; return its metrics beside float32's.

    The ranges come from the category's normal training images, the metrics from its test images,
    and the threshold, where the checkpoint carries one, from what the integers score on the normal
    images that were held out of training.

    Args:
        checkpoint: what training wrote.
        out: file to write, .onnx.
        data: folder of categories in MVTec layout.
        category: the one that the detector was trained on.
        weights: file or folder of the teacher's weights, as for `Detector.load`.
        changes: fields of `Scoring` that shall differ; the model then carries no threshold.

    Raises:
        RefusedError: see `rd4ad.export.accuracy_gate.gated`; nothing is written.
        ValueError, FileNotFoundError, OSError: as `onnx_file.export_onnx`; or there are
            fewer than 2 training images, or others than the checkpoint's.
        DatasetError: the category lacks training or test images, or has no masks.
    """
    checked_name(out, ".onnx")
    header, model = model_of(checkpoint, weights, **changes)
    opened = open_category(data, category)
    size_px = header["size_px"]
    normal = read_images([sample.path for sample in opened.train], size_px).images
    test, images = read_test(opened, size_px)
    whole = quantized(model, normal)
    text = whole.SerializeToString()
    integers = OnnxModel(*split_weights(whole))
    rows = gated(OnnxModel(*split_weights(model)).run, integers.run, test, images, "int8")
    about, config = integers.description, header["config"]
    if about["calibration"]:
        kept = recalibrated(integers.run, normal, config, about["calibration"]["quantile"])
        text = with_calibration(text, about, kept)
    replace_file(out, lambda beside: beside.write_bytes(text))
    return rows


def quantized(model: onnx.ModelProto, images: NDArray[np.uint8]) -> onnx.ModelProto:
    """Return a graph whose convolutions, but for the first, compute in 8-bit integers.

    As few stay float32 as keep `deviation` within `BOUND`, at least one and at most a share `MOST`.

    >>> from rd4ad.export.onnx_file import model_of
    >>> _, model = model_of("results/detectors/tile.safetensors")
    >>> images = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)
    >>> kinds = [node.op_type for node in quantized(model, images).graph.node]
    >>> kinds.index("Conv") < kinds.index("QuantizeLinear")
    True

    Args:
        model: of `rd4ad.inference.graph.build_graph`; left as it is.
        images: (N, S, S, 3) normal ones, N at least 2; `N_IMAGES` at most are looked at. Every
            other one shows the values' ranges, the rest how far the maps deviate.

    Raises:
        ValueError: fewer than 2 images.
    """
    if len(images) < 2:
        raise ValueError(f"8-bit ranges take at least 2 normal images; got {len(images)}")
    images = images[:: -(-len(images) // N_IMAGES)]
    shown, others = images[::2], images[1::2]
    expected = _maps(model, others)
    names = [node.name for node in model.graph.node if node.op_type == "Conv"]

    def holds(n_floats: int) -> bool:
        found = _maps(_integers(model, shown, names[:n_floats]), others)
        return deviation(expected, found) <= BOUND

    # The first brings the largest error of all (docs/LOG.md), so it is always one of them.
    most = max(int(len(names) * MOST), 1)
    n_floats = 1 + bisect_left(range(1, most), True, key=holds)
    return _integers(model, shown, names[:n_floats])


def deviation(expected: Maps, found: Maps) -> float:
    """Return how far maps deviate, as a share of the spread of those expected.

    Both are standard deviations. A constant added to every pixel is no deviation: it changes no
    order, and the threshold is found again.

    >>> maps = np.array([[0.0, 1.0], [2.0, 3.0]], np.float32)
    >>> deviation(maps, maps + 1)
    0.0
    """
    return float((found - expected).std() / expected.std())


def _integers(
    model: onnx.ModelProto, images: NDArray[np.uint8], floats: list[str]
) -> onnx.ModelProto:
    """Return the graph with all convolutions quantized but those of these names."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)  # given the model itself, it would move the weights out of it
        quantize_static(
            source,
            target,
            _Images(images),
            op_types_to_quantize=["Conv", "Relu"],
            nodes_to_exclude=floats,
            per_channel=True,
            activation_type=QuantType.QUInt8,  # what a ReLU leaves has no sign
            weight_type=QuantType.QInt8,
        )
        return onnx.load(target)


def _maps(model: onnx.ModelProto, images: NDArray[np.uint8]) -> Maps:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)  # `apart` takes the weights out
    return OnnxModel(*split_weights(copy)).run(images).anomaly_maps


class _Images(CalibrationDataReader):  # type: ignore[misc]  # untyped
    """Gives the images one by one to the runtime's calibration."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._left = iter(images)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """Return the next image as the graph's input, None after the last."""
        image = next(self._left, None)
        return None if image is None else {"image": image[None]}


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out the advice to fold norms and infer shapes first: the graph comes folded."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
