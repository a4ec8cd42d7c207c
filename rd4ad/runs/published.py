"""Metrics from papers: results/published/, each row with its source (docs/RESULTS.md).

Metrics by category of MVTec AD are read from mvtec.csv (the paper's Tables 1 and 2) and
mvtec_later.csv (other methods, and other people's runs of this one). Averages that a source states
have the category avg_texture, avg_object or avg_total and stand beside the rows that they claim to
average; `averages` computes our own.
"""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

KEYS = ("method", "backbone", "size_px", "setting", "by", "metric")
"""What identifies a column of a table; `by` is who measured or printed it."""
COLUMNS = (*KEYS, "category", "group", "definition", "value", "kind", "source", "note")
TEXTURES = ("carpet", "grid", "leather", "tile", "wood")
OBJECTS = (
    "bottle", "cable", "capsule", "hazelnut", "metal_nut", "pill", "screw", "toothbrush",
    "transistor", "zipper",
)  # fmt: skip
GROUPS = {"avg_texture": TEXTURES, "avg_object": OBJECTS, "avg_total": TEXTURES + OBJECTS}
"""The categories that each average is over."""


def read_published(results: Path) -> pd.DataFrame:
    """Return the published metrics of MVTec AD, fractions in [0, 1], one a row.

    >>> table = read_published(Path("results"))
    >>> sorted(table["kind"].unique())
    ['reported', 'third-party']

    Raises:
        FileNotFoundError: a table is not there.
        ValueError: it lacks a column.
    """
    folder = results / "published"
    tables = [_read_table(folder / name) for name in ("mvtec.csv", "mvtec_later.csv")]
    return pd.concat(tables, ignore_index=True)


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"no published metrics at {path}: the checkout is not whole")
    table = pd.read_csv(path, keep_default_na=False, na_values={"size_px": [""]})
    lacking = [column for column in COLUMNS if column not in table]
    if lacking:
        raise ValueError(f"{path} lacks the columns {', '.join(lacking)}")
    return table[list(COLUMNS)].astype({"size_px": "Int64", "value": float})


def average(rows: pd.DataFrame, categories: Collection[str]) -> float:
    """Return the mean of one metric over categories.

    >>> average(pd.DataFrame({"category": ["tile", "wood"], "value": [0.9, 1.0],
    ...                       "kind": ["reported", "reported"]}), {"tile", "wood"})
    0.95

    Args:
        rows: `category`, `value` and `kind`, one row a category.
        categories: those that the average is over.

    Raises:
        ValueError: a category is missing, foreign or there twice, or kinds of metrics are mixed.
    """
    known = rows[rows["value"].notna()]
    if sorted(known["category"]) != sorted(categories):
        n = len(set(known["category"]) & set(categories))
        raise ValueError(f"an average needs every category once; known: {n} of {len(categories)}")
    kinds = sorted(set(rows["kind"]))
    if len(kinds) != 1:
        raise ValueError(f"metrics of different kinds are never averaged: {', '.join(kinds)}")
    return float(rows["value"].mean())


def averages(table: pd.DataFrame) -> pd.DataFrame:
    """Return our averages beside the stated ones, for every column of the published tables.

    >>> table = averages(read_published(Path("results")))
    >>> spade = table[(table["method"] == "SPADE") & ~table["agrees"]].iloc[0]
    >>> spade["category"], f"{spade['computed']:.4f} {spade['stated']:.4f}"
    ('avg_total', '0.9603 0.9650')

    Columns: `KEYS`, category (avg_...), computed (NaN with a reason where it is refused), stated
    (NaN where none is), reason, agrees: whether both are the same, give or take the rounding of
    the average and of the cells to a tenth of a percent; true where one is unknown.
    """
    found = []
    columns = table.groupby(list(KEYS), sort=False, dropna=False)[["category", "value", "kind"]]
    for key, rows in columns:
        values = rows.set_index("category")["value"]
        for name, categories in GROUPS.items():
            members = rows[rows["category"].isin(categories)]
            try:
                computed, reason = average(members, categories), ""
            except ValueError as error:
                computed, reason = float("nan"), str(error)
            stated = float(values.get(name, float("nan")))
            agrees = not abs(stated - computed) > 0.001 + 1e-9  # false of NaN, so NaN agrees
            found.append((*key, name, computed, stated, reason, agrees))
    names = [*KEYS, "category", "computed", "stated", "reason", "agrees"]
    return pd.DataFrame(found, columns=names).astype({"size_px": "Int64"})
