"""An ONNX model with its weights as they were stored: 8-bit codes and a scale, or 16-bit floats.

A graph holds float32 weights, four bytes each, though those of a bundled detector come from codes
of one byte. Where codes and scales give the same weights again, to float32's rounding, the model
holds them and two nodes that every runtime computes once, when it loads the model.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_LEAST = 4096  # smaller weights are not worth two nodes
_CODES = 127
_ROUNDING = 3e-7  # of the largest weight of a channel: products of two float32 numbers


def with_small_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model that computes what the given one does, with smaller weights where they allow.

    Args:
        model: whose initializers are float32.
    """
    small = onnx.ModelProto()
    small.CopyFrom(model)
    kept, nodes = [], []
    for tensor in small.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or weights.size < _LEAST:
            kept.append(tensor)
            continue
        coded = as_codes(weights)
        half = weights.astype(np.float16)
        name = tensor.name
        if coded is not None:
            codes, scale = coded
            kept += [
                numpy_helper.from_array(codes, f"{name}_codes"),
                numpy_helper.from_array(scale, f"{name}_scale"),
            ]
            nodes += [
                helper.make_node(
                    "Cast", [f"{name}_codes"], [f"{name}_float"], to=TensorProto.FLOAT
                ),
                helper.make_node("Mul", [f"{name}_float", f"{name}_scale"], [name]),
            ]
        elif (half.astype(np.float32) == weights).all():
            kept.append(numpy_helper.from_array(half, f"{name}_half"))
            nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
        else:
            kept.append(tensor)
    del small.graph.initializer[:]
    small.graph.initializer.extend(kept)
    every = [*nodes, *small.graph.node]
    del small.graph.node[:]
    small.graph.node.extend(every)
    return small


def as_codes(
    weights: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
    """Return weights as 8-bit codes and a scale a channel; None where they do not come from such.

    >>> codes = np.arange(-127, 129, 2, dtype=np.int8).reshape(2, 64)
    >>> scale = np.array([[0.1], [0.3]], np.float32)
    >>> found = as_codes(codes * scale)
    >>> bool((found[0] == codes).all())
    True
    >>> as_codes(np.linspace(0, 1, 128, dtype=np.float32).reshape(2, 64) ** 2) is None
    True

    Args:
        weights: of two axes or more; channels lie along the first or the second.
    """
    for axis in (0, 1)[: weights.ndim]:
        others = tuple(i for i in range(weights.ndim) if i != axis)
        largest = np.abs(weights).max(axis=others, keepdims=True)
        scale = np.where(largest > 0, largest / np.float32(_CODES), 1).astype(np.float32)
        codes = np.rint(weights / scale)
        if (np.abs(codes * scale - weights) <= _ROUNDING * largest).all():
            return codes.astype(np.int8), scale
    return None
