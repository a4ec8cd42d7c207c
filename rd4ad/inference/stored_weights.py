"""How weights lie in a file: as float32, as float16, or as 8-bit integers by output channel."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[Any]]
STORES = ("float32", "float16", "int8")
_SCALE = ".scale"
_LEVELS = 127


def pack(tensors: Mapping[str, NDArray[Any]], store: str) -> Tensors:
    """Return tensors as a file keeps them.

    >>> packed = pack({"a": np.array([[1.0, -2.0], [0.5, 0.25]], np.float32)}, "int8")
    >>> packed["a"].tolist(), sorted(packed)
    ([[64, -127], [127, 64]], ['a', 'a.scale'])

    Args:
        tensors: by name; integers stay as they are.
        store: one of `STORES`. As int8 a tensor of two or more axes becomes integers from -127 to
            127 with one scale per index of its first axis, `<name>.scale`; others stay float32.

    Raises:
        ValueError: no such way to store them.
    """
    if store not in STORES:
        raise ValueError(f"weights are stored as one of {', '.join(STORES)}; got {store!r}")
    packed: Tensors = {}
    for name, value in tensors.items():
        if store == "float32" or value.dtype.kind != "f":
            packed[name] = value
        elif store == "float16":
            packed[name] = value.astype(np.float16)
        elif value.ndim < 2:
            packed[name] = value.astype(np.float32)
        else:
            largest = np.abs(value).reshape(len(value), -1).max(1)
            scale = (np.where(largest > 0, largest, 1) / _LEVELS).astype(np.float32)
            packed[name] = np.rint(value / _along_first(scale, value)).astype(np.int8)
            packed[name + _SCALE] = scale
    return packed


def unpack(tensors: Mapping[str, NDArray[Any]]) -> Tensors:
    """Return the tensors of a file with floats as float32; see `pack`.

    >>> unpack({"a": np.array([[127]], np.int8), "a.scale": np.array([0.5], np.float32)})["a"]
    array([[63.5]], dtype=float32)
    """
    unpacked: Tensors = {}
    for name, value in tensors.items():
        scale = tensors.get(name + _SCALE)
        if scale is not None:
            unpacked[name] = value * _along_first(scale, value)
        elif not (name.endswith(_SCALE) and name.removesuffix(_SCALE) in tensors):
            is_float = value.dtype.kind == "f"
            unpacked[name] = value.astype(np.float32, copy=False) if is_float else value
    return unpacked


def _along_first(scale: NDArray[Any], value: NDArray[Any]) -> NDArray[Any]:
    return scale.reshape(-1, *[1] * (value.ndim - 1))
