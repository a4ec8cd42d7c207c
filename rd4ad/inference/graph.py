"""A detector as one ONNX graph: image in, anomaly map and score out; no torch.

Reverse distillation and PatchCore have graphs.

The graph follows from the tensors: their names say which kind of residual block it is and how many
there are, their shapes how wide they are. So it is built for every backbone without the networks'
code, and what the scoring does not ask for (layer4, finer student stages) never enters it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import reduce
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from rd4ad.catalogue import METHODS
from rd4ad.data.images import IMAGENET_MEAN, IMAGENET_STD
from rd4ad.inference.graph_nodes import Net, Weights
from rd4ad.inference.memory_graph import MemorySearch, add_patches, map_side
from rd4ad.inference.prediction import Calibration
from rd4ad.scoring import IMAGE, Scoring, layers_name, smoothing, upsampling

_COSINE_EPSILON = 1e-8  # torch.nn.functional.cosine_similarity: no norm counts as smaller


class NoGraphError(ValueError):
    """A detector that is built by torch alone, sound as it may be."""


def build_graph(
    header: Mapping[str, Any],
    tensors: Weights,
    teacher_tensors: Weights,
    scoring: Scoring | None = None,
) -> onnx.ModelProto:
    """Return the detector as an ONNX model.

    Its input is `image`, (B, S, S, 3) uint8 RGB, already resized to the S of the header. Its
    outputs, all float32, are `anomaly_map` (B, S, S), `score` (B,), and `distance_<layer>`
    (B, h, w) of the scoring's layers; `distance_0` (B, 1, 1) where the method scores the whole
    image. Its metadata hold what `describe` returns, as JSON under the key `rd4ad`.

    Args:
        header: a checkpoint's.
        tensors: that checkpoint's, named as in it.
        teacher_tensors: the teacher's, named as torchvision does.
        scoring: another one than the header's, for which its calibration does not hold.

    Raises:
        NoGraphError: the detector's method, or its way to score an image, has no graph.
        ValueError: the scoring asks for a layer that was not trained; or a tensor is missing, or
            holds NaN or infinity.
    """
    scoring = checked_scoring(header, scoring)
    trained, size_px = tuple(header["layers"]), header["size_px"]
    net = Net({f"teacher.{name}": value for name, value in teacher_tensors.items()} | {**tensors})
    features = _teacher(net, max(trained))
    pool = header.get("settings", {}).get("pool", 1)
    sides = {layer: map_side((layer,), size_px, pool) for layer in scoring.layers}
    if header["method"] == "reverse_distillation":
        _compare(net, features, trained, sides)
    else:
        _search(net, features, header, scoring)
    _fuse(net, sides, scoring, size_px)
    if scoring.score == "image":
        sides |= {IMAGE: 1}
    outputs = {"anomaly_map": [size_px, size_px], "score": []} | {
        f"distance_{layer}": [side, side] for layer, side in sides.items()
    }
    return net.model([size_px, size_px, 3], outputs, describe(header, scoring))


def build_patch_graph(
    teacher_tensors: Weights, layers: tuple[int, ...], size_px: int, *, pool: int
) -> onnx.ModelProto:
    """Return a model that gives the patches from which a memory is built, for `image` as above.

    Its output is `patches`, (B, P, C) float32, without their places; see `rd4ad.methods.patchcore`.

    Args:
        teacher_tensors: the teacher's, named as torchvision does.
        layers: those that are concatenated.
        size_px: side of the images.
        pool: see the method.
    """
    net = Net({f"teacher.{name}": value for name, value in teacher_tensors.items()})
    patches = add_patches(net, _teacher(net, max(layers)), layers, size_px, 0.0, pool)
    net.node("Identity", patches, output="patches")
    return net.model([size_px, size_px, 3], {"patches": ["positions", "channels"]}, {})


def checked_scoring(header: Mapping[str, Any], scoring: Scoring | None = None) -> Scoring:
    """Return the scoring of a detector's graph, the header's by default.

    >>> checked_scoring({"method": "reverse_distillation", "layers": [3], "scoring": {}})
    Traceback (most recent call last):
    ValueError: the detector was trained on the layers 3; it cannot score 1+2+3

    Raises:
        NoGraphError, ValueError: as `build_graph` does, but for the tensors.
    """
    scoring = scoring or Scoring(**header["scoring"])
    method = header["method"]
    if method not in ("reverse_distillation", "patchcore", "patchcore_1"):
        raise NoGraphError(f"a detector of the method {method} has no graph: use torch")
    if scoring.score == "image" and method == "reverse_distillation":
        raise NoGraphError(f"a graph of {method} scores by max or sum; got {scoring.score!r}")
    if not set(scoring.layers) <= set(METHODS[method].map_layers(tuple(header["layers"]))):
        raise ValueError(
            f"the detector was trained on the layers {layers_name(header['layers'])}; "
            f"it cannot score {layers_name(scoring.layers)}"
        )
    return scoring


def describe(header: Mapping[str, Any], scoring: Scoring) -> dict[str, Any]:
    """Return what a model says of itself: its method, sizes, scoring, teacher and threshold.

    >>> header = {"method": "reverse_distillation", "backbone": "compact", "layers": [2, 3],
    ...           "size_px": 64, "teacher_file": {"name": "a", "sha256": "b"}, "config": {},
    ...           "scoring": {"layers": [2, 3]}, "calibration": {"scores": [1], "quantile": 0.5}}
    >>> describe(header, Scoring(layers=(2, 3)))["threshold"]
    1.0
    >>> describe(header, Scoring(layers=(3,)))["threshold"]  # scores otherwise: uncalibrated

    Args:
        header: a checkpoint's.
        scoring: the model's.
    """
    calibration = header["calibration"] if scoring == Scoring(**header["scoring"]) else None
    kept = ("method", "backbone", "layers", "size_px", "teacher_file")
    return {key: header[key] for key in kept} | {
        "scoring": asdict(scoring),
        "calibration": calibration,
        "threshold": Calibration(**calibration).threshold if calibration else None,
        "category": header["config"].get("category"),
    }


def with_calibration(text: bytes, about: Mapping[str, Any], calibration: Calibration) -> bytes:
    """Return a model that says of itself another calibration, and the threshold that follows.

    Args:
        text: the model, as in an .onnx file.
        about: what it says of itself.
        calibration: the other one.
    """
    model = onnx.load_model_from_string(text)
    said = {**about, "calibration": asdict(calibration), "threshold": calibration.threshold}
    for entry in model.metadata_props:
        if entry.key == "rd4ad":
            entry.value = json.dumps(said, sort_keys=True)
    return model.SerializeToString()


def _teacher(net: Net, deepest: int) -> dict[int, str]:
    """Add the frozen network up to a layer, and return its features by layer."""
    x = net.node("Transpose", "image", perm=[0, 3, 1, 2])
    x = net.node("Cast", x, to=TensorProto.FLOAT)
    # Padding is with zeros after the mean is gone, so the mean cannot go into the bias. The scale
    # can go into the weights: it leaves a zero a zero.
    x = net.node("Sub", x, net.constant(255 * np.reshape(IMAGENET_MEAN, (1, 3, 1, 1))))
    weight, bias = net.folded("teacher.conv1", "teacher.bn1")
    weight = weight / (255 * np.reshape(IMAGENET_STD, (1, 3, 1, 1)))
    x = net.relu(net.convolve(x, weight, bias, stride=2))
    x = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    features = {}
    for layer in range(1, deepest + 1):
        x = features[layer] = _blocks(net, x, f"teacher.layer{layer}", 1 if layer == 1 else 2)
        neck = f"teacher.neck.{layer - 1}"
        if net.has(f"{neck}.0.weight"):
            projected = net.convolve(x, *net.folded(f"{neck}.0", f"{neck}.1"), stride=1)
            features[layer] = net.relu(projected)
    return features


def _compare(
    net: Net, features: dict[int, str], trained: tuple[int, ...], sides: dict[int, int]
) -> None:
    """Add what reverse distillation does with the teacher's features, down to distance maps."""
    code = _bottleneck(net, [features[layer] for layer in trained], trained)
    restored = _student(net, code, min(sides))
    for layer, side in sides.items():
        _distance(net, layer, features[layer], restored[layer], side)


def _search(
    net: Net, features: dict[int, str], header: Mapping[str, Any], scoring: Scoring
) -> None:
    """Add what PatchCore does with the teacher's features, down to the distance map and score."""
    layers = tuple(header["layers"])
    settings, size_px = header["settings"], header["size_px"]
    place, pool = settings.get("place", 0.0), settings.get("pool", 1)
    patches = add_patches(net, features, layers, size_px, place, pool)
    search = MemorySearch(net, net.tensor("memory.patches"))
    name = f"distance_{layers[0]}"
    search.distances(patches, map_side(layers, size_px, pool), name)
    if scoring.score == "image":
        search.score(patches, name, f"distance_{IMAGE}")


def _bottleneck(net: Net, features: list[str], layers: tuple[int, ...]) -> str:
    """Add fusion and embedding of the trained layers' features, and return the code."""
    fused = []
    for layer, x in zip(layers, features, strict=True):
        for number in {1: (1, 2), 2: (3,), 3: ()}[layer]:
            name = f"bottleneck.conv{number}", f"bottleneck.bn{number}"
            x = net.relu(net.convolve(x, *net.folded(*name), stride=2))
        fused.append(x)
    return _blocks(net, net.node("Concat", *fused, axis=1), "bottleneck.bn_layer", 2)


def _student(net: Net, code: str, finest: int) -> dict[int, str]:
    """Add the decoder down to a layer, and return the restored features by the teacher's layer."""
    restored = {}
    for layer in range(3, finest - 1, -1):
        code = restored[layer] = _blocks(net, code, f"student.layer{4 - layer}", 1)
    return restored


def _blocks(net: Net, x: str, prefix: str, stride: int) -> str:
    """Add the residual blocks prefix.0, prefix.1, ...; the stride is the first one's."""
    count = 0
    while count == 0 or net.has(f"{prefix}.{count}.conv1.weight"):
        x = _block(net, x, f"{prefix}.{count}", stride if count == 0 else 1)
        count += 1
    return x


def _block(net: Net, x: str, prefix: str, stride: int) -> str:
    """Add one residual block of two convolutions, or of three (1x1, 3x3, 1x1).

    The one of 3x3, the first of two or the second of three, has the stride; where the shortcut is
    called `upsample` it is a transposed one.
    """
    count = 3 if net.has(f"{prefix}.conv3.weight") else 2
    is_up = net.has(f"{prefix}.upsample.0.weight")
    y = x
    for number in range(1, count + 1):
        name = f"{prefix}.conv{number}", f"{prefix}.bn{number}"
        has_stride = number == count - 1
        if is_up and has_stride:
            y = net.double(y, *name)
        else:
            y = net.convolve(y, *net.folded(*name), stride=stride if has_stride else 1)
        y = net.relu(y) if number < count else y
    if is_up:
        x = net.double(x, f"{prefix}.upsample.0", f"{prefix}.upsample.1")
    elif net.has(f"{prefix}.downsample.0.weight"):
        shortcut = f"{prefix}.downsample.0", f"{prefix}.downsample.1"
        x = net.convolve(x, *net.folded(*shortcut), stride)
    return net.relu(net.node("Add", y, x))


def _distance(net: Net, layer: int, teacher: str, student: str, side: int) -> None:
    """Add a layer's distance map, 1 - cosine over the channels of features (B, C, h, w)."""
    stage = f"student.layer{4 - layer}.0"  # the student's names count from the deepest
    last = "conv3" if net.has(f"{stage}.conv3.weight") else "conv2"
    ones = net.constant(np.ones((1, len(net.tensor(f"{stage}.{last}.weight")))))
    teacher, student = (
        net.node("Reshape", x, net.constant([0, 0, -1], np.int64)) for x in (teacher, student)
    )

    def dot(a: str, b: str) -> str:  # by ones: ReduceSum over channels takes 15 times as long
        return net.node("MatMul", ones, net.node("Mul", a, b))  # (B, 1, h*w)

    def norm(a: str) -> str:
        return net.node("Max", net.node("Sqrt", dot(a, a)), net.constant(_COSINE_EPSILON))

    lengths = net.node("Mul", norm(teacher), norm(student))
    cosine = net.node("Div", dot(teacher, student), lengths)
    distance = net.node("Sub", net.constant(1), cosine)
    shape = net.constant([0, side, side], np.int64)
    net.node("Reshape", distance, shape, output=f"distance_{layer}")


def _fuse(net: Net, sides: dict[int, int], scoring: Scoring, size_px: int) -> None:
    """Add what `rd4ad.scoring` does to distance maps with these sides by layer."""
    gaussian = smoothing(size_px, scoring.sigma_px)
    grown = {f"distance_{layer}": upsampling(side, size_px) for layer, side in sides.items()}
    if scoring.fusion == "product":
        upsampled = [net.both_sides(name, matrix) for name, matrix in grown.items()]
        fused = reduce(lambda a, b: net.node("Mul", a, b), upsampled)
        net.both_sides(fused, gaussian, output="anomaly_map")
    else:  # linear: upsampling and Gaussian are one matrix
        smooth = [net.both_sides(name, gaussian @ matrix) for name, matrix in grown.items()]
        net.node("Sum", *smooth, output="anomaly_map")
    if scoring.score == "image":
        net.node("Reshape", f"distance_{IMAGE}", net.constant([-1], np.int64), output="score")
        return
    if scoring.score == "max":
        net.node("ReduceMax", "anomaly_map", axes=[1, 2], keepdims=0, output="score")
        return
    if scoring.fusion == "sum":  # the sum of an upsampled map weighs rows and columns
        weights = {name: matrix.sum(0, keepdims=True) for name, matrix in grown.items()}
        fused = net.node("Sum", *(net.both_sides(name, row) for name, row in weights.items()))
    net.node("ReduceSum", fused, net.constant([1, 2], np.int64), keepdims=0, output="score")
