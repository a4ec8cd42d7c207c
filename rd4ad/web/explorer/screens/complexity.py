"""What methods cost: the paper's Table 3 and what `rd4ad bench` measured, relative to RD4AD."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from rd4ad.catalogue import DEFAULT_METHOD, title_of
from rd4ad.runs.run import naming_damaged_file
from rd4ad.web.explorer.screens.metric_cells import MVTEC, longest_trainings
from rd4ad.web.explorer.style import BACKBONES, KIND_NAMES
from rd4ad.web.explorer.tables import Text

QUALITIES = {"pixel_auroc": "Pixel AUROC", "image_auroc": "Image AUROC", "pro": "PRO"}
_METRICS = {"pixel_auroc": "pixel_auroc", "image_auroc": "image_auroc", "pro": "aupro"}
"""The metric of the stored runs that each is, where it was measured here."""
_NO_QUALITY: dict[str, Any] = dict.fromkeys((*QUALITIES, "categories"))
_COLUMNS = {
    "method": "", "label": "Method", "kind": "Kind", "seconds_ratio": "Time, × RD4AD",
    "memory_ratio": "Memory, × RD4AD", "seconds_per_image": "Inference time, s per image",
    "memory_mb": "Memory, MB", "teacher_mb": "Teacher, MB", "disk_mb": "Disk, MB",
    "params_million": "Parameters, M", "fit_seconds": "Fit, s", "fit_images": "Fit, images",
    "fit": "Fit is", **QUALITIES, "categories": "Categories", "host": "Host", "note": "Note",
    "source": "Source",
}  # fmt: skip
"""Columns of the table, and their headers."""
_MAIN = (
    "Method", "Kind", "Time, × RD4AD", "Memory, × RD4AD", "Inference time, s per image",
    "Memory, MB", "Pixel AUROC", "Categories",
)  # fmt: skip
_FORMATS = {
    "Time, × RD4AD": "{:.2f}", "Memory, × RD4AD": "{:.2f}", "Inference time, s per image": "{:.3g}",
    "Memory, MB": "{:.0f}", "Teacher, MB": "{:.0f}", "Disk, MB": "{:.1f}",
    "Parameters, M": "{:.1f}", "Fit, s": "{:.0f}", "Fit, images": "{:.0f}",
}  # fmt: skip


def records(results: Path) -> list[Path]:
    """Return the records that `rd4ad bench` stored, in the order in which they count."""
    return sorted((results / "bench").glob("methods*.json"), key=lambda path: path.stem)


def read_record(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a benchmark's record, each with its host and how it was measured.

    Raises:
        ValueError: the file is damaged; the message names it.
    """
    with naming_damaged_file(path):
        record = json.loads(path.read_text(encoding="utf-8"))
        told = {"host": record["host"], "note": record["note"]}
        return [row | told for row in record["rows"]]


def first_of_each(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a method, backbone and size: a case of several records is the first's."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        found.setdefault((row["method"], row["backbone"], row["size_px"]), row)
    return list(found.values())


def with_quality(rows: Iterable[dict[str, Any]], runs: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Return measured rows with the metrics of stored runs, and what categories they are means of.

    The longest training of a category counts, with its seeds in the mean. The categories are those
    that most rows have a run of, so that metrics compare; a row without all of them has none.

    Args:
        rows: as `read_record` returns them.
        runs: rows of `rd4ad.runs.index.read_index` at the runs' own scoring; None without any.
    """
    rows = list(rows)
    if runs is None:
        return [row | _NO_QUALITY for row in rows]
    runs = runs[runs["dataset"] == MVTEC]
    found = [
        longest_trainings(
            runs[
                (runs["method"] == row["method"])
                & (runs["backbone"] == row["backbone"])
                & (runs["size_px"] == row["size_px"])
            ]
        )
        for row in rows
    ]
    n_rows = Counter(category for own in found for category in set(own["category"]))
    common = sorted(name for name, n in n_rows.items() if n == max(n_rows.values()))
    return [row | _means(own, common) for row, own in zip(rows, found, strict=True)]


def _means(runs: pd.DataFrame, categories: list[str]) -> dict[str, Any]:
    """Return the means over categories that all have a run; nothing otherwise."""
    metrics = list(_METRICS.values())
    seeds = runs[runs["category"].isin(categories)].groupby("category")[metrics].mean()
    if not categories or len(seeds) < len(categories):
        return _NO_QUALITY
    means = seeds.mean(skipna=False)
    return {name: float(means[metric]) for name, metric in _METRICS.items()} | {
        "categories": ", ".join(categories)
    }


def table(published: pd.DataFrame, measured: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return one row a method and host.

    Args:
        published: results/published/complexity.csv; its ratios are those of its metrics.
        measured: rows of results/bench/methods*.json, with their own ratios; see `with_quality`.
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


def relative(rows: pd.DataFrame, size_px: int) -> pd.DataFrame:
    """Return the rows to draw as bars: other methods at one size and as published, fastest first.

    Args:
        rows: as `table` returns them.
        size_px: which of the measured sizes; published rows name none.
    """
    is_other = rows["seconds_ratio"].notna() & (rows["method"] != title_of(DEFAULT_METHOD))
    is_shown = (rows["kind"] == "reported") | rows["label"].str.endswith(f" {size_px} px")
    shown = rows[is_other & is_shown]
    return shown.sort_values(["kind", "seconds_ratio"], ascending=[False, True], kind="stable")


def sizes_px(rows: pd.DataFrame) -> list[int]:
    """Return the sizes at which methods were measured, largest first."""
    found = rows.loc[rows["kind"] == "reproduced", "label"].str.extract(r" (\d+) px$")[0].dropna()
    return sorted({int(size) for size in found}, reverse=True)


def ratios_in_words(rows: pd.DataFrame) -> str:
    """Return the inference time of methods relative to RD4AD, in words.

    >>> ratios_in_words(pd.DataFrame({"label": ["SPADE"], "seconds_ratio": [4.5]}))
    'SPADE 4.5 ×'
    """
    pairs = zip(rows["label"], rows["seconds_ratio"], strict=True)
    return ", ".join(f"{label} {ratio:.1f} ×" for label, ratio in pairs)


def styled(rows: pd.DataFrame, text: Text, *, every: bool) -> Styler:
    """Return the table with readable headers, without columns that nothing fills.

    Args:
        rows: as `table` returns them.
        text: prints one metric.
        every: all columns instead of the main ones.
    """
    shown = rows.assign(kind=rows["kind"].map(KIND_NAMES)).drop(columns="method")
    shown = shown.dropna(axis="columns", how="all").rename(columns=_COLUMNS)
    if not every:
        shown = shown[[name for name in shown if name in _MAIN]]
    formats: dict[str, Any] = {**_FORMATS, **dict.fromkeys(QUALITIES.values(), text)}
    kept: dict[Any, Any] = {name: given for name, given in formats.items() if name in shown}
    return shown.style.format(kept, na_rep="–")
