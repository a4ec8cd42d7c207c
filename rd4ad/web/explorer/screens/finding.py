"""A card of the first screen: a claim, its number and its chart, and the tables behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from rd4ad.web.explorer.units import Units


@dataclass(frozen=True)
class Mark:
    """One value of a finding's chart, in the units that it is printed in; `low` to `high` if known.

    Args:
        label: what was measured.
        kind: reported, reproduced or third-party.
    """

    label: str
    value: float
    kind: str
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One card of the first screen.

    Args:
        key: its name.
        claim: one sentence.
        number: the value that carries it, as printed.
        about: what the number is, with its interval.
        axis: of the chart, with its unit.
        marks: the chart's values, from top to bottom.
        page: file of the view that proves it.
        query: of the view's address.
        is_log: whether the chart's axis is logarithmic.
    """

    key: str
    claim: str
    number: str
    about: str
    axis: str
    marks: tuple[Mark, ...]
    page: str
    query: dict[str, str] = field(default_factory=dict)
    is_log: bool = False


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The tables that findings are computed from.

    Args:
        runs: of `rd4ad.runs.index.read_index` at the runs' own scoring; None without runs.
        transistor: of the same, MVTec AD's transistor at every scoring; None without runs.
        published: as `rd4ad.runs.published.read_published` returns it.
        studies: results/published/rd4ad_studies.csv.
        costs: as `rd4ad.web.explorer.screens.complexity.table` returns it.
        agreement: rows of results/bench/agreement.json; empty without it.
    """

    runs: pd.DataFrame | None
    transistor: pd.DataFrame | None
    published: pd.DataFrame
    studies: pd.DataFrame
    costs: pd.DataFrame
    agreement: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Cell:
    """Runs of one setting: their values, and how many there are."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Return the mean of the runs."""
        return float(np.mean(self.values))


def spread_mark(label: str, cell: Cell, units: Units) -> Mark:
    """Return the mark of runs of this project, from their least to their greatest value."""
    ends = (min(cell.values), max(cell.values)) if len(cell.values) > 1 else (np.nan, np.nan)
    return Mark(label, cell.mean * units.factor, "reproduced", *(x * units.factor for x in ends))
