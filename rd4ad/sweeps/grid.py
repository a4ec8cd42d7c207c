"""A grid of trainings as YAML, and the cells that it stands for; no torch.

    category: [transistor, bottle]
    backbone: [resnet18, compact]
    size_px: [128, 256]
    seed: [0, 1, 2]
    epochs: 100

Every key is a field of `TrainingConfig`, or `category`, or `dataset` (the dataset's name in the
runs); a list stands for each of its values. What is not named has the method's default, but for
`holdout`: a study trains on all normal images, as papers do. A line `---` begins a further grid in
the same file. Subsets of the trained layers, fusions
and smoothings need no key: every run records them all.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from rd4ad.catalogue import BACKBONE_NAMES, DEFAULT_METHOD, METHODS, NO_BACKBONE, entry_of
from rd4ad.config import LOSS_NAMES, PRECISIONS, TrainingConfig

KEYS = ("category", *(field.name for field in fields(TrainingConfig)))
_CHOICES = {
    "method": tuple(METHODS), "backbone": BACKBONE_NAMES, "loss": LOSS_NAMES,
    "precision": PRECISIONS,
}  # fmt: skip
OF_TRAINED_METHODS = ("epochs", "batch_size", "learning_rate")


class GridError(ValueError):
    """A grid that stands for nothing that can be run; the message names file, key and value."""


@dataclass(frozen=True)
class Cell:
    """One training and its evaluation."""

    category: str
    config: TrainingConfig


@dataclass(frozen=True)
class Grid:
    """What a file says.

    Args:
        dataset: the dataset's name in the runs; None for that of its folder.
        cells: in the file's order, each once.
    """

    dataset: str | None
    cells: tuple[Cell, ...]


def read_grid(path: Path) -> Grid:
    """Return the grid of a YAML file.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "grid.yaml"
    ...     _ = file.write_text("category: [tile, nut]\\nseed: [0, 1]\\nlayers: 2+3")
    ...     [(cell.category, cell.config.seed) for cell in read_grid(file).cells]
    [('tile', 0), ('tile', 1), ('nut', 0), ('nut', 1)]

    Where methods are compared, a key that a method does not have is left out for it: the backbone
    of one without, the epochs of one that is fitted in one pass.

    Raises:
        FileNotFoundError: no such file.
        GridError: no YAML, no cells, an unknown key, or a value that cannot be.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no grid at {path}")
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise GridError(f"{path} is no YAML: {error}") from error
    read = [_read_document(path, said) for said in documents or [None]]
    names = {grid.dataset for grid in read}
    if len(names) > 1:
        raise GridError(f"{path}: every document must name the same dataset, or none")
    return Grid(names.pop(), tuple(dict.fromkeys(cell for grid in read for cell in grid.cells)))


def _read_document(path: Path, said: Any) -> Grid:
    if not isinstance(said, dict) or not said:
        raise GridError(f"{path}: expected keys such as category, backbone, seed; found none")
    dataset = said.pop("dataset", None)
    for key in said:
        if key not in KEYS:
            raise GridError(f"{path}: unknown key {key!r}{_nearest(str(key), KEYS)}")
    if "category" not in said:
        raise GridError(f"{path}: `category` is missing: name one or a list of them")
    axes = {key: _values(path, key, said[key]) for key in said}
    try:
        cells = tuple(_cells(axes))
    except (ValueError, TypeError) as error:  # TypeError: a word where a number belongs
        raise GridError(f"{path}: {error}") from error
    return Grid(None if dataset is None else str(dataset), cells)


def _values(path: Path, key: str, said: Any) -> list[Any]:
    values = said if isinstance(said, list) else [said]
    if not values or any(value is None or isinstance(value, (dict, list)) for value in values):
        raise GridError(f"{path}: {key} has no value: expected one, or a list of them")
    for value in values:
        if key in _CHOICES and value not in _CHOICES[key]:
            raise GridError(
                f"{path}: {key} {value!r} is unknown{_nearest(str(value), _CHOICES[key])}"
            )
    return [str(value) if key == "category" else value for value in values]


def _nearest(word: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"


def _cells(axes: Mapping[str, list[Any]]) -> Iterator[Cell]:
    for values in product(*axes.values()):
        chosen: dict[str, Any] = {"method": DEFAULT_METHOD, "holdout": 0.0}
        chosen |= zip(axes, values, strict=True)
        category = chosen.pop("category")
        entry = entry_of(chosen["method"])
        if entry.backbones == (NO_BACKBONE,):
            chosen.pop("backbone", None)
        if not entry.epochs:
            chosen = {k: v for k, v in chosen.items() if k not in OF_TRAINED_METHODS}
        if "layers" in chosen:
            chosen["layers"] = tuple(int(layer) for layer in str(chosen["layers"]).split("+"))
        yield Cell(category, TrainingConfig(**chosen))
