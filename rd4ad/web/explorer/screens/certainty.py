"""How sure the metrics on the pages are: intervals, differences of two columns, spread of seeds."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from rd4ad.runs.comparison import NOT_STORED, Difference, Resampled, differences
from rd4ad.runs.run import Run
from rd4ad.web.explorer.screens.metric_cells import AVERAGES, PRO_DEFINITIONS, labels
from rd4ad.web.explorer.tables import METRIC_NAMES, Text, readable, with_interval

Runs = Callable[[tuple[str, ...]], Resampled]


def measured_metric(cell: "pd.Series[Any]") -> str:
    """Return the name that runs store a cell's metric under; PRO has one a definition.

    >>> measured_metric(pd.Series({"metric": "pro", "definition": "MVTec, limit 0.05"}))
    'aupro_0.05'
    """
    if cell["metric"] != "pro":
        return str(cell["metric"])
    return next(m for m, definition in PRO_DEFINITIONS.items() if definition == cell["definition"])


def column_differences(
    cells: pd.DataFrame,
    first: str,
    second: str,
    resampled: Runs,
) -> dict[str, Difference]:
    """Return the difference of two columns by category, averages left out, as far as it is known.

    Args:
        cells: of one metric; see `rd4ad.web.explorer.screens.metric_cells.choose`.
        first: label of a column.
        second: label of another.
        resampled: returns the mean of runs, by their ids; may raise ValueError, the reason.
    """
    cells = cells[~cells["category"].isin(list(AVERAGES))]
    columns = labels(cells)
    one, other = (cells[columns == name].set_index("category") for name in (first, second))
    return {
        category: _told(one.loc[category], other.loc[category], resampled)
        for category in one.index
        if category in other.index
    }


def _told(
    first: "pd.Series[Any]",
    second: "pd.Series[Any]",
    resampled: Runs,
) -> Difference:
    values = float(first["value"]), float(second["value"])
    if any(cell["kind"] not in ("reproduced", "external") for cell in (first, second)):
        return Difference(*values, reason="the source reports no scores of single images")
    metrics = [measured_metric(cell) for cell in (first, second)]
    if metrics[0] != metrics[1]:
        return Difference(*values, reason="the columns use different definitions")
    try:
        found = differences(resampled(first["runs"]), resampled(second["runs"]))
    except ValueError as error:  # a damaged run, or other test images
        return Difference(*values, reason=str(error))
    return found[metrics[0]]


def verdict(told: Mapping[str, Difference]) -> str:
    """Return how many differences are more than the choice of test images explains, and why not.

    >>> real, chance = Difference(0.9, 0.7, 0.1, 0.3), Difference(0.9, 0.8, -0.1, 0.3)
    >>> verdict({"tile": real, "wood": chance})
    'Statistically distinguishable over the choice of test images: 1 of 2 differences (95%).'
    """
    known = [one for one in told.values() if not one.reason]
    n_real = sum(one.is_distinguishable for one in known)
    said = []
    if known:
        said.append(
            f"Statistically distinguishable over the choice of test images: {n_real} of "
            f"{len(known)} differences (95%)."
        )
    reasons = dict.fromkeys(one.reason for one in told.values() if one.reason)
    if reasons:
        said.append(f"Not tested for {len(told) - len(known)} categories: {'; '.join(reasons)}.")
    return " ".join(said)


def metric_card(run: Run, cell: "pd.Series[Any]", text: Text) -> dict[str, str]:
    """Return what to say of a run's own metric, of the kind that a cell has, with its interval."""
    mine = run.metrics["is_default"] & (run.metrics["metric"] == measured_metric(cell))
    own = run.metrics[mine].to_dict("records")[0]
    said = with_interval(own["value"], own["ci_low"], own["ci_high"], text)
    if pd.isna(own["ci_low"]):
        return {"Metric": f"{said}; {own['reason'] or NOT_STORED}"}
    return {"Metric": f"{said}, 95% interval over test images"}


def seeds_table(spread: pd.DataFrame, text: Text) -> pd.DataFrame:
    """Return mean ± standard deviation of every setting with several seeds, as text.

    Args:
        spread: of one category; see `rd4ad.runs.comparison.seed_spread`.
        text: prints one metric.
    """
    spread = spread.dropna(subset="sd")
    settings = {
        "method": "Method", "backbone": "Backbone", "size_px": "Size, px", "layers": "Layers",
        "fusion": "Fusion", "smoothing": "Smoothing, px", "epochs": "Epochs",
        "variant": "Training configuration", "n": "Seeds",
    }  # fmt: skip
    said = [f"{text(m)} ± {text(sd)}" for m, sd in zip(spread["mean"], spread["sd"], strict=True)]
    table = spread.assign(said=said).pivot(index=list(settings), columns="metric", values="said")
    metrics = {name: title for name, title in METRIC_NAMES.items() if name in table}
    table = table.reset_index()[[*settings, *metrics]]
    return readable(table).rename(columns=settings | metrics)
