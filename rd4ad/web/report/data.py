"""What the static pages draw, as compact JSON: one file a dataset, one a measured category.

Fractions are rounded to five decimals, scores and curves to four digits: finer than anything that
is printed or drawn.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rd4ad.data.one_class import TITLES
from rd4ad.home import commit
from rd4ad.inference.overlay import color_table
from rd4ad.runs.index import read_index
from rd4ad.runs.published import averages, read_published
from rd4ad.runs.run import Run
from rd4ad.runs.store import read_run
from rd4ad.web.explorer import charts, run_text, tables
from rd4ad.web.explorer.screens import finding, findings, leaderboard, metric_cells
from rd4ad.web.explorer.style import COLORS, KIND_NAMES
from rd4ad.web.explorer.units import PERCENT

PAGES = {
    "pages/leaderboard.py": "leaderboard.html",
    "pages/ablations.py": "ablations.html",
    "pages/limitations.py": "laboratory.html",
}
"""The static page that shows what a page of the server shows."""
_CURVE_POINTS = 120
_ABOUT = ("method", "backbone", "size_px", "by", "setting", "kind", "metric", "definition",
          "source", "note")  # fmt: skip
_SETTINGS = ("method", "backbone", "size_px", "layers", "fusion", "smoothing", "epochs", "variant",
             "seed")  # fmt: skip


def write_data(results: Path, out: Path) -> list[str]:
    """Write data/ below `out` and return the names of its datasets, those of MVTec AD first.

    Args:
        results: folder of results.
        out: folder of the site.

    Raises:
        FileNotFoundError: there are no published metrics below `results`.
        ValueError: a file of the results is damaged; the message names it.
        OSError: `out` cannot be written.
    """
    published = read_published(results)
    known = metric_cells.published_cells(published, averages(published))
    try:
        runs = tables.in_order(read_index(results, is_default=True))
    except FileNotFoundError:
        runs = pd.DataFrame(columns=["dataset", "category"])  # the published metrics stand alone
    names = [metric_cells.MVTEC, *sorted(set(runs["dataset"]) - {metric_cells.MVTEC})]
    folder = out / "data"
    folder.mkdir(parents=True, exist_ok=True)
    datasets = []
    for name in names:
        parts = [known] if name == metric_cells.MVTEC else []
        mine = runs[runs["dataset"] == name]
        if len(mine):
            parts.append(metric_cells.measured_cells(runs, name))
        _write(folder / f"{file_name(name)}.json", _columns(pd.concat(parts, ignore_index=True)))
        # A class of a novelty set has ten thousand images and no part to look at.
        measured = [] if name in TITLES else sorted(set(mine["category"]))
        for category in measured:
            about = _category(results, tables.of_category(runs, name, category))
            _write(folder / f"{file_name(name)}-{file_name(category)}.json", about)
        datasets.append({"name": name, "file": file_name(name), "measured": measured})
    _write(
        folder / "index.json",
        {
            "datasets": datasets,
            "findings": [_finding(one) for one in _findings(results)],
            "metrics": metric_cells.METRICS,
            "measured_metrics": tables.METRIC_NAMES,
            "curves": charts.CURVES,
            "axes": charts.AXES,
            "averages": metric_cells.AVERAGES,
            "kinds": KIND_NAMES,
            "colors": COLORS,
            "heat": color_table().tolist(),
            "commit": commit(),
        },
    )
    return names


def file_name(text: str) -> str:
    """Return a name as part of a file's.

    >>> file_name("MVTec AD")
    'MVTec_AD'
    """
    return "".join(letter if letter.isalnum() else "_" for letter in text)


def _findings(results: Path) -> list[finding.Finding]:
    return findings.supported_findings(findings.read_evidence(results), PERCENT)


def _finding(one: finding.Finding) -> dict[str, Any]:
    marks = [
        [mark.label, float(mark.value), mark.kind, *map(_finite, (mark.low, mark.high))]
        for mark in one.marks
    ]
    return {
        "key": one.key, "claim": one.claim, "number": one.number, "about": one.about,
        "axis": one.axis, "is_log": one.is_log, "marks": marks, "page": PAGES.get(one.page, ""),
    }  # fmt: skip


def _columns(cells: pd.DataFrame) -> dict[str, Any]:
    """Return cells as columns, each with what it is and its values by category."""
    labels = metric_cells.labels(cells)
    main = set(metric_cells.main_settings(cells).index)
    columns = []
    for _, mine in cells.groupby([cells["metric"], labels], sort=False):
        first = mine.iloc[0]
        label = labels[mine.index[0]]
        columns.append(
            {
                "label": label,
                **{name: _plain(first[name]) for name in _ABOUT},
                "is_main": mine.index[0] in main,
                "values": dict(zip(mine["category"], map(_plain, mine["value"]), strict=True)),
                "sd": {
                    name: _plain(sd)
                    for name, sd in zip(mine["category"], mine["sd"], strict=True)
                    if not pd.isna(sd)
                },
                "runs": {
                    name: list(runs)
                    for name, runs in zip(mine["category"], mine["runs"], strict=True)
                    if runs and name not in metric_cells.AVERAGES
                },
            }
        )
    said = leaderboard.disagreements(cells)
    return {"columns": columns, "disagreements": said}


def _category(results: Path, mine: pd.DataFrame) -> dict[str, Any]:
    """Return a category's runs with scores and curves, and every metric of every scoring."""
    runs = [
        _run(read_run(results / "runs" / row["run_id"]), row) for row in mine.to_dict("records")
    ]
    first = mine.iloc[0]
    rows = tables.readable(
        read_index(results, dataset=first["dataset"], category=first["category"])
    )
    settings = {name: _coded(rows[name]) for name in _SETTINGS}
    metrics = {
        name: [_plain(value) for value in rows[name]]
        for name in tables.METRIC_NAMES
        if rows[name].notna().any()
    }
    return {"runs": runs, "ablation": {"settings": settings, "metrics": metrics}}


def _run(run: Run, row: dict[Any, Any]) -> dict[str, Any]:
    images = run.images()
    metrics = {
        name: [_plain(row[name]), _plain(row[f"{name}_ci_low"]), _plain(row[f"{name}_ci_high"])]
        for name in tables.METRIC_NAMES
        if not pd.isna(row[name])
    }
    curves = {
        str(kind): [_thinned(points["x"]), _thinned(points["y"])]
        for kind, points in run.curves().groupby("curve")
    }
    return {
        "id": row["run_id"],
        "setting": run_text.setting_label(row),
        "seed": int(row["seed"]),
        "metrics": metrics,
        "labels": images["label"].astype(int).tolist(),
        "types": _coded(images["defect_type"]),
        "scores": [_digits(score) for score in images["score"]],
        "curves": curves,
        "card": run_text.run_card(run),
        "commands": run_text.commands(run),
    }


def _coded(values: Iterable[Any]) -> dict[str, list[Any]]:
    """Return values as the distinct ones, ascending, and the place of each among them."""
    codes, distinct = pd.factorize(pd.Series(list(values)), sort=True)
    return {"distinct": [_plain(value) for value in distinct], "codes": codes.tolist()}


def _thinned(values: pd.Series) -> list[float]:
    points = values.to_numpy(float)
    if len(points) > _CURVE_POINTS:
        points = points[np.linspace(0, len(points) - 1, _CURVE_POINTS).round().astype(int)]
    return [_digits(value) for value in points]


def _digits(value: float) -> float:
    return float(f"{value:.4g}") if math.isfinite(value) else 0.0


def _plain(value: Any) -> Any:
    """Return a cell as JSON has it: a fraction to five decimals, a missing one as null."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, (float, np.floating)):
        return round(float(value), 5)
    return int(value) if isinstance(value, (int, np.integer)) else str(value)


def _write(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False,
                      default=str)  # fmt: skip
    path.write_text(text, encoding="utf-8")


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
