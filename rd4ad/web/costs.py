"""What methods cost: the paper's Table 3 beside what the benchmarks measured."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from rd4ad.catalogue import title_of
from rd4ad.web.look import BACKBONES, KIND_NAMES
from rd4ad.web.tables import Text

QUALITIES = {"pixel_auroc": "Pixel AUROC", "image_auroc": "Image AUROC", "pro": "PRO"}
_COLUMNS = (
    "method", "label", "kind", "seconds_per_image", "memory_mb", "params_million",
    *QUALITIES, "host", "source", "note",
)  # fmt: skip


def table(published: pd.DataFrame, measured: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return one row a method and host.

    Args:
        published: results/published/complexity.csv.
        measured: rows of results/bench/inference.json.
    """
    rows = pd.concat([published, pd.DataFrame(measured)], ignore_index=True)
    rows["method"] = rows["method"].map(title_of)
    backbone = rows["backbone"].map(BACKBONES).fillna(rows["backbone"])
    size = rows["size_px"].map(lambda px: "" if pd.isna(px) else f" {px:g} px") if measured else ""
    rows["label"] = rows["method"] + " " + backbone + size
    for column in _COLUMNS:
        if column not in rows:
            rows[column] = float("nan")
    return rows[list(_COLUMNS)]


def in_words(rows: pd.DataFrame, figure: str, text: Text) -> str:
    """Return the rows that a frontier shows, in words."""
    known = rows.dropna(subset=["seconds_per_image", figure])
    return "; ".join(
        f"{row['label']}: {row['seconds_per_image']:g} s, {text(row[figure])}"
        for row in known.to_dict("records")
    )


def styled(rows: pd.DataFrame, text: Text) -> Styler:
    """Return the table with readable headers."""
    names = {
        "label": "Method", "kind": "Kind", "seconds_per_image": "Seconds an image",
        "memory_mb": "Memory, MB", "params_million": "Parameters, M", **QUALITIES,
        "host": "Host", "note": "Note", "source": "Source",
    }  # fmt: skip
    shown = rows.assign(kind=rows["kind"].map(KIND_NAMES))[list(names)].rename(columns=names)
    formats: dict[str, Any] = dict.fromkeys(QUALITIES.values(), text)
    formats |= {"Seconds an image": "{:.3g}", "Memory, MB": "{:.0f}", "Parameters, M": "{:.1f}"}
    return shown.style.format(formats, na_rep="–")
