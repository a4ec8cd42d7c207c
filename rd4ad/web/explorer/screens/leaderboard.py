"""The leaderboard: cells as one wide table, the best of a row, and two columns compared."""

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from rd4ad.catalogue import DEFAULT_METHOD, title_of
from rd4ad.web.explorer.screens.metric_cells import (
    AVERAGES,
    SOURCES,
    labels,
    main_settings,
    qualified,
    row_name,
    source_of,
)

MOST_COLUMNS = 60  # more are neither read nor drawn in time


def coverage(table: pd.DataFrame) -> dict[str, int]:
    """Return how many categories each column of a `wide` table has, averages left out."""
    counts = table[~table.index.isin(list(AVERAGES))].notna().sum()
    return {str(name): int(n) for name, n in counts.items()}


def wide(cells: pd.DataFrame) -> pd.DataFrame:
    """Return fractions, categories down (averages last) and columns by `labels` across.

    RD4AD's columns come first, those of the largest images before others, reported before
    reproduced. The other methods' follow, from the highest average to the lowest; a column that
    lacks categories comes after those that have all.

    Args:
        cells: of one metric; see `choose`.
    """
    named = cells.assign(column=labels(cells))
    rows = [name for name in dict.fromkeys(named["category"]) if name not in AVERAGES]
    rows += [name for name in AVERAGES if (named["category"] == name).any()]
    table = named.pivot_table(
        index="category", columns="column", values="value", aggfunc="first", sort=False
    ).loc[rows]
    about = named.drop_duplicates("column").set_index("column").loc[table.columns]
    inside = table[~table.index.isin(list(AVERAGES))]
    rank = pd.DataFrame(
        {
            "is_other": about["method"] != title_of(DEFAULT_METHOD),
            "size_px": -about["size_px"].astype(float).fillna(0),
            "is_reproduced": about["kind"].eq("reproduced"),
            "missing": inside.isna().sum(),
            "average": -inside.mean(),
        }
    )
    rank.loc[rank["is_other"], ["size_px", "is_reproduced"]] = (0, False)  # mixed, best first
    return table[rank.sort_values([*map(str, rank)], kind="stable").index]


def narrowed(table: pd.DataFrame, most: int = MOST_COLUMNS) -> pd.DataFrame:
    """Return a table of `most` columns at most: beyond, those of the highest mean, in their order.

    >>> narrowed(pd.DataFrame({"a": [0.9], "b": [0.7], "c": [0.8]}), most=2).columns.tolist()
    ['a', 'c']
    """
    if len(table.columns) <= most:
        return table
    best_first = table.mean().sort_values(ascending=False, kind="stable").index[:most]
    return table[[column for column in table.columns if column in set(best_first)]]


def best(table: pd.DataFrame, definitions: Mapping[str, str], digits: int = 3) -> pd.DataFrame:
    """Return which cells are the best of their row at the printed precision, ties too.

    Columns of one definition compete; columns of another, such as two definitions of PRO, do not.

    >>> table = pd.DataFrame({"a": [0.9], "b": [0.9004], "c": [0.8]})
    >>> best(table, dict.fromkeys("abc", "")).values.tolist()
    [[True, True, False]]

    Args:
        table: see `wide`.
        definitions: of every column; see `definitions_of`.
        digits: decimals that are printed.
    """
    rounded = table.round(digits)
    found = pd.DataFrame(False, table.index, table.columns)
    for definition in dict.fromkeys(definitions.values()):
        rivals = [column for column in table.columns if definitions[column] == definition]
        if len(rivals) > 1:
            found[rivals] = rounded[rivals].eq(rounded[rivals].max(axis=1), axis=0)
    return found


def definitions_of(cells: pd.DataFrame) -> dict[str, str]:
    """Return the definition of every column by its label; one that is not stated is empty."""
    stated = cells["definition"].mask(cells["definition"].str.startswith("not stated"), "")
    return dict(zip(labels(cells), stated, strict=True))


def delta(table: pd.DataFrame, first: str, second: str, digits: int = 3) -> pd.DataFrame:
    """Return two columns, their difference and who wins at the printed precision.

    >>> delta(pd.DataFrame({"a": [0.91, 0.8], "b": [0.9, 0.8]}), "a", "b")["outcome"].tolist()
    ['win', 'tie']
    """
    pair = pd.DataFrame({"first": table[first], "second": table[second]}).dropna().round(digits)
    difference = (pair["first"] - pair["second"]).round(digits)
    outcome = difference.map(lambda d: "win" if d > 0 else "loss" if d < 0 else "tie")
    return pair.assign(difference=difference, outcome=outcome)


def outcome(compared: pd.DataFrame, first: str, second: str) -> str:
    """Return a sentence on a `delta` of two columns, averages left out."""
    rows = compared[~compared.index.isin(AVERAGES)]
    counts = {name: int((rows["outcome"] == name).sum()) for name in ("win", "tie", "loss")}
    said = ", ".join(f"{n} {name}" for name, n in counts.items())
    return (
        f"**{first}** compared with **{second}**: {said} over {len(rows)} categories that both "
        "have."
    )


def asks_for_every_setting(cells: pd.DataFrame, query: Mapping[str, str]) -> bool:
    """Return whether an address names a column that `main_settings` leaves out.

    Args:
        cells: of one metric.
        query: of the address; it names columns under `at`, `first` and `second`.
    """
    asked = {query.get("at", "").partition("|")[2], query.get("first"), query.get("second")}
    asked &= set(labels(cells))
    return not asked <= set(labels(main_settings(cells)))


def sources_left_out(
    cells: pd.DataFrame, settings: Collection[str], sources: Collection[str]
) -> list[str]:
    """Return the sources that have a chosen setting too and are not among the chosen sources.

    Args:
        cells: of one metric.
        settings: as the column `setting` has them.
        sources: names out of `metric_cells.SOURCES`.
    """
    there = set(source_of(cells[cells["setting"].isin(list(settings))]))
    return [name for name in SOURCES if name in there and name not in sources]


def links(cell: "pd.Series[Any]", dataset: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Return where a cell leads: by what it says, the file of the page and its query."""
    found: dict[str, tuple[str, dict[str, str]]] = {}
    if cell["category"] not in AVERAGES:
        name = row_name(cell["category"]).lower()
        where = {"category": qualified(dataset, cell["category"])}
        found[f"Everything about {name}"] = ("pages/category.py", where)
    for run in cell["runs"][:1]:
        found["Images and threshold of this run"] = ("pages/threshold.py", {"run": run})
    return found


def cell_at(cells: pd.DataFrame, category: str, label: str) -> "pd.Series[Any] | None":
    """Return the cell of a category and a column label; None where there is none."""
    found = cells[(cells["category"] == category) & (labels(cells) == label)]
    return None if found.empty else found.iloc[0]


def disagreements(cells: pd.DataFrame) -> list[str]:
    """Return a sentence for every average that a source states and its rows do not give."""
    told = cells[cells["stated"].notna()]
    return [
        f"{label}: the source states {100 * row['stated']:.1f} as its {row_name(row['category'])} "
        f"average; its own rows give {100 * row['value']:.2f}, which is what is shown."
        for label, row in zip(labels(told), told.to_dict("records"), strict=True)
    ]
