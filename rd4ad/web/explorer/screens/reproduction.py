"""Reported against reproduced: each measured metric beside what papers print of that method."""

import pandas as pd

from rd4ad.catalogue import DEFAULT_METHOD, title_of
from rd4ad.web.explorer.screens.metric_cells import AVERAGES, PAPER
from rd4ad.web.explorer.style import BACKBONES

COLUMNS = ("method", "setting", "definition", "reproduced", "ours", "reported", "theirs", "by",
           "theirs_definition", "difference")  # fmt: skip


def reported_beside(cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row for every pair of a measured and a reported metric of the same method.

    The paper under study comes first, then the other sources. Backbones, sizes and definitions are
    named, since they mostly differ: the difference is then one of both method and setting.

    >>> shared = {"method": "PaDiM", "metric": "pixel_auroc", "category": "bottle",
    ...           "size_px": 256, "setting": "one-class"}
    >>> cells = pd.DataFrame([
    ...     shared | {"kind": "reproduced", "value": 0.985, "backbone": "resnet18",
    ...               "definition": "exact", "by": "This project"},
    ...     shared | {"kind": "reported", "value": 0.982, "backbone": "wide_resnet50_2",
    ...               "definition": "", "by": PAPER}])
    >>> row = reported_beside(cells).iloc[0]
    >>> row["ours"], row["theirs"], round(float(row["difference"]), 3)
    ('R18 256 px', 'WR50 256 px', 0.003)

    Args:
        cells: of one metric and category; see
            `rd4ad.web.explorer.screens.metric_cells.of_category`.
    """
    ours = cells[cells["kind"] == "reproduced"]
    theirs = cells[cells["kind"] == "reported"]
    pairs = ours.merge(theirs, on=["method", "metric", "category"], suffixes=("", "_reported"))
    if pairs.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    table = pd.DataFrame(
        {
            "method": pairs["method"],
            "setting": pairs["setting"],
            "definition": pairs["definition"],
            "reproduced": pairs["value"],
            "ours": _network(pairs, ""),
            "reported": pairs["value_reported"],
            "theirs": _network(pairs, "_reported"),
            "by": pairs["by_reported"],
            "theirs_definition": pairs["definition_reported"].replace("", "not stated"),
            "difference": pairs["value"] - pairs["value_reported"],
        }
    )
    table["is_other"] = table["by"] != PAPER
    return table.sort_values(["method", "is_other"], kind="stable")[list(COLUMNS)]


def pairs(cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row a category and measured column: what the paper reports of the same method.

    RD4AD comes first, its larger images before smaller ones.

    >>> shared = {"method": "PaDiM", "metric": "pixel_auroc", "category": "bottle",
    ...           "size_px": 256, "setting": "one-class", "definition": "", "sd": float("nan"),
    ...           "runs": ("a",)}
    >>> cells = pd.DataFrame([
    ...     shared | {"kind": "reproduced", "value": 0.985, "backbone": "resnet18",
    ...               "by": "This project"},
    ...     shared | {"kind": "reported", "value": 0.982, "backbone": "wide_resnet50_2",
    ...               "by": PAPER}])
    >>> pairs(cells)[["category", "ours", "theirs"]].values.tolist()
    [['bottle', 'R18 256 px', 'WR50 256 px']]

    Args:
        cells: of one metric; see `rd4ad.web.explorer.screens.metric_cells`. Of the paper's sizes,
            the one that was measured here counts, else the largest.
    """
    keys = ["method", "category"]
    ours = cells[(cells["kind"] == "reproduced") & ~cells["category"].isin(list(AVERAGES))]
    theirs = cells[(cells["kind"] == "reported") & (cells["by"] == PAPER)]
    found = ours.merge(theirs, on=keys, suffixes=("", "_reported"))
    if found.empty:
        return pd.DataFrame(columns=["method", "category", "setting", "reported", "reproduced"])
    found["is_alike"] = found["size_px"].eq(found["size_px_reported"]).fillna(False)
    found["is_other"] = found["method"] != title_of(DEFAULT_METHOD)
    order = ["is_other", *keys, "is_alike", "size_px_reported", "size_px"]
    ascending = [True, True, True, False, False, False]
    found = found.sort_values(order, ascending=ascending, kind="stable")
    found = found.drop_duplicates([*keys, "backbone", "size_px", "setting", "definition"])
    return pd.DataFrame(
        {
            "category": found["category"],
            "method": found["method"],
            "reported": found["value_reported"],
            "reproduced": found["value"],
            "sd": found["sd"],
            "difference": found["value"] - found["value_reported"],
            "ours": _network(found, ""),
            "theirs": _network(found, "_reported"),
            "setting": found["setting"],
            "definition": found["definition"],
            "run": found["runs"].map(lambda runs: runs[0]),
        }
    )


def _network(pairs: pd.DataFrame, suffix: str) -> pd.Series:
    backbone = pairs[f"backbone{suffix}"].fillna("").replace("", "not stated")
    size = pairs[f"size_px{suffix}"].map(lambda px: "" if pd.isna(px) else f" {px:g} px")
    return backbone.replace(BACKBONES) + size
