"""What methods cost: the paper's Table 3 and what `rd4ad bench` measured, relative to RD4AD."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from rd4ad.catalogue import DEFAULT_METHOD, title_of
from rd4ad.web.explorer.style import BACKBONES, KIND_NAMES
from rd4ad.web.explorer.tables import Text

QUALITIES = {"pixel_auroc": "Pixel AUROC", "image_auroc": "Image AUROC", "pro": "PRO"}
_COLUMNS = {
    "method": "", "label": "Method", "kind": "Kind", "seconds_ratio": "Time, × RD4AD",
    "memory_ratio": "Memory, × RD4AD", "seconds_per_image": "Inference time, s per image",
    "memory_mb": "Memory, MB", "teacher_mb": "Teacher, MB", "disk_mb": "Disk, MB",
    "params_million": "Parameters, M", "fit_seconds": "Fit, s", "fit_images": "Fit, images",
    "fit": "Fit is", **QUALITIES, "categories": "Categories", "host": "Host", "note": "Note",
    "source": "Source",
}  # fmt: skip
"""Columns of the table, and their headers."""
_FORMATS = {
    "Time, × RD4AD": "{:.2f}", "Memory, × RD4AD": "{:.2f}", "Inference time, s per image": "{:.3g}",
    "Memory, MB": "{:.0f}", "Teacher, MB": "{:.0f}", "Disk, MB": "{:.1f}",
    "Parameters, M": "{:.1f}", "Fit, s": "{:.0f}", "Fit, images": "{:.0f}",
}  # fmt: skip


def table(published: pd.DataFrame, measured: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return one row a method and host.

    Args:
        published: results/published/complexity.csv; its ratios are those of its metrics.
        measured: rows of results/bench/methods*.json, with their own ratios.
    """
    ours = pd.DataFrame(measured)
    rows = pd.concat([published.join(_ratios(published)), ours], ignore_index=True)
    rows["method"] = rows["method"].map(title_of)
    backbone = rows["backbone"].map(BACKBONES).fillna(rows["backbone"]).replace("none", "")
    size = rows["size_px"].map(lambda px: "" if pd.isna(px) else f" {px:g} px") if measured else ""
    rows["label"] = (rows["method"] + " " + backbone + size).str.replace("  ", " ")
    return rows.reindex(columns=list(_COLUMNS))


def _ratios(published: pd.DataFrame) -> pd.DataFrame:
    """Return seconds and memory over those of RD4AD in the same source with the same backbone."""
    keys = ["source", "backbone"]
    ours = published[published["method"] == title_of(DEFAULT_METHOD)]
    base = published[keys].merge(ours, on=keys, how="left", validate="many_to_one")
    base.index = published.index
    return pd.DataFrame(
        {
            "seconds_ratio": published["seconds_per_image"] / base["seconds_per_image"],
            "memory_ratio": published["memory_mb"] / base["memory_mb"],
        }
    )


def in_words(rows: pd.DataFrame, metric: str, text: Text) -> str:
    """Return the rows that a frontier shows, in words."""
    known = rows.dropna(subset=["seconds_per_image", metric])
    return "; ".join(
        f"{row['label']}: {row['seconds_per_image']:g} s, {text(row[metric])}"
        for row in known.to_dict("records")
    )


def ratios_in_words(rows: pd.DataFrame) -> str:
    """Return the inference time of methods relative to RD4AD, the paper's hosts and this one apart.

    >>> rows = pd.DataFrame({"label": ["SPADE", "RD4AD", "SPADE R18"], "seconds_ratio": [4.5, 1, 2],
    ...                      "kind": ["reported", "reported", "reproduced"]})
    >>> ratios_in_words(rows)
    'As published: SPADE 4.5 ×. As measured: SPADE R18 2.0 ×.'
    """
    others = rows[rows["seconds_ratio"].notna() & (rows["seconds_ratio"] != 1)]
    said = []
    for kind, name in (("reported", "published"), ("reproduced", "measured")):
        own = others[others["kind"] == kind].sort_values("seconds_ratio")
        if len(own):
            listed = ", ".join(
                f"{row['label']} {row['seconds_ratio']:.1f} ×" for row in own.to_dict("records")
            )
            said.append(f"As {name}: {listed}.")
    return " ".join(said)


def styled(rows: pd.DataFrame, text: Text) -> Styler:
    """Return the table with readable headers, without columns that nothing fills."""
    shown = rows.assign(kind=rows["kind"].map(KIND_NAMES)).drop(columns="method")
    shown = shown.dropna(axis="columns", how="all").rename(columns=_COLUMNS)
    formats: dict[str, Any] = {**_FORMATS, **dict.fromkeys(QUALITIES.values(), text)}
    kept: dict[Any, Any] = {name: given for name, given in formats.items() if name in shown}
    return shown.style.format(kept, na_rep="–")
