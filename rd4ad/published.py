"""Figures from papers: results/published/mvtec.csv, one figure a row, each with its source.

Columns: method, size_px, category, group (texture, object), metric, definition, value in [0, 1],
kind (reported: by the paper itself; third-party: by somebody else's run), source, note. Averages
that a paper states have the category avg_texture, avg_object or avg_total and are kept beside the
rows that they claim to average; `averages` computes our own.
"""

from pathlib import Path

import pandas as pd

COLUMNS = (
    "method", "size_px", "category", "group", "metric", "definition", "value", "kind", "source",
    "note",
)  # fmt: skip
GROUPS = {"avg_texture": "texture", "avg_object": "object", "avg_total": None}
"""Name of each average and the group of categories that it is over; None for all."""


def read_published(results: Path) -> pd.DataFrame:
    """Return the published figures of MVTec AD.

    Raises:
        FileNotFoundError: the table is not there.
        ValueError: it lacks a column.
    """
    path = results / "published" / "mvtec.csv"
    if not path.is_file():
        raise FileNotFoundError(f"no published figures at {path}: the checkout is not whole")
    table = pd.read_csv(path, keep_default_na=False, dtype={"value": float, "size_px": int})
    lacking = [column for column in COLUMNS if column not in table]
    if lacking:
        raise ValueError(f"{path} lacks the columns {', '.join(lacking)}")
    return table


def average(rows: pd.DataFrame, n_expected: int) -> float:
    """Return the mean of one figure over categories.

    Args:
        rows: `value` and `kind`, one row a category.
        n_expected: number of categories that belong to the average.

    Raises:
        ValueError: a category is missing or there twice, or kinds of figures are mixed.
    """
    if len(rows) != n_expected or rows["value"].isna().any():
        raise ValueError(f"an average over {n_expected} categories needs them all; got {len(rows)}")
    kinds = sorted(set(rows["kind"]))
    if len(kinds) != 1:
        raise ValueError(f"figures of different kinds are never averaged: {', '.join(kinds)}")
    return float(rows["value"].mean())


def averages(table: pd.DataFrame) -> pd.DataFrame:
    """Return our averages beside the stated ones, for every method, size and metric.

    Columns: method, size_px, metric, category (avg_...), computed, stated, agrees: whether they are
    equal when both are rounded to a tenth of a percent, give or take one unit of rounding in the
    cells.
    """
    cells = table[~table["category"].isin(GROUPS)]
    found = []
    for (method, size_px, metric), rows in cells.groupby(["method", "size_px", "metric"]):
        for name, group in GROUPS.items():
            members = rows if group is None else rows[rows["group"] == group]
            computed = average(members, {"texture": 5, "object": 10}.get(group or "", 15))
            stated = table[
                (table["method"] == method)
                & (table["size_px"] == size_px)
                & (table["metric"] == metric)
                & (table["category"] == name)
            ]["value"]
            value = float(stated.iloc[0]) if len(stated) else float("nan")
            agrees = value != value or abs(value - computed) <= 0.001
            found.append((method, size_px, metric, name, computed, value, agrees))
    columns = ["method", "size_px", "metric", "category", "computed", "stated", "agrees"]
    return pd.DataFrame(found, columns=columns)
