"""A stored run as it is read: its record, its tables, its distance maps."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from lzma import LZMAError
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow import ArrowException

from rd4ad.data.archives import UNREADABLE
from rd4ad.metrics import PixelStatistics
from rd4ad.runs.packing import from_planes

METRIC_COLUMNS = (
    "layers", "fusion", "smoothing", "metric", "definition", "value", "ci_low", "ci_high", "reason",
)  # fmt: skip
IMAGE_COLUMNS = ("image", "defect_type", "label", "score")
CURVE_COLUMNS = ("curve", "x", "y", "threshold")
MOST_BITS = 16
"""Of the codes of distance maps."""
_DAMAGED = (  # what damaged JSON, CSV, Parquet and zip files raise; each was seen
    *UNREADABLE, LZMAError, KeyError, MemoryError, ArrowException,
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A complete run folder; `record` and `metrics` are in memory, the rest is read on demand.

    `write_run` shows one.

    Args:
        path: its folder.
        record: run.json.
        metrics: metrics.csv, with the further column `is_default`: the run's own layers, fusion and
            smoothing.
    """

    path: Path
    record: dict[str, Any]
    metrics: pd.DataFrame

    def images(self) -> pd.DataFrame:
        """Return one row a test image.

        Raises:
            ValueError: the file is damaged; the message names it. So do the methods below.
        """
        return self._table("images.parquet", IMAGE_COLUMNS)

    def curves(self) -> pd.DataFrame:
        """Return the points of the run's curves."""
        return self._table("curves.parquet", CURVE_COLUMNS)

    def distances(self) -> dict[int, NDArray[np.float32]]:
        """Return the distance maps by layer, (N, h, w) float32."""
        codes, steps = self.codes()
        return {layer: decode(stack, steps[layer]) for layer, stack in codes.items()}

    def codes(self) -> tuple[dict[int, NDArray[np.uint16]], dict[int, np.float32]]:
        """Return the distance maps as stored, codes (N, h, w), and the value of one code, by layer.

        See `decode`.
        """
        arrays = self._arrays("layer", "scale")
        with naming_damaged_file(self.path / "distances.npz"):
            layers = sorted(int(key.removeprefix("layer")) for key in arrays if "layer" in key)
            steps = {k: np.float32(arrays[f"scale{k}"]) for k in layers}
            return {k: from_planes(arrays[f"layer{k}"]) for k in layers}, steps

    def masks(self) -> NDArray[np.bool_] | None:
        """Return the masks (N, S, S), True where defective; None where the run keeps none."""
        return self._arrays("masks").get("masks")

    def statistics(self) -> PixelStatistics | None:
        """Return the histograms of its images' pixels; None where the run keeps none."""
        path = self.path / "statistics.npz"
        if not path.exists():
            return None
        with (
            naming_damaged_file(path),
            path.open("rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            found = {field.name: arrays[field.name] for field in fields(PixelStatistics)}
            return PixelStatistics(**found)

    def check(self) -> None:
        """Read every file whole.

        Raises:
            ValueError: one is damaged, or they do not belong together; the message says which.
        """
        n_images = len(self.images())
        self.curves()
        stacks = {f"layer {layer}": stack for layer, stack in self.distances().items()}
        masks = self.masks()
        for name, stack in (stacks if masks is None else stacks | {"masks": masks}).items():
            if stack.ndim != 3 or len(stack) != n_images:
                raise ValueError(
                    f"{self.path / 'distances.npz'}: {name} has the shape {stack.shape}; "
                    f"expected three axes, the first of the {n_images} images in images.parquet"
                )
        statistics = self.statistics()
        if statistics is not None and statistics.n_images != n_images:
            raise ValueError(
                f"{self.path / 'statistics.npz'}: expected histograms of the {n_images} images in "
                f"images.parquet, found {statistics.n_images}"
            )

    def _table(self, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
        with naming_damaged_file(self.path / name) as path:
            return with_columns(pd.read_parquet(path), columns)

    def _arrays(self, *starts: str) -> dict[str, Any]:
        with (
            naming_damaged_file(self.path / "distances.npz") as path,
            path.open("rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            return {key: arrays[key] for key in arrays if key.startswith(starts)}


def encode(
    stack: NDArray[np.floating], bits: int = MOST_BITS
) -> tuple[NDArray[np.uint16], np.float32]:
    """Return a non-negative array as codes of so many bits and the step between them.

    >>> codes, step = encode(np.array([0.0, 0.5, 1.0]))
    >>> codes.tolist()
    [0, 32768, 65535]

    The step is the maximum / (2 ** bits - 1). Even 16 bits are half as large as float32, and 8 to
    16 times finer than float16 where distance maps have their values. Rounding to float16 moved an
    image AUROC by 4e-4 (docs/LOG.md). Values below zero, which are cosines rounded to over one,
    become zero.

    Raises:
        ValueError: a value is not finite.
    """
    if not np.isfinite(stack).all():
        raise ValueError("distance maps hold NaN or infinity; nothing is stored")
    step = np.float32(stack.max() / (2**bits - 1))
    step = step if step > 0 else np.float32(1)
    return np.rint(np.maximum(stack, 0) / step).astype(np.uint16), step


def bits_of(layers: Iterable[int], finest: int) -> dict[int, int]:
    """Return the bits of the codes of some layers: `finest` of the finest map, 16 of others.

    >>> bits_of([0, 1, 2], 12)  # 0: an image's own score
    {0: 16, 1: 12, 2: 16}
    """
    found = dict.fromkeys(layers, MOST_BITS)
    return found | {min(filter(None, found)): finest}


def decode(codes: NDArray[np.uint16], step: np.float32) -> NDArray[np.float32]:
    """Return the array (float32) that `encode` was given, rounded to its codes.

    >>> decode(*encode(np.array([0.0, 0.25, 1.0]))).round(4).tolist()
    [0.0, 0.25, 1.0]
    """
    decoded: NDArray[np.float32] = codes.astype(np.float32) * np.float32(step)
    return decoded


@contextmanager
def naming_damaged_file(path: Path) -> Iterator[Path]:
    """Turn whatever a damaged file raises into a ValueError that names the file.

    >>> with naming_damaged_file(Path("run.json")):
    ...     raise EOFError("it ends early")
    Traceback (most recent call last):
    ValueError: run.json cannot be read: it ends early
    """
    try:
        yield path
    except _DAMAGED as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def require(there: Iterable[str], needed: Iterable[str]) -> None:
    """Refuse names of which some are not there.

    >>> require(["a", "b"], ["b", "c"])
    Traceback (most recent call last):
    ValueError: lacking: c

    Raises:
        ValueError: some are not there; the message names them.
    """
    present = set(there)
    lacking = [name for name in needed if name not in present]
    if lacking:
        raise ValueError(f"lacking: {', '.join(lacking)}")


def own_rows(metrics: pd.DataFrame, scoring: Mapping[str, Any]) -> "pd.Series[bool]":
    """Return which metrics are at a run's own scoring, as its record has it.

    >>> rows = pd.DataFrame({"layers": ["1", "2"], "fusion": "sum", "smoothing": 4.0})
    >>> own_rows(rows, {"layers": "2", "fusion": "sum", "sigma_px": 4.0}).tolist()
    [False, True]
    """
    return (
        (metrics.layers == scoring["layers"])
        & (metrics.fusion == scoring["fusion"])
        & (metrics.smoothing == scoring["sigma_px"])
    )


def with_columns(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return these columns of the frame.

    >>> with_columns(pd.DataFrame({"a": [1], "b": [2], "c": [3]}), ("c", "a")).columns.tolist()
    ['c', 'a']

    Raises:
        ValueError: some are not there; the message names them.
    """
    require(frame.columns, columns)
    return frame[list(columns)]
