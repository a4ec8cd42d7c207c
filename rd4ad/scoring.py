"""Distance maps -> anomaly map -> score, in NumPy, the same for every method and every page.

Bilinear upsampling with align_corners=True and a Gaussian with a reflecting border are both linear
and separable, so each is one small matrix applied from the left and from the right: U D U^T
upsamples and G M G^T smooths. They match torch and SciPy to float32.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float32]
FUSIONS = ("sum", "product")
SCORES = ("max", "sum", "image")
_AT_ONCE = 32  # anomaly maps of 256 px: 8 MB
IMAGE = 0
"""Key of the distance "map" (N, 1, 1) that is a method's own score of the whole image."""


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How distance maps become an anomaly map and a score.

    Args:
        layers: the layers fused, a choice of 1 (finest), 2, 3.
        fusion: "sum" (released default) or "product" of the upsampled distance maps.
        sigma_px: standard deviation of the Gaussian, in pixels of the anomaly map; 0 for none. The
            release uses 4 px at every resolution; `scaled_sigma` gives the same share of the image.
        score: "max" of the smoothed map (defects), "sum" of the unsmoothed one (novelty), or the
            method's own of the whole "image", which no layer or smoothing changes.

    Raises:
        ValueError: a value outside those named.
    """

    layers: tuple[int, ...] = (1, 2, 3)
    fusion: str = "sum"
    sigma_px: float = 4.0
    score: str = "max"

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", checked_layers(tuple(self.layers)))
        if self.fusion not in FUSIONS:
            raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}; got {self.fusion!r}")
        if self.score not in SCORES:
            raise ValueError(f"score must be one of {', '.join(SCORES)}; got {self.score!r}")
        if not 0 <= self.sigma_px <= 64:
            raise ValueError(f"sigma_px must lie in [0, 64] pixels; got {self.sigma_px}")


def checked_layers(layers: tuple[int, ...]) -> tuple[int, ...]:
    """Return the layers sorted, finest first.

    >>> checked_layers((3, 1))
    (1, 3)

    Raises:
        ValueError: none given, one twice, or one outside 1, 2, 3.
    """
    if not layers or len(set(layers)) != len(layers) or not set(layers) <= {1, 2, 3}:
        raise ValueError(f"layers must be a choice of 1, 2 and 3, each once; got {layers}")
    return tuple(sorted(layers))


def layers_name(layers: tuple[int, ...]) -> str:
    """Return layers as the tables write them.

    >>> layers_name((1, 3))
    '1+3'
    """
    return "+".join(map(str, layers))


def scaled_sigma(size_px: int, at_256: float = 4.0) -> float:
    """Return the sigma in pixels that covers the same share of the image as `at_256` at 256 px.

    >>> scaled_sigma(128)
    2.0
    """
    return at_256 * size_px / 256


@cache
def upsampling(size_in: int, size_out: int) -> Maps:
    """Return the (size_out, size_in) matrix of linear interpolation with align_corners=True.

    >>> upsampling(2, 3).tolist()
    [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """
    position = np.linspace(0, size_in - 1, size_out)
    weights = 1 - np.abs(position[:, None] - np.arange(size_in)[None, :])
    return np.maximum(weights, 0).astype(np.float32)


@cache
def smoothing(size: int, sigma_px: float) -> Maps:
    """Return the (size, size) matrix of SciPy's 1-D Gaussian (truncate 4, reflecting border).

    >>> matrix = smoothing(8, 1.0)
    >>> matrix.shape, bool(np.allclose(matrix.sum(axis=1), 1))  # a mean of neighbors
    ((8, 8), True)
    """
    identity = np.eye(size)
    if sigma_px == 0:
        return identity.astype(np.float32)
    from scipy.ndimage import gaussian_filter1d  # half of what `rd4ad --help` would wait for

    smoothed: Maps = gaussian_filter1d(identity, sigma_px, axis=0).astype(np.float32)
    return smoothed


def anomaly_maps(
    distances: Mapping[int, NDArray[np.floating]], scoring: Scoring, size_px: int
) -> Maps:
    """Return the smoothed anomaly maps (N, size_px, size_px), higher is more anomalous.

    >>> maps = anomaly_maps({3: np.ones((2, 4, 4))}, Scoring(layers=(3,)), size_px=64)
    >>> maps.shape, bool(np.allclose(maps, 1))
    ((2, 64, 64), True)

    Args:
        distances: distance maps by layer, (N, h, w) each; must hold every layer of `scoring`.
        scoring: see `Scoring`.
        size_px: side of the anomaly map in pixels.

    Raises:
        KeyError: a layer of `scoring` is not in `distances`.
    """
    gaussian = smoothing(size_px, scoring.sigma_px)
    if scoring.fusion == "product" and len(scoring.layers) > 1:  # of one, both are the same
        fused = fused_maps(distances, scoring, size_px)
        return (gaussian @ fused @ gaussian.T).astype(np.float32, copy=False)
    total: Maps = np.zeros((1, size_px, size_px), np.float32)
    for layer in scoring.layers:  # smoothing is linear: upsampling and Gaussian in one matrix
        stack = _layer(distances, layer)
        rows = gaussian @ upsampling(stack.shape[1], size_px)
        columns = gaussian @ upsampling(stack.shape[2], size_px)
        total = total + rows @ stack @ columns.T
    return total


class StreamedMaps(Sequence[Maps]):
    """The anomaly maps of any number of images, computed as they are asked for.

    >>> maps = StreamedMaps({3: np.ones((5, 4, 4))}, Scoring(layers=(3,)), size_px=64)
    >>> len(maps), maps[4].shape, round(float(sum(one.max() for one in maps)), 3)
    (5, (64, 64), 5.0)

    Args:
        distances, scoring, size_px: see `anomaly_maps`.
    """

    def __init__(
        self, distances: Mapping[int, NDArray[np.floating]], scoring: Scoring, size_px: int
    ) -> None:
        self._distances = {layer: _layer(distances, layer) for layer in scoring.layers}
        self._scoring, self._size_px = scoring, size_px

    def __len__(self) -> int:
        return len(next(iter(self._distances.values())))

    def __getitem__(self, index: Any) -> Any:
        """Return the map of one image, or those of a slice."""
        place = index if isinstance(index, slice) else slice(index, index + 1 or None)
        some = {layer: stack[place] for layer, stack in self._distances.items()}
        found = anomaly_maps(some, self._scoring, self._size_px)
        return found if isinstance(index, slice) else found[0]

    def __iter__(self) -> Iterator[Maps]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self[start : start + _AT_ONCE]


def fused_maps(
    distances: Mapping[int, NDArray[np.floating]], scoring: Scoring, size_px: int
) -> Maps:
    """Return the fused maps before smoothing, (N, size_px, size_px).

    >>> distances = {1: np.full((1, 4, 4), 0.2), 2: np.full((1, 2, 2), 0.3)}
    >>> float(fused_maps(distances, Scoring(layers=(1, 2)), size_px=8).max().round(3))
    0.5
    """
    upsampled = []
    for layer in scoring.layers:
        stack = _layer(distances, layer)
        rows, columns = (upsampling(side, size_px) for side in stack.shape[1:])
        upsampled.append(rows @ stack @ columns.T)
    fuse = np.sum if scoring.fusion == "sum" else np.prod
    fused: Maps = fuse(upsampled, axis=0)
    return fused


def scores(
    distances: Mapping[int, NDArray[np.floating]],
    scoring: Scoring,
    size_px: int,
    maps: Maps | Sequence[Maps] | None = None,
) -> NDArray[np.float64]:
    """Return one score an image, (N,), higher is more anomalous; a function of that image alone.

    >>> distances = {3: np.stack([np.zeros((4, 4)), np.ones((4, 4))])}
    >>> scores(distances, Scoring(layers=(3,)), size_px=64).round(3).tolist()
    [0.0, 1.0]

    Args:
        distances: distance maps by layer, (N, h, w) each.
        scoring: see `Scoring`; `scoring.score` chooses.
        size_px: side of the anomaly map in pixels.
        maps: the images' `anomaly_maps`, if they are there already.
    """
    if scoring.score == "image":
        return _layer(distances, IMAGE)[:, 0, 0].astype(np.float64)
    if scoring.score == "sum":
        return fused_maps(distances, scoring, size_px).sum(axis=(1, 2), dtype=np.float64)
    if maps is None:
        maps = StreamedMaps(distances, scoring, size_px)
    return np.array([one.max() for one in maps], np.float64)


def _layer(distances: Mapping[int, NDArray[np.floating]], layer: int) -> Maps:
    if layer not in distances:
        raise KeyError(f"no distance maps of layer {layer}; there are layers {sorted(distances)}")
    return np.asarray(distances[layer], dtype=np.float32)
