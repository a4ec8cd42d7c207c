"""Percent or fraction: how metrics are printed."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Units:
    """How metrics are printed: `factor` times the fraction, with `digits` decimals."""

    name: str
    factor: float
    digits: int
    suffix: str

    def text(self, fraction: Any) -> str:
        """Return a fraction (a number, NaN or None) as printed.

        >>> PERCENT.text(0.978), FRACTION.text(None)
        ('97.8', '–')
        """
        if fraction is None or np.isnan(fraction):
            return "–"
        return f"{self.factor * fraction:.{self.digits}f}"


PERCENT, FRACTION = Units("percent", 100, 1, "%"), Units("fraction", 1, 3, "")
UNITS = {units.name: units for units in (PERCENT, FRACTION)}


def difference(value: float, usual: float | None, units: Units) -> str | None:
    """Return the signed difference as printed; None where it is nothing, or either is unknown.

    >>> difference(0.98, 0.97, PERCENT), difference(0.5, None, PERCENT)
    ('+1.0', None)
    """
    if usual is None or np.isnan(value) or np.isnan(usual):
        return None
    change = round(units.factor * (value - usual), units.digits)
    return f"{change:+.{units.digits}f}" if change else None
