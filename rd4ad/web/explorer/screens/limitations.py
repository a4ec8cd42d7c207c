"""The paper's studies and ours: the limitation case, and the grid of an ablation."""

import math
from collections.abc import Collection, Mapping, Sequence

import pandas as pd
from pandas.io.formats.style import Styler

from rd4ad.catalogue import DEFAULT_METHOD
from rd4ad.runs.dataset_images import GENERATED
from rd4ad.runs.run import Run
from rd4ad.scoring import layers_name
from rd4ad.web.explorer.screens.ablations import is_distinguishable
from rd4ad.web.explorer.screens.metric_cells import MVTEC, qualified
from rd4ad.web.explorer.style import BACKBONES
from rd4ad.web.explorer.tables import METRIC_NAMES, Text, with_sign
from rd4ad.web.explorer.units import Units

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
    "variant": "Training configuration",
}
"""Settings that a grid of runs may vary."""
RELEASED_SIGMA_PX = 4.0


def compared_with_paper(studies: pd.DataFrame, measured: pd.DataFrame | None) -> pd.DataFrame:
    """Return the paper's four metrics of transistor beside ours at the same layers and size.

    Args:
        studies: results/published/rd4ad_studies.csv.
        measured: rows of `rd4ad.runs.index.read_index` of MVTec AD's transistor, if there are any.

    Returns:
        `layers`, `size_px`, `paper`, then one column a backbone measured, fractions.
    """
    told = studies[(studies["study"] == "limitations") & (studies["metric"] == "pixel_auroc")]
    table = told[["layers", "size_px", "value"]].rename(columns={"value": "paper"})
    table = table.astype({"size_px": int})
    if measured is None:
        return table.reset_index(drop=True)
    ours = measured[
        (measured["method"] == DEFAULT_METHOD)
        & (measured["variant"] == "")
        & (measured["fusion"] == "sum")
        & (measured["smoothing"] == RELEASED_SIGMA_PX)
    ]
    longest = ours.groupby(["backbone", "size_px"])["epochs"].transform("max")
    for backbone, rows in ours[ours["epochs"] == longest].groupby("backbone"):
        means = rows.groupby(["layers", "size_px"])["pixel_auroc"].mean().rename(backbone)
        table = table.merge(means, how="left", on=["layers", "size_px"])
    return table


def first_category(runs: pd.DataFrame, on_disk: Collection[str]) -> str:
    """Return the category that shows the failure best: with its photos, or the generated one.

    >>> runs = pd.DataFrame({"dataset": [GENERATED], "category": ["transistor"]})
    >>> first_category(runs, []), first_category(runs, ["transistor"])
    ('Generated parts / transistor', 'MVTec AD / transistor')

    Args:
        runs: rows with `dataset` and `category`.
        on_disk: categories of MVTec AD whose images are on this machine.
    """
    is_drawn = (runs["dataset"] == GENERATED) & (runs["category"] == "transistor")
    use_drawn = is_drawn.any() and "transistor" not in on_disk
    return qualified(GENERATED if use_drawn else MVTEC, "transistor")


def styled(table: pd.DataFrame, text: Text) -> Styler:
    """Return `limitations` with readable headers."""
    names = {"layers": "Layers", "size_px": "Image size, px", "paper": "○ Paper, WR50"}
    ours = [column for column in table.columns if column not in names]
    names |= {column: f"● Ours, {BACKBONES.get(column, column)}" for column in ours}
    metrics = [names[column] for column in ("paper", *ours)]
    return table.rename(columns=names).style.format(dict.fromkeys(metrics, text))


def default_metrics(run: Run) -> dict[str, float]:
    """Return a run's metrics at its own scoring, fraction by metric."""
    own = run.metrics[run.metrics["is_default"]]
    return dict(zip(own["metric"], own["value"].astype(float), strict=True))


def stored_metrics(
    run: Run, layers: tuple[int, ...], fusion: str, sigma_px: float
) -> dict[str, float]:
    """Return a run's stored metrics under a scoring of its grid; empty where it is not in it."""
    table = run.metrics
    same_fusion = (table["fusion"] == fusion) | (len(layers) == 1)  # of one layer, both are alike
    rows = table[
        (table["layers"] == layers_name(layers)) & same_fusion & (table["smoothing"] == sigma_px)
    ]
    return dict(zip(rows["metric"], rows["value"].astype(float), strict=True))


def fill_undefined(values: Mapping[str, float], stored: Mapping[str, float]) -> dict[str, float]:
    """Return metrics with the stored ones where they are undefined.

    >>> fill_undefined({"a": float("nan"), "b": 0.5}, {"a": 0.9, "b": 0.4})
    {'a': 0.9, 'b': 0.5}
    """
    return {k: stored.get(k, v) if math.isnan(v) else v for k, v in values.items()}


def settings(rows: pd.DataFrame) -> list[str]:
    """Return the distinct settings of runs' metrics in words, largest images and schedules first.

    `named` finds one again.
    """
    return list(
        dict.fromkeys(
            _in_words(rows.sort_values(["size_px", "epochs"], ascending=False, kind="stable"))
        )
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
        + epochs + rows["variant"].map(lambda text: text and f", {text}")
    )  # fmt: skip


def side_by_side(rows: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Return every metric of two of `settings`, means over seeds, and their difference.

    Returns:
        `first`, `second` and `difference` by metric, fractions; `distinguishable`: whether the
        difference is more than their seeds explain, in a word.
    """
    one, other = (named(rows, setting)[list(METRIC_NAMES)] for setting in (first, second))
    apart = [
        is_distinguishable(one[name].dropna().tolist(), other[name].dropna().tolist())
        for name in METRIC_NAMES
    ]
    words = [{True: "yes", False: "no", None: "–"}[answer] for answer in apart]
    pair = pd.DataFrame({"first": one.mean(), "second": other.mean()})
    return pair.assign(difference=pair["first"] - pair["second"], distinguishable=words)


def styled_pair(table: pd.DataFrame, units: Units) -> Styler:
    """Return `side_by_side` with readable metrics and signed differences."""
    shown = table.rename(index=METRIC_NAMES)
    signed = with_sign(units.text)
    return shown.style.format({"first": units.text, "second": units.text, "difference": signed})
