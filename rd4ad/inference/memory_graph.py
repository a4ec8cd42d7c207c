"""The ONNX nodes of a memory of patches: what `rd4ad.methods.patchcore` computes; no torch."""

from collections.abc import Mapping
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from rd4ad.inference.graph_nodes import Net
from rd4ad.methods.coreset import N_NEIGHBORS, SEARCHED_AT_ONCE, grid


def add_patches(
    net: Net,
    features: Mapping[int, str],
    layers: tuple[int, ...],
    size_px: int,
    place: float,
    pool: int,
) -> str:
    """Add one patch a position of the finest layer, and return their name, (B, h*w, C).

    Args:
        net: the graph.
        features: the teacher's, (B, C, h, w), by layer.
        layers: those that are concatenated, finest first.
        size_px: side of the images.
        place, pool: see the method.
    """
    joined = []
    for layer in layers:
        x = net.node(
            "AveragePool", features[layer],
            kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1], count_include_pad=1,
        )  # fmt: skip
        if layer > layers[0]:
            times = 2 ** (layer - layers[0])
            x = net.node("Resize", x, "", net.constant([1, 1, times, times]), mode="linear")
        joined.append(x)
    patches = net.node("Concat", *joined, axis=1)
    if pool > 1:
        patches = net.node("AveragePool", patches, kernel_shape=[pool, pool], strides=[pool, pool])
    if place:
        places = net.constant(place * grid(map_side(layers, size_px, pool))[None])
        first = net.node("Slice", patches, *(net.constant([n], np.int64) for n in (0, 2, 1)))
        nothing = net.node("Mul", first, net.constant(0))  # gives the places the batch's size
        patches = net.node("Concat", patches, net.node("Add", nothing, places), axis=1)
    flat = net.node("Reshape", patches, net.constant([0, 0, -1], np.int64))
    return net.node("Transpose", flat, perm=[0, 2, 1])


def map_side(layers: tuple[int, ...], size_px: int, pool: int) -> int:
    """Return how many positions a side of the distance map has.

    >>> map_side((1, 2, 3), 256, pool=2)
    32
    """
    return size_px // 2 ** (1 + layers[0]) // pool


class MemorySearch:
    """Exact search for the nearest rows of a memory, in blocks of rows.

    |p - m|^2 = |p|^2 - 2 (p m - |m|^2 / 2): the nearest row has the largest p m - |m|^2 / 2.

    Args:
        net: the graph.
        memory: (M, C).
    """

    def __init__(self, net: Net, memory: NDArray[np.float64]) -> None:
        self.net = net
        self.n_rows, self.n_channels = memory.shape
        starts = range(0, self.n_rows, SEARCHED_AT_ONCE)
        parts = [memory[i : i + SEARCHED_AT_ONCE] for i in starts]
        self._blocks = [
            (net.constant(part), net.constant(-np.square(part).sum(1) / 2)) for part in parts
        ]
        self._ones = net.constant(np.ones((self.n_channels, 1)))

    def distances(self, patches: str, side: int, output: str) -> None:
        """Add the distance map (B, side, side) of patches (B, side * side, C)."""
        net = self.net
        rows = net.node("Reshape", patches, net.constant([-1, self.n_channels], np.int64))
        best = [net.node("ReduceMax", p, axes=[1], keepdims=1) for p in self._products(rows)]
        largest = reduce(lambda a, b: net.node("Max", a, b), best)
        distances = self._root(self._squares(rows), largest)  # (B*P, 1)
        net.node("Reshape", distances, net.constant([-1, side, side], np.int64), output=output)

    def score(self, patches: str, distance_map: str, output: str) -> None:
        """Add the score of the image, (B, 1, 1), from its patches and their distances."""
        net = self.net
        flat = net.node("Reshape", distance_map, net.constant([0, 1, -1], np.int64))
        largest = net.node("ReduceMax", flat, axes=[2], keepdims=1)  # (B, 1, 1)
        place = net.node("ArgMax", flat, axis=2, keepdims=0)  # (B, 1)
        patch = self._picked(patches, place)
        crowd = self._crowd(patch)
        square = self._squares(patch)
        # The distance of the map is rounded otherwise: here all come from one product.
        distances = self._root(square, crowd)  # (B, b), the nearest row's among them
        nearest = net.node("ReduceMin", distances, axes=[1], keepdims=1)
        apart = net.node("Exp", net.node("Sub", distances, nearest))
        total = net.node("ReduceSum", apart, net.constant([1], np.int64), keepdims=1)
        weight = net.node("Sub", net.constant(1), net.node("Div", net.constant(1), total))
        weight = net.node("Reshape", weight, net.constant([-1, 1, 1], np.int64))
        net.node("Mul", weight, largest, output=output)

    def _crowd(self, patch: str) -> str:
        """Return the products (B, b) of a patch with the nearest row's nearest rows."""
        net = self.net
        products = net.node("Concat", *self._products(patch), axis=1)  # (B, M)
        nearest = net.node("ArgMax", products, axis=1, keepdims=0)
        memory = net.node("Concat", *(block for block, _ in self._blocks), axis=0)
        row = net.node("Gather", memory, nearest, axis=0)  # (B, C)
        around = net.node("Concat", *self._products(row), axis=1)
        count = net.constant([min(N_NEIGHBORS, self.n_rows)], np.int64)
        return net.node("GatherElements", products, net.second("TopK", around, count), axis=1)

    def _picked(self, patches: str, place: str) -> str:
        """Return the patch (B, C) at a place (B, 1) of patches (B, P, C)."""
        net = self.net
        index = net.node("Unsqueeze", place, net.constant([2], np.int64))  # (B, 1, 1)
        one = net.node("GatherND", patches, index, batch_dims=1)  # (B, 1, C)
        return net.node("Reshape", one, net.constant([-1, self.n_channels], np.int64))

    def _products(self, rows: str) -> list[str]:
        return [self.net.node("Gemm", rows, *block, transB=1) for block in self._blocks]

    def _squares(self, rows: str) -> str:
        return self.net.node("MatMul", self.net.node("Mul", rows, rows), self._ones)

    def _root(self, squares: str, products: str) -> str:
        net = self.net
        double = net.node("Mul", products, net.constant(2))
        difference = net.node("Sub", squares, double)
        return net.node("Sqrt", net.node("Max", difference, net.constant(0)))
