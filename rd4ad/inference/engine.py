"""What computes a detector's distance maps: ONNX Runtime on the CPU, torch otherwise."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rd4ad.inference.stored_weights import Tensors
from rd4ad.scoring import Maps, Scoring


class Engine(Protocol):
    """A fitted method that computes distance maps.

    Args:
        name: one of `rd4ad.config.ENGINES`.
        method: its key in the catalogue.
        backbone: its teacher's name.
        layers: of which there are distance maps, ascending.
        settings: what the method's constructor needs beside; see `Method.settings_for`.
        batch_size: images at once that take the least time an image.
        float16: whether its checkpoint was written to compute in float16; torch alone does.
    """

    name: str
    method: str
    backbone: str
    layers: tuple[int, ...]
    settings: dict[str, Any]
    batch_size: int
    float16: bool

    def distances(self, images: NDArray[np.uint8], layers: tuple[int, ...]) -> dict[int, Maps]:
        """Return the distance maps (N, h, w) of some of its layers, finest first.

        Args:
            images: (N, S, S, 3) RGB.
            layers: ascending.
        """
        ...

    def anomaly_maps(self, distances: Mapping[int, Maps], scoring: Scoring, size_px: int) -> Maps:
        """Return what `rd4ad.scoring.anomaly_maps` does, computed where it takes least time."""
        ...

    def tensors(self) -> Tensors:
        """Return what a checkpoint keeps of it: all that fitting changed."""
        ...
