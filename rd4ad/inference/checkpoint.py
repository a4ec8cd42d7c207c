"""Checkpoints and teachers as NumPy arrays, and files written whole; no torch."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from rd4ad.config import checked_size
from rd4ad.home import WEIGHTS
from rd4ad.inference.stored_weights import Tensors, pack, unpack
from rd4ad.scoring import Scoring, checked_layers

SCHEMA = 2
"""Newest form of a checkpoint's header that is read; 1 knew reverse distillation alone."""
Header = dict[str, Any]
"""What a checkpoint says of itself; see `read_checkpoint`."""


def read_checkpoint(path: Path) -> tuple[dict[str, Any], Tensors]:
    """Return header and float32 tensors of a checkpoint.

    Raises:
        FileNotFoundError: no such file.
        ValueError: truncated, not a checkpoint of this package, damaged, or of a newer schema.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        metadata, tensors = read_tensors(path)
    except ValueError as error:
        raise ValueError(
            f"{error}; checkpoints of the released code are read by Detector.from_official"
        ) from error
    if "rd4ad" not in metadata:
        raise ValueError(f"{path} holds tensors but no rd4ad header: not one of our checkpoints")
    return _checked_header(path, metadata["rd4ad"]), tensors


def _checked_header(path: Path, text: str) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads(text)
        is_newer = header["schema"] > SCHEMA
        if not is_newer:
            Scoring(**header["scoring"])
            checked_layers(tuple(header["layers"]))
            checked_size(header["size_px"])
            for key in ("method", "backbone", "teacher_file", "calibration", "config"):
                header[key]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} has a damaged header ({type(error).__name__}: {error}): train it again, or "
            "fetch it again"
        ) from error
    if is_newer:
        raise ValueError(
            f"{path} has checkpoint schema {header['schema']}, this version reads up to {SCHEMA}: "
            "update rd4ad"
        )
    return header


def write_checkpoint(path: Path, header: Header, tensors: Tensors, store: str = "float32") -> None:
    """Write a checkpoint to `path` (.safetensors), beside it first and then renamed.

    Args:
        path: of the file.
        header: what it says of itself.
        tensors: float32.
        store: float32, float16 or int8; see `stored_weights.pack`.

    Raises:
        ValueError: the name does not end in .safetensors, or no such way to store weights.
        OSError: the folder cannot be written, or the disk is full; nothing half-written stays.
    """
    path = checked_name(path, ".safetensors")
    packed = pack(tensors, store)
    metadata = {"rd4ad": json.dumps(header, sort_keys=True)}
    replace_file(path, lambda beside: save_file(packed, beside, metadata))


def read_tensors(path: Path) -> tuple[dict[str, str], Tensors]:
    """Return metadata and tensors of a .safetensors file, weights as float32 however stored.

    >>> metadata, tensors = read_tensors(WEIGHTS / "compact.safetensors")
    >>> tensors["conv1.weight"].shape[1:]
    (3, 7, 7)

    Raises:
        ValueError: truncated, or not such a file.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is not a whole .safetensors file ({error}): it may be truncated, or a pickle"
        ) from error
    return metadata, unpack(tensors)


def find_teacher(header: Mapping[str, Any], given: str | Path | None = None) -> Path | None:
    """Return the .safetensors file of a checkpoint's teacher, or None where there is none.

    It is one whose name starts with the backbone's and whose content has the sha256 that the
    checkpoint names, in `given`, the folder of RD4AD_WEIGHTS, or the bundled one.

    >>> header, _ = read_checkpoint(Path("results/detectors/tile.safetensors"))
    >>> find_teacher(header).name
    'distilled.safetensors'

    Args:
        header: the checkpoint's.
        given: the file itself or a folder; looked at alone, if named.
    """
    places = [given] if given else [os.environ.get("RD4AD_WEIGHTS"), WEIGHTS]
    for place in (Path(place) for place in places if place):
        files = [place] if place.is_file() else sorted(place.glob(f"{header['backbone']}[-_.]*"))
        for file in files:
            if file.suffix == ".safetensors" and sha256(file) == header["teacher_file"]["sha256"]:
                return file
    return None


def sha256(path: Path) -> str:
    """Return the sha256 of a file's content, in hexadecimal digits.

    >>> len(sha256(WEIGHTS / "compact.safetensors"))
    64
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked_name(path: str | Path, suffix: str) -> Path:
    """Return the path of a file to write, which must end in `suffix`.

    >>> checked_name("runs/bottle.safetensors", ".safetensors").name
    'bottle.safetensors'

    Raises:
        ValueError: it does not.
    """
    path = Path(path)
    if path.suffix != suffix:
        raise ValueError(f"the name of this file ends in {suffix}; got {path}")
    return path


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a name beside `path`, then rename it to `path`: whole, or not there.

    Raises:
        OSError: as `write` or the rename raise it; the file beside is gone then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(beside)
        beside.replace(path)
    except (RuntimeError, SafetensorError) as error:  # what torch and safetensors raise for it
        raise OSError(f"{path} could not be written whole ({error})") from error
    finally:
        beside.unlink(missing_ok=True)
