"""Which cells of a grid have a run, and the grid that fills the holes; no torch, data or weights.

A run's id hashes its images' number and its teacher's weights too, so only a machine that has both
can tell by ids what `rd4ad sweep` would do there: its --dry-run says that. A table asks another
question, which results alone must answer: is there a run with these settings? So a cell is matched
by all that its configuration says, the dataset's name and the category. A run on fewer images than
its category has, or whose training was cut short, answers no cell.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from itertools import islice, permutations
from typing import Any

import pandas as pd
import yaml

from rd4ad.catalogue import DEFAULT_METHOD, NO_BACKBONE, entry_of
from rd4ad.config import TrainingConfig
from rd4ad.scoring import layers_name
from rd4ad.sweeps.grid import OF_TRAINED_METHODS, Cell

Record = Mapping[str, Any]
_NAMES = tuple(field.name for field in fields(TrainingConfig))
_Box = dict[str, tuple[Any, ...]]


def matches_cell(record: Record, cell: Cell) -> bool:
    """Return whether a run, by its run.json, is that of a cell.

    >>> cell = Cell("nut", TrainingConfig(backbone="compact", holdout=0))
    >>> record = {"category": "nut", "method": "reverse_distillation",
    ...           "config": {**asdict(cell.config), "layers": [1, 2, 3]},
    ...           "scoring": {"layers": "1+2+3", "fusion": "sum", "sigma_px": 4.0, "score": "max"}}
    >>> matches_cell(record, cell), matches_cell({**record, "category": "tile"}, cell)
    (True, False)
    """
    config, scoring = record["config"], cell.config.scoring()
    if config.get("skipped") or config.get("stop") or record["category"] != cell.category:
        return False
    # Runs of a time before there was a choice of method or precision say nothing of it.
    said = {"method": record["method"], "precision": "float32"} | dict(config)
    said["layers"] = tuple(said.get("layers") or ())
    is_scored_so = dict(record["scoring"]) == asdict(scoring) | {
        "layers": layers_name(scoring.layers)
    }
    return is_scored_so and all(said.get(k) == getattr(cell.config, k) for k in _NAMES)


def completeness(cells: Sequence[Cell], records: Iterable[Record]) -> pd.DataFrame:
    """Return one row a cell: its category, the settings that vary in the grid, and `is_there`.

    >>> cells = [Cell("nut", TrainingConfig(seed=seed)) for seed in (0, 1)]
    >>> completeness(cells, []).columns.tolist()
    ['category', 'seed', 'is_there']

    Args:
        cells: of a grid.
        records: run.json of runs of its dataset.
    """
    known = list(records)
    values = [{"category": cell.category} | _settings(cell) for cell in cells]
    varying = [key for key in _NAMES if len({row[key] for row in values}) > 1]
    rows = [[row[key] for key in ("category", *varying)] for row in values]
    table = pd.DataFrame(rows, columns=["category", *varying])
    return table.assign(is_there=[any(matches_cell(r, cell) for r in known) for cell in cells])


def matrix(table: pd.DataFrame) -> pd.DataFrame:
    """Return categories against settings, "runs there/wanted" in each; seeds are counted together.

    >>> table = pd.DataFrame({"category": ["nut", "nut", "tile"], "size_px": [128, 128, 128],
    ...                       "seed": [0, 1, 0], "is_there": [True, False, True]})
    >>> matrix(table)[128].to_dict()
    {'nut': '1/2', 'tile': '1/1'}
    """
    keys = [key for key in table.columns if key not in ("category", "seed", "is_there")]
    found = table.groupby(["category", *keys], sort=False)["is_there"]
    told = (found.sum().astype(str) + "/" + found.size().astype(str)).rename("runs")
    return told.unstack(keys).fillna("") if keys else told.to_frame()


def grid_of_missing(cells: Sequence[Cell], dataset: str | None = None) -> str:
    """Return the YAML of a grid of exactly these cells, in few documents; empty for none.

    >>> cells = [Cell(name, TrainingConfig(seed=seed, holdout=0))
    ...          for name, seed in (("nut", 0), ("nut", 1), ("tile", 0), ("tile", 1), ("cloth", 3))]
    >>> print(grid_of_missing(cells))
    category: [nut, tile]
    seed: [0, 1]
    ---
    category: [cloth]
    seed: [3]
    <BLANKLINE>

    Not the fewest documents that there can be, which is a hard problem: cells are joined along one
    setting after another, and the best order of these is taken.
    """
    named = [key for key in _NAMES if any(_settings(c)[key] != _default(c, key) for c in cells)]
    boxes = [_box(cell, named) for cell in dict.fromkeys(cells)]
    orders = islice(permutations(["category", *named]), 120)
    best = min((_joined(boxes, order) for order in orders), key=len)
    head = {"dataset": dataset} if dataset else {}
    said = [head | {key: list(values) for key, values in box.items()} for box in best]
    return "---\n".join(
        yaml.safe_dump(grid, sort_keys=False, default_flow_style=None, allow_unicode=True)
        for grid in said
    )


def _settings(cell: Cell) -> dict[str, Any]:
    return asdict(cell.config) | {"layers": layers_name(tuple(cell.config.layers or ()))}


def _default(cell: Cell, key: str) -> Any:
    if key == "method":
        return DEFAULT_METHOD
    return _settings(Cell("", TrainingConfig(method=cell.config.method, holdout=0)))[key]


def _box(cell: Cell, named: Sequence[str]) -> _Box:
    """Return the cell's values of the named settings that its method has, a tuple of one each."""
    entry, settings = entry_of(cell.config.method), _settings(cell)
    absent = set() if entry.epochs else set(OF_TRAINED_METHODS)
    if entry.backbones == (NO_BACKBONE,):
        absent.add("backbone")
    kept = {key: (settings[key],) for key in named if key not in absent}
    return {"category": (cell.category,)} | kept


def _joined(boxes: Sequence[_Box], order: Sequence[str]) -> list[_Box]:
    """Return boxes joined along each key in turn, where they differ in that key alone."""
    found = list(boxes)
    for key in order:
        groups: dict[tuple[Any, ...], list[_Box]] = {}
        for box in found:
            rest = tuple((k, v) for k, v in box.items() if k != key)
            groups.setdefault((key in box, *rest), []).append(box)
        found = [group[0] | _together(group, key) for group in groups.values()]
    return found


def _together(group: Sequence[_Box], key: str) -> _Box:
    return {key: tuple(v for box in group for v in box[key])} if key in group[0] else {}
