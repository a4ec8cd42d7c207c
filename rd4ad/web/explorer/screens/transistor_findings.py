"""What the runs of transistor show: layers, image size, and the definition of PRO."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rd4ad.catalogue import DEFAULT_METHOD
from rd4ad.web.explorer.screens.finding import Cell, Evidence, Finding, Mark, spread_mark
from rd4ad.web.explorer.screens.metric_cells import MVTEC
from rd4ad.web.explorer.style import BACKBONES
from rd4ad.web.explorer.tables import METRIC_NAMES
from rd4ad.web.explorer.units import Units

_RELEASED = {"fusion": "sum", "smoothing": 4.0, "variant": ""}


def difference_over_seeds(
    first: Sequence[float], second: Sequence[float]
) -> tuple[float, float, float]:
    """Return the difference of two means, first minus second, and its 95% interval over seeds.

    Welch's interval, with the degrees of freedom of Welch and Satterthwaite; its ends are nan where
    one of the two is a single run.

    >>> tuple(round(x, 3) for x in difference_over_seeds([0.9, 0.92], [0.8, 0.82]))
    (0.1, 0.039, 0.161)
    """
    apart = float(np.mean(first) - np.mean(second))
    if min(len(first), len(second)) < 2:
        return apart, float("nan"), float("nan")
    from scipy.stats import t  # half a second that the server's start has not

    # By hand: scipy's test warns of equal values, which seeds of a few test images may have.
    parts = [float(np.var(values, ddof=1)) / len(values) for values in (first, second)]
    if not sum(parts):
        return apart, apart, apart
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True)
    )
    reach = float(t.ppf(0.975, freedom)) * float(np.sqrt(sum(parts)))
    return apart, apart - reach, apart + reach


def _main_backbone(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return RD4AD's rows at the released scoring of the backbone with most runs over `keys`."""
    own = rows[rows["method"] == DEFAULT_METHOD]
    for name, value in _RELEASED.items():
        own = own[own[name] == value]
    own = own[own["epochs"] == own["epochs"].max()]
    if own.empty:
        return own
    wealth = own.groupby("backbone").apply(
        lambda mine: (len(mine[list(keys)].drop_duplicates()), len(mine)), include_groups=False
    )
    return own[own["backbone"] == wealth.idxmax()]


def _pair(
    evidence: Evidence, first: Mapping[str, Any], second: Mapping[str, Any]
) -> tuple[Cell, Cell, str, tuple[float, float]] | None:
    """Return pixel AUROC of two settings of transistor, the backbone, and the paper's two."""
    if evidence.transistor is None:
        return None
    rows = _main_backbone(evidence.transistor, ["layers", "size_px"])
    told = evidence.studies
    told = told[(told["study"] == "limitations") & (told["metric"] == "pixel_auroc")]
    cells, papers = [], []
    for setting in (first, second):
        mine, theirs = rows, told
        for name, value in setting.items():
            mine, theirs = mine[mine[name] == value], theirs[theirs[name] == value]
        if mine.empty or theirs.empty:
            return None
        cells.append(Cell(tuple(mine["pixel_auroc"])))
        papers.append(float(theirs["value"].iloc[0]))
    return cells[0], cells[1], str(rows["backbone"].iloc[0]), (papers[0], papers[1])


def _paired(
    evidence: Evidence,
    units: Units,
    named: Mapping[str, Mapping[str, Any]],
    **told: Any,
) -> Finding | None:
    """Return the finding that the first setting beats the second on transistor, if it does."""
    (one, first), (other, second) = named.items()
    found = _pair(evidence, first, second)
    if found is None:
        return None
    better, worse, backbone, papers = found
    apart, low, high = difference_over_seeds(better.values, worse.values)
    if not low > 0:
        return None
    name, paper = BACKBONES.get(backbone, backbone), papers[0] - papers[1]
    n = min(len(better.values), len(worse.values))
    signed = f"{{:+.{units.digits}f}}".format
    return Finding(
        number=signed(apart * units.factor),
        about=f"pixel AUROC in {units.name}, {one} minus {other}; 95% interval "
        f"{signed(low * units.factor)} to {signed(high * units.factor)} over {n} seeds, {name}. "
        f"The paper: {signed(paper * units.factor)}, WR50.",
        axis=f"Pixel AUROC of transistor, {units.name}",
        marks=(
            Mark(f"{one}, paper", papers[0] * units.factor, "reported"),
            Mark(f"{other}, paper", papers[1] * units.factor, "reported"),
            spread_mark(f"{one}, {name}", better, units),
            spread_mark(f"{other}, {name}", worse, units),
        ),
        **told,
    )


def layers(evidence: Evidence, units: Units) -> Finding | None:
    """Return whether layer 3 alone beats all three together."""
    return _paired(
        evidence,
        units,
        {
            "layer 3": {"layers": "3", "size_px": 256},
            "layers 1+2+3": {"layers": "1+2+3", "size_px": 256},
        },
        key="layers",
        claim="On transistor, the deepest layer alone beats all three layers together.",
        page="pages/ablations.py",
        query={"category": f"{MVTEC} / transistor"},
    )


def size(evidence: Evidence, units: Units) -> Finding | None:
    """Return whether images of 128 px beat those of 256 px."""
    return _paired(
        evidence,
        units,
        {
            "128 px": {"layers": "1+2+3", "size_px": 128},
            "256 px": {"layers": "1+2+3", "size_px": 256},
        },
        key="size",
        claim="On transistor, smaller images localize defects better than larger ones.",
        page="pages/limitations.py",
    )


def definition(evidence: Evidence, units: Units) -> Finding | None:
    """Return how far the definitions of PRO lie apart on one run's maps."""
    if evidence.transistor is None:
        return None
    rows = _main_backbone(evidence.transistor, ["layers", "size_px"])
    rows = rows[(rows["layers"] == "1+2+3") & (rows["size_px"] == rows["size_px"].max())]
    if rows.empty:
        return None
    run = rows.sort_values("seed").iloc[0]
    names = [name for name in METRIC_NAMES if name.startswith("aupro")]
    values = {METRIC_NAMES[name].removeprefix("PRO, "): float(run[name]) for name in names}
    spread = max(values.values()) - min(values.values())
    return Finding(
        key="definition",
        claim=f"One set of anomaly maps, {len(values)} values of PRO: the definition decides.",
        number=units.text(spread),
        about=f"{units.name} between the definitions, on the same maps of transistor "
        f"({BACKBONES.get(run['backbone'], run['backbone'])}, {run['size_px']} px, seed "
        f"{run['seed']}).",
        axis=f"PRO, {units.name}",
        marks=tuple(
            Mark(name, value * units.factor, "reproduced") for name, value in values.items()
        ),
        page="pages/pro_auditor.py",
        query={"run": str(run["run_id"])},
    )
