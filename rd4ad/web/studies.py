"""The paper's studies beside ours: the limitation case, and the grid of an ablation."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from rd4ad.scoring import layers_name
from rd4ad.store import Run
from rd4ad.web.leaderboard import unqualified
from rd4ad.web.look import BACKBONES
from rd4ad.web.tables import BEST, FIGURES, HEAT, MARK, Text, readable, with_sign
from rd4ad.web.units import Units

AXES = {
    "layers": "Layers",
    "size_px": "Image size, px",
    "fusion": "Fusion",
    "smoothing": "Smoothing, px",
    "backbone": "Backbone",
    "seed": "Seed",
    "category": "Category",
    "method": "Method",
    "epochs": "Epochs",
}
"""What a grid of runs may be laid out by."""
RELEASED_SIGMA_PX = 4.0


def limitations(studies: pd.DataFrame, index: pd.DataFrame | None) -> pd.DataFrame:
    """Return the paper's four figures of transistor beside ours at the same layers and size.

    Args:
        studies: results/published/rd4ad_studies.csv.
        index: of the measured runs, if there are any.

    Returns:
        `layers`, `size_px`, `paper`, then one column a backbone measured, fractions.
    """
    told = studies[(studies["study"] == "limitations") & (studies["metric"] == "pixel_auroc")]
    table = told[["layers", "size_px", "value"]].rename(columns={"value": "paper"})
    table = table.astype({"size_px": int})
    if index is None:
        return table.reset_index(drop=True)
    ours = index[
        (index["dataset"] == "MVTec AD")
        & (index["category"] == "transistor")
        & (index["method"] == "reverse_distillation")
        & (index["metric"] == "pixel_auroc")
        & (index["fusion"] == "sum")
        & (index["smoothing"] == RELEASED_SIGMA_PX)
    ]
    for backbone, rows in ours.groupby("backbone"):
        means = rows.groupby(["layers", "size_px"])["value"].mean().rename(backbone)
        table = table.merge(means, how="left", on=["layers", "size_px"])
    return table


def styled(table: pd.DataFrame, text: Text) -> Styler:
    """Return `limitations` with readable headers."""
    names = {"layers": "Layers", "size_px": "Image size, px", "paper": "○ Paper, WR50"}
    ours = [column for column in table.columns if column not in names]
    names |= {column: f"● Ours, {BACKBONES.get(column, column)}" for column in ours}
    figures = [names[column] for column in ("paper", *ours)]
    return table.rename(columns=names).style.format(dict.fromkeys(figures, text))


def usual_figures(run: Run) -> dict[str, float]:
    """Return a run's figures at its own scoring, fraction by metric."""
    own = run.metrics[run.metrics["is_default"]]
    return dict(zip(own["metric"], own["value"].astype(float), strict=True))


def stored_figures(
    run: Run, layers: tuple[int, ...], fusion: str, sigma_px: float
) -> dict[str, float]:
    """Return a run's stored figures under a scoring of its grid; empty where it is not in it."""
    table = run.metrics
    same_fusion = (table["fusion"] == fusion) | (len(layers) == 1)  # of one layer, both are alike
    rows = table[
        (table["layers"] == layers_name(layers)) & same_fusion & (table["smoothing"] == sigma_px)
    ]
    return dict(zip(rows["metric"], rows["value"].astype(float), strict=True))


def completed(values: Mapping[str, float], stored: Mapping[str, float]) -> dict[str, float]:
    """Return figures with the stored ones where they are undefined.

    >>> completed({"a": float("nan"), "b": 0.5}, {"a": 0.9, "b": 0.4})
    {'a': 0.9, 'b': 0.5}
    """
    return {k: stored.get(k, v) if math.isnan(v) else v for k, v in values.items()}


def grid(
    index: pd.DataFrame, metric: str, down: str, across: str, fixed: dict[str, object]
) -> pd.DataFrame:
    """Return the mean of a figure over what is left open, by two settings; missing cells are nan.

    Args:
        index: of measured runs.
        metric: which figure.
        down: setting of the rows, a key of `AXES`.
        across: setting of the columns, a key of `AXES`.
        fixed: values of further settings.
    """
    rows = index[index["metric"] == metric]
    for name, value in fixed.items():
        rows = rows[rows[name] == value]
    return rows.pivot_table(index=down, columns=across, values="value", aggfunc="mean")


def of_category(index: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the rows of the index of a category by its qualified name, settings readable."""
    dataset, category = unqualified(name)
    return readable(index[(index["dataset"] == dataset) & (index["category"] == category)])


def styled_grid(table: pd.DataFrame, text: Text) -> Styler:
    """Return a grid coloured by figure, the best cell bold and starred."""
    table = table.rename(columns=str)
    best = table.round(3).eq(round(float(np.nanmax(table)), 3))
    low, high = float(np.nanmin(table)), float(np.nanmax(table))
    share = (table - low) / ((high - low) or 1)
    look = share.map(lambda s: "" if pd.isna(s) else HEAT.format(0.03 + 0.3 * s))
    look = look + best.map(lambda is_best: f";{BEST}" if is_best else "")
    style = table.style.format(text, na_rep="–").apply(lambda _: look, axis=None)
    for name in table.index:
        starred = best.columns[best.loc[name]]
        if len(starred):
            style = style.format(lambda x: f"{MARK} {text(x)}", subset=([name], starred))
    return style


def settings(rows: pd.DataFrame) -> list[str]:
    """Return the distinct settings of runs' figures in words, largest images first.

    `named` finds one again.
    """
    return list(
        dict.fromkeys(_in_words(rows.sort_values("size_px", ascending=False, kind="stable")))
    )


def usual_pair(settings: Sequence[str]) -> tuple[str, str]:
    """Return the released scoring and the deepest layer by itself, if they are among `settings`."""

    def first_with(words: str) -> str:
        return next((setting for setting in settings if words in setting), settings[0])

    return first_with("layers 1+2+3, sum, 4 px"), first_with("layers 3, sum, 4 px")


def named(rows: pd.DataFrame, setting: str) -> pd.DataFrame:
    """Return the rows of one of `settings`."""
    return rows[_in_words(rows) == setting]


def _in_words(rows: pd.DataFrame) -> pd.Series:
    epochs = rows["epochs"].map(lambda n: "" if pd.isna(n) else f", {n:g} epochs")
    return (
        rows["method"] + " " + rows["backbone"] + " " + rows["size_px"].astype(str) + " px, layers "
        + rows["layers"] + ", " + rows["fusion"] + ", " + rows["smoothing"].map("{:g} px".format)
        + epochs
    )  # fmt: skip


def side_by_side(rows: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Return every figure of two of `settings`, means over seeds, and their difference.

    Returns:
        `first`, `second` and `difference` by metric, fractions.
    """
    one, other = (
        named(rows, setting).groupby("metric", sort=False)["value"].mean()
        for setting in (first, second)
    )
    return pd.DataFrame({"first": one, "second": other, "difference": one - other})


def styled_pair(table: pd.DataFrame, units: Units) -> Styler:
    """Return `side_by_side` with readable figures and signed differences."""
    shown = table.rename(index=FIGURES)
    signed = with_sign(units.text)
    return shown.style.format({"first": units.text, "second": units.text, "difference": signed})
