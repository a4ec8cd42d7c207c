"""The ONNX nodes that detectors are made of, from weights in NumPy; no torch."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Weights = Mapping[str, NDArray[Any]]
OPSET = 17
"""Runtimes since 2022 read it."""
IR_VERSION = 8
"""The format of that time; onnx's newest would shut older runtimes out."""
_NORM_EPSILON = 1e-5  # torch.nn.BatchNorm2d


class Net:
    """Nodes and constants of a graph in the making; its values go by their names.

    >>> net = Net({})
    >>> net.node("Identity", net.relu("image"), output="score")
    'score'
    >>> [node.op_type for node in net.model([64, 64, 3], {"score": []}, {}).graph.node]
    ['Relu', 'Identity']

    Args:
        tensors: the weights, each convolution followed by a batch norm.
    """

    def __init__(self, tensors: Weights) -> None:
        self.tensors = tensors
        # One message from the start: its parts cannot be moved into another one, only copied.
        self._model = helper.make_model(
            helper.make_graph([], "rd4ad", [], []),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="rd4ad",
        )
        self._graph = self._model.graph

    def has(self, name: str) -> bool:
        """Return whether there is such a tensor."""
        return name in self.tensors

    def tensor(self, name: str) -> NDArray[np.float64]:
        """Return a tensor in double precision.

        Raises:
            ValueError: there is none of that name, or it holds NaN or infinity.
        """
        if name not in self.tensors:
            raise ValueError(f"the weights lack {name!r}: they belong to another backbone")
        value = np.asarray(self.tensors[name], np.float64)
        if not np.isfinite(value).all():  # a ReLU would turn NaN into 0 and hide it
            raise ValueError(
                f"{name!r} holds NaN or infinity: the detector's training diverged; "
                "train it again with a lower --learning-rate"
            )
        return value

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        """Add a constant."""
        name = f"constant_{len(self._graph.initializer)}"
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node of one output and return its name."""
        output = output or f"{kind.lower()}_{len(self._graph.node)}"
        self._graph.node.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def second(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of two outputs and return the second's name."""
        outputs = [f"{kind.lower()}_{len(self._graph.node)}_{n}" for n in (1, 2)]
        node = helper.make_node(kind, inputs, outputs, outputs[0], **attributes)
        self._graph.node.append(node)
        return outputs[1]

    def folded(
        self, convolution: str, norm: str, axis: int = 0
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return weight and bias of a convolution and the batch norm after it.

        Args:
            axis: of the weight, along which its output channels lie.
        """
        weight = self.tensor(f"{convolution}.weight")
        variance = self.tensor(f"{norm}.running_var")
        scale = self.tensor(f"{norm}.weight") / np.sqrt(variance + _NORM_EPSILON)
        bias = self.tensor(f"{norm}.bias") - self.tensor(f"{norm}.running_mean") * scale
        return weight * np.expand_dims(scale, [a for a in range(4) if a != axis]), bias

    def convolve(self, x: str, weight: NDArray[Any], bias: NDArray[Any], stride: int) -> str:
        """Add a convolution; in these networks all are padded by half their kernel."""
        pads = [weight.shape[-1] // 2] * 4
        inputs = (x, self.constant(weight), self.constant(bias))
        return self.node("Conv", *inputs, strides=[stride, stride], pads=pads)

    def double(self, x: str, convolution: str, norm: str) -> str:
        """Add a transposed 2x2 convolution of stride 2 with its norm."""
        weight, bias = self.folded(convolution, norm, axis=1)  # (C_in, C_out, 2, 2)
        inputs = (x, self.constant(weight), self.constant(bias))
        return self.node("ConvTranspose", *inputs, strides=[2, 2])

    def relu(self, x: str) -> str:
        """Add max(x, 0)."""
        return self.node("Relu", x)

    def both_sides(self, x: str, matrix: NDArray[Any], **named: str) -> str:
        """Add M x M^T for maps (B, h, w)."""
        rows = self.node("MatMul", self.constant(matrix), x)
        return self.node("MatMul", rows, self.constant(matrix.T), **named)

    def model(
        self, image: list[int], outputs: Mapping[str, Sequence[int | str]], about: dict[str, Any]
    ) -> onnx.ModelProto:
        """Return the finished model.

        Args:
            image: shape of an image of the uint8 input.
            outputs: float32, and their shapes for an image.
            about: metadata, kept as JSON under the key `rd4ad`.
        """
        self._graph.input.append(
            helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", *image])
        )
        self._graph.output.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
            for name, shape in outputs.items()
        )
        helper.set_model_props(self._model, {"rd4ad": json.dumps(about, sort_keys=True)})
        return self._model
