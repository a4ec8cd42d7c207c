"""How a run's files are kept small, losslessly: LZMA, and bytes that are alike together.

The upper bytes of neighboring codes are nearly equal and the lower ones nearly chance, so each kind
is kept by itself; and so are the bytes of floating-point columns, by Parquet.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZIP_LZMA, ZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays as an .npz file that np.load reads.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_arrays(Path(folder) / "a.npz", {"x": np.arange(3)})
    ...     np.load(Path(folder) / "a.npz")["x"].tolist()
    [0, 1, 2]
    """
    with ZipFile(path, "w", ZIP_LZMA) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as Parquet."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    numbers = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    parquet.write_table(
        table, path, compression="zstd", compression_level=19, write_statistics=False,
        use_dictionary=[name for name in table.column_names if name not in numbers],
        column_encoding=dict.fromkeys(numbers, "BYTE_STREAM_SPLIT"),
    )  # fmt: skip


def to_planes(codes: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return codes (N, h, w) as their lower and upper bytes (2, N, h, w).

    >>> to_planes(np.array([[[258]]], np.uint16)).ravel().tolist()
    [2, 1]
    """
    return np.stack([codes.astype(np.uint8), (codes >> 8).astype(np.uint8)])


def from_planes(stored: NDArray[Any]) -> NDArray[np.uint16]:
    """Return codes (N, h, w) as they were given to `to_planes`; older runs stored them whole.

    >>> from_planes(to_planes(np.array([[[258]]], np.uint16))).item()
    258
    """
    if stored.dtype == np.uint16:
        return stored
    lower, upper = stored.astype(np.uint16)
    codes: NDArray[np.uint16] = lower | upper << 8
    return codes
