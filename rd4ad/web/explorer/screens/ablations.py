"""The grid of an ablation: a metric over two settings, its spread over seeds, and what differs.

A cell is what the runs of one value of each setting have in common: the mean of their metric. Two
cells are distinguished where Welch's test over their seeds says so; it knows nothing of how many
cells were looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from rd4ad.catalogue import DEFAULT_METHOD, METHODS, NO_BACKBONE
from rd4ad.config import TrainingConfig
from rd4ad.scoring import layers_name
from rd4ad.sweeps.grid import Cell
from rd4ad.web.explorer.downloads import latex_table
from rd4ad.web.explorer.tables import BEST, HEAT, MARK, Text, diverging, with_sign

ALIKE = "≈"
LEVEL = 0.05
MOST_FACETS = 6
_PRECISIONS = {"": "float32", "bfloat16": "bfloat16"}
"""By what `runs.index.variant` says of a training: those that a grid's cell can ask for again."""
TRAINED_WITH = ("backbone", "size_px", "epochs", "variant")
"""Settings that belong together: a training has one of each."""
TRAINED = ("method", "backbone", "size_px", "seed", "epochs")
"""Settings that take a training of their own."""


def with_fixed(rows: pd.DataFrame, fixed: Mapping[str, object]) -> pd.DataFrame:
    """Return the rows in which settings have one value each."""
    for name, value in fixed.items():
        rows = rows[rows[name] == value]
    return rows


def default_settings(
    rows: pd.DataFrame, others: Sequence[str], varied: Sequence[str]
) -> dict[str, object]:
    """Return what other settings are best held at: RD4AD's runs that fill the most cells.

    Of as many cells, it is the longest schedule, then what has the most runs.

    >>> runs = [(256, 200, ""), (128, 10, "bfloat16"), (128, 30, "bfloat16")]
    >>> rows = pd.DataFrame(runs, columns=["size_px", "epochs", "variant"]).assign(method="RD4AD")
    >>> found = default_settings(rows, ["size_px", "variant"], ["epochs"])
    >>> found["size_px"], found["variant"], found["layers"]
    (128, 'bfloat16', '1+2+3')
    >>> default_settings(rows, ["epochs", "variant"], ["size_px"])["epochs"]
    200

    Args:
        rows: as `rd4ad.web.explorer.tables.readable` returns them.
        others: columns that are not laid out.
        varied: columns that are.
    """
    entry = METHODS[DEFAULT_METHOD]
    released: dict[str, object] = {"method": entry.title, "fusion": "sum", "smoothing": 4.0}
    if "method" not in varied:  # other methods have other layers, or none
        released["layers"] = layers_name(entry.layers)
    own = rows[rows["method"] == released["method"]]
    together = [name for name in TRAINED_WITH if name in others]
    if own.empty or not together:
        return released

    def worth(group: tuple[Any, pd.DataFrame]) -> tuple[float, ...]:
        mine = group[1]
        return len(mine[list(varied)].drop_duplicates()), mine["epochs"].max(), len(mine)

    values, _ = max(own.groupby(together), key=worth)
    return released | dict(zip(together, values, strict=True))


def stored_trainings(rows: pd.DataFrame, most: int = 6) -> list[str]:
    """Return in words what the trainings among some rows were, the commonest first.

    >>> rows = pd.DataFrame({"method": ["PaDiM"], "backbone": ["resnet18"], "size_px": [256],
    ...                      "epochs": [0.0], "variant": [""]})
    >>> stored_trainings(rows)
    ['PaDiM, resnet18, 256 px']
    """
    kinds = rows[["method", *TRAINED_WITH]].value_counts().index[:most]
    return [
        ", ".join(
            [method, backbone, f"{size_px} px", *([f"{epochs:g} epochs"] if epochs else []),
             *([variant] if variant else [])]
        )
        for method, backbone, size_px, epochs, variant in kinds
    ]  # fmt: skip


def cells(rows: pd.DataFrame, metric: str, settings: Sequence[str]) -> pd.DataFrame:
    """Return one row a cell: the `settings`, `mean`, `sd` (over n - 1), `n`, `values`, `runs`.

    >>> rows = pd.DataFrame({"size_px": [128, 128, 256], "run_id": ["a", "b", "c"],
    ...                      "aupro": [0.75, 0.25, 0.5]})
    >>> cells(rows, "aupro", ["size_px"])[["size_px", "mean", "n", "runs"]].values.tolist()
    [[128, 0.5, 2, ('a', 'b')], [256, 0.5, 1, ('c',)]]

    Args:
        rows: of `rd4ad.runs.index.read_index`; those without the metric are left out.
        metric: which metric.
        settings: columns that are laid out.
    """
    groups = rows.dropna(subset=metric).groupby(list(settings), sort=True, dropna=False)
    return groups.agg(
        mean=(metric, "mean"), sd=(metric, "std"), n=(metric, "size"), values=(metric, tuple),
        runs=("run_id", tuple),
    ).reset_index()  # fmt: skip


def is_distinguishable(one: Sequence[float], other: Sequence[float]) -> bool | None:
    """Return whether two cells differ by more than their seeds do; None where one has one seed.

    >>> is_distinguishable([0.90, 0.91, 0.92], [0.95, 0.96, 0.97])
    True
    >>> is_distinguishable([0.9, 0.92], [0.91])
    """
    if min(len(one), len(other)) < 2:
        return None
    known = [(np.mean(values), np.std(values, ddof=1), len(values)) for values in (one, other)]
    if not any(sd for _, sd, _ in known):  # the test has no answer where nothing varies
        return bool(known[0][0] != known[1][0])
    from scipy.stats import ttest_ind_from_stats  # half a second that the server's start has not

    return bool(ttest_ind_from_stats(*known[0], *known[1], equal_var=False).pvalue < LEVEL)


def marks(found: pd.DataFrame) -> pd.Series:
    """Return the mark of every cell: the best, those not distinguishable from it, or nothing."""
    if found.empty:
        return pd.Series(dtype=str)
    every = found["values"].tolist()
    best = every[int(found["mean"].argmax())]
    said = [ALIKE if is_distinguishable(best, one) is False else "" for one in every]
    return pd.Series(said, found.index).mask(found["mean"] == found["mean"].max(), MARK)


def facets(found: pd.DataFrame, by: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the cells of every value of a setting under its name; all of them where it is empty."""
    if not by:
        yield "", found
        return
    for value, mine in found.groupby(by, sort=True):
        yield format_value(value), mine


def as_table(found: pd.DataFrame, column: str, down: str, across: str) -> pd.DataFrame:
    """Return a column of `cells` as a table of two settings, named in words; nan where missing."""
    table = found.pivot(index=down, columns=across, values=column)
    return table.set_axis(table.index.map(format_value)).set_axis(
        table.columns.map(format_value), axis=1
    )


def styled(found: pd.DataFrame, down: str, across: str, text: Text) -> Styler:
    """Return the cells of a facet as a table: mean ± standard deviation, marked and tinted."""
    printed = [
        " ".join(filter(None, (mark, text(mean), "" if pd.isna(sd) else f"± {text(sd)}")))
        for mark, mean, sd in zip(marks(found), found["mean"], found["sd"], strict=True)
    ]
    shown = as_table(found.assign(printed=printed), "printed", down, across)
    means = as_table(found, "mean", down, across)
    low, high = float(found["mean"].min()), float(found["mean"].max())
    share = (means - low) / ((high - low) or 1)
    look = share.map(lambda s: "" if pd.isna(s) else HEAT.format(0.03 + 0.3 * s))
    look = look + means.eq(high).map(lambda is_best: f";{BEST}" if is_best else "")
    return shown.style.format(na_rep="–").apply(lambda _: look, axis=None)


def telling_rows(values: Sequence[str]) -> list[str]:
    """Return the values of a setting that are worth comparing first: the released one, the deepest.

    >>> telling_rows(["1", "1+2+3", "3"]), telling_rows(["128", "256"])
    (['1+2+3', '3'], ['128', '256'])
    """
    usual = [value for value in ("1+2+3", "3") if value in values]
    return usual if len(usual) == 2 else list(values[:2])


def cell_at(
    found: pd.DataFrame, row: str, column: str, down: str, across: str
) -> dict[str, Any] | None:
    """Return a cell by the names of its row and column in `as_table`; None where there is none."""
    is_it = (found[down].map(format_value) == row) & (found[across].map(format_value) == column)
    rows = found[is_it].to_dict("records")
    return {str(name): value for name, value in rows[0].items()} if rows else None


def scoring_of(given: Mapping[str, Any]) -> tuple[tuple[int, ...], str, float]:
    """Return layers, fusion and smoothing of a cell; the released ones where they are not fixed.

    >>> scoring_of({"layers": "1+3", "smoothing": 2.0})
    ((1, 3), 'sum', 2.0)

    A method with a single fused map has no layers to choose from: the tuple is empty.
    """
    layers = str(given.get("layers", "1+2+3"))
    numbers = tuple(int(part) for part in layers.split("+") if part.isdigit())
    return numbers, str(given.get("fusion", "sum")), float(given.get("smoothing", 4.0))


def against(found: pd.DataFrame, reference: Mapping[str, Any]) -> pd.DataFrame:
    """Return cells with `difference` from a reference cell and whether it `is_distinguishable`.

    >>> rows = pd.DataFrame({"size_px": [128, 128, 256, 256], "run_id": list("abcd"),
    ...                      "aupro": [0.7, 0.72, 0.9, 0.92]})
    >>> found = cells(rows, "aupro", ["size_px"])
    >>> told = against(found, found.iloc[0])
    >>> told["difference"].round(3).tolist(), told["is_distinguishable"].tolist()
    ([0.0, 0.2], [None, True])
    """
    told = [
        None if runs == reference["runs"] else is_distinguishable(values, reference["values"])
        for values, runs in zip(found["values"], found["runs"], strict=True)
    ]
    return found.assign(
        difference=found["mean"] - reference["mean"],
        is_distinguishable=pd.Series(told, found.index, dtype=object),
    )


def styled_against(told: pd.DataFrame, down: str, across: str, text: Text) -> Styler:
    """Return `against` as a table: signed differences, tinted by sign, marked where it is chance.

    Args:
        told: the cells of a facet.
        down: column that the rows vary.
        across: column that the columns vary.
        text: prints one metric.
    """
    signed, names = with_sign(text), {True: "", False: f"{ALIKE} ", None: ""}
    printed = [
        names[known] + signed(difference)
        for known, difference in zip(told["is_distinguishable"], told["difference"], strict=True)
    ]
    shown = as_table(told.assign(printed=printed), "printed", down, across)
    apart = as_table(told, "difference", down, across)
    largest = float(told["difference"].abs().max())
    look = apart.map(lambda one: diverging(one, largest))
    return shown.style.format(na_rep="–").apply(lambda _: look, axis=None)


def latex(found: pd.DataFrame, down: str, across: str, text: Text, title: str) -> str:
    r"""Return the cells of a facet as a LaTeX table with booktabs' rules, the best one bold.

    >>> found = pd.DataFrame({"layers": ["1", "3"], "size_px": [256, 256], "mean": [0.8, 0.9],
    ...                       "sd": [float("nan"), 0.01]})
    >>> print(latex(found, "layers", "size_px", "{:.2f}".format, "Layers"))
    \begin{tabular}{lr}
    \toprule
    Layers & 256 \\
    \midrule
    1 & 0.80 \\
    3 & \textbf{0.90} $\pm$ 0.01 \\
    \bottomrule
    \end{tabular}
    """
    best = found["mean"].max()
    printed = [
        (rf"\textbf{{{text(mean)}}}" if mean == best else text(mean))
        + ("" if pd.isna(sd) else rf" $\pm$ {text(sd)}")
        for mean, sd in zip(found["mean"], found["sd"], strict=True)
    ]
    shown = as_table(found.assign(printed=printed), "printed", down, across).fillna("--")
    return latex_table(title, shown)


def runs_behind(found: pd.DataFrame, row: str, column: str, down: str, across: str) -> list[str]:
    """Return the ids of the runs of a cell, by the names of its row and column in `as_table`."""
    is_it = (found[down].map(format_value) == row) & (found[across].map(format_value) == column)
    return [run for runs in found.loc[is_it, "runs"] for run in runs]


def missing_cells(rows: pd.DataFrame, settings: Sequence[str]) -> list[Cell]:
    """Return the trainings that would fill the cells without a run; none where all are there.

    Layers, fusion and smoothing need no training of their own: every run has them all. Every cell
    gets the seeds that any has, and of all that is not laid out what most runs of its method have.

    >>> rows = pd.DataFrame([("nut", "padim", "resnet18", size, seed, 0.0, "")
    ...                      for size, seed in ((128, 0), (128, 1), (256, 0))],
    ...                     columns=["category", *TRAINED, "variant"])
    >>> missing = missing_cells(rows, ["layers", "size_px"])
    >>> [(cell.config.size_px, cell.config.seed) for cell in missing]
    [(256, 1)]

    Args:
        rows: of `rd4ad.runs.index.read_index`, of one category.
        settings: columns that are laid out.
    """
    runs = rows.loc[rows["variant"].isin(_PRECISIONS), ["category", *TRAINED, "variant"]]
    runs = runs.drop_duplicates()
    asked = [name for name in TRAINED if name in settings]
    if runs.empty or not asked:
        return []
    keys = list(dict.fromkeys([*asked, "seed"]))
    there = set(runs[keys].itertuples(index=False, name=None))
    wanted = product(*(sorted(runs[name].unique()) for name in keys))
    missing = [dict(zip(keys, values, strict=True)) for values in wanted if values not in there]
    return [cell for one in missing if (cell := _cell(_usual(runs, one) | one)) is not None]


def _usual(runs: pd.DataFrame, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the commonest values among the runs of the same method."""
    alike = runs[runs["method"] == said.get("method", runs["method"].mode().iloc[0])]
    return {name: alike[name].mode().iloc[0] for name in alike}


def _cell(said: Mapping[str, Any]) -> Cell | None:
    method, epochs = said["method"], said["epochs"]
    if method not in METHODS:
        return None  # maps of another program
    own: dict[str, Any] = {name: int(said[name]) for name in ("size_px", "seed")}
    own |= {} if METHODS[method].backbones == (NO_BACKBONE,) else {"backbone": said["backbone"]}
    own |= {"epochs": int(epochs)} if METHODS[method].epochs and epochs else {}
    own |= {"precision": _PRECISIONS[said["variant"]]}
    return Cell(said["category"], TrainingConfig(method=method, holdout=0.0, **own))


def in_words(found: pd.DataFrame, down: str, across: str, text: Text) -> str:
    """Return the cells as a list in words, best first, for those who cannot see them."""
    best_first = found.sort_values("mean", ascending=False).head(12)
    return "; ".join(
        f"{format_value(row[down])} and {format_value(row[across])}: {text(row['mean'])}"
        for row in best_first.to_dict("records")
    )


def format_value(value: object) -> str:
    """Return a setting's value as the pages print it.

    >>> format_value(4.0), format_value(256), format_value("")
    ('4', '256', 'default')
    """
    return f"{value:g}" if isinstance(value, float) else str(value) or "default"
