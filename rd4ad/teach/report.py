"""A lesson as one HTML file: the photos, the settings, the threshold, what it would find."""

import base64
from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

import rd4ad
from rd4ad.evaluation.category import host_record

_STYLE = """
:root {color-scheme: light dark}
body {font: 16px/1.5 system-ui, sans-serif; max-width: 900px; margin: 2rem auto; padding: 0 1rem}
table {border-collapse: collapse; font-variant-numeric: tabular-nums}
th, td {padding: .25rem .7rem; border-bottom: 1px solid #8884; text-align: right}
th:first-child, td:first-child {text-align: left}
img {max-width: 100%; border-radius: 6px}
.picture {margin: .6rem 0} .picture p {margin: 0}
.pictures {display: flex; flex-wrap: wrap; gap: 1rem} .pictures .picture {max-width: 420px}
.note {opacity: .75; font-size: .9rem}
"""
_SYNTHETIC = (
    "Defects are painted into photos that the detector was not fitted on. They stand for no real "
    "defect: use them to compare thresholds and detectors, not as a promise."
)


REAL = {
    "image_auroc": "image AUROC",
    "found_at_the_threshold": "found at the threshold",
    "pixel_auroc": "pixel AUROC",
    "aupro": "PRO",
}
"""Metrics of real defects that were added, in words."""


def html(record: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """Return the report.

    Args:
        record: as `Lesson.record` returns it, with `name`, and with `compared` and `advice` where
            reverse distillation was trained too, and `real` where real defects were judged.
        pictures: as `rd4ad.teach.pictures.all_pictures` returns them.
    """
    own = record["student"] if record.get("is_student_kept") else record
    recipe, threshold, smallest = record["recipe"], own["threshold"], own["smallest_found_px"]
    found = (
        f"At the threshold, at least nine in ten painted defects are found from {smallest} px on, "
        "of a photo of 256 px a side."
        if smallest
        else "At the threshold no size of painted defects is found nine times in ten."
    )
    body = [
        f"<p>{record['n_photos']} photos of good parts, {recipe['size_px']} px a side. Recommended "
        f"detector: {escape(record.get('recommended', 'memory of patches'))}.</p>",
        *(f"<p>{escape(one['text'])}</p>" for one in record["findings"]),
        *(f"<p>{escape(one['text'])}</p>" for one in record["augmentations"]),
        f"<p>{escape(record['growth']['text'])}</p>",
        _shown(pictures, {"mean": "Mean of all photos", "spread": "Where they differ"}),
        "<h2>Threshold</h2>",
        f"<p>{threshold['value']:.3f}, for {100 * threshold['rate']:g}% false alarms. "
        f"{escape(threshold['text'])}</p>",
        _scores(own["held_out_scores"], threshold["value"]),
        "<h3>Photos least like the others</h3>",
        _shown(pictures, dict(zip(("least-0", "least-1", "least-2"), record["least_alike"]))),
        "<h2>Painted defects (synthetic)</h2>",
        f"<p>{found}</p><p class='note'>{_SYNTHETIC}</p>",
        found_table(own["painted"]),
        "<p>Examples, by the memory of patches:</p>",
        _shown(pictures, {f"found-{i}": "Found" for i in range(3)}),
        _shown(pictures, {f"missed-{i}": "Missed" for i in range(3)}),
        *_compared(record),
        *_real(record),
        "<h2>Settings and versions</h2>",
        _table([{"setting": k, "value": v} for k, v in recipe.items()]),
        _table([{"package": k, "version": v} for k, v in versions().items()]),
    ]
    title = f"Detector of {escape(record.get('name', 'a part'))}"
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style>"
        f"<h1>{title}</h1>{''.join(body)}</html>"
    )


def versions() -> dict[str, str]:
    """Return this package's version, Python's, and those of what computes."""
    return {"rd4ad": rd4ad.__version__, **host_record()["versions"]}


def found_table(painted: list[dict[str, Any]]) -> str:
    """Return the share of painted defects found as an HTML table, kinds down and sizes across."""
    table = pd.DataFrame(painted)
    share = table.pivot_table(index="kind", columns="size_px", values="is_found", aggfunc="mean")
    head = "".join(f"<th>{size} px</th>" for size in share.columns)
    rows = "".join(
        f"<tr><th>{escape(str(kind))}</th>"
        + "".join("<td>–</td>" if x != x else f"<td>{100 * x:.0f}%</td>" for x in values)
        + "</tr>"
        for kind, values in zip(share.index, share.to_numpy(), strict=True)
    )
    return f"<table><tr><th>found</th>{head}</tr>{rows}</table>"


def _compared(record: Mapping[str, Any]) -> list[str]:
    if "compared" not in record:
        return []
    rows = [
        {
            "detector": row["detector"],
            "epochs": row["epochs"] or "",
            "image AUROC, %": f"{100 * row['image_auroc']:.1f}",
            "pixel AUROC, %": f"{100 * row['pixel_auroc']:.1f}",
            "PRO, %": f"{100 * row['aupro']:.1f}",
        }
        for row in record["compared"]
    ]
    return [
        "<h2>Reverse distillation and the memory (synthetic)</h2>",
        _table(rows),
        f"<p>{escape(record['advice'])}</p>",
    ]


def _real(record: Mapping[str, Any]) -> list[str]:
    if "real" not in record:
        return []
    rows = [{"metric": REAL[k], "value": f"{100 * v:.1f}%"} for k, v in record["real"].items()]
    return ["<h2>Real defects that were added</h2>", _table(rows)]


def _table(rows: list[dict[str, Any]]) -> str:
    head = "".join(f"<th>{escape(str(key))}</th>" for key in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row.values()) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _shown(pictures: Mapping[str, bytes], captions: Mapping[str, str]) -> str:
    shown = [
        f"<div class='picture'><img alt='{escape(caption, quote=True)}' "
        f"src='data:image/jpeg;base64,{base64.b64encode(pictures[f'{name}.jpg']).decode()}'>"
        f"<p class='note'>{escape(caption)}</p></div>"
        for name, caption in captions.items()
        if f"{name}.jpg" in pictures
    ]
    return f"<div class='pictures'>{''.join(shown)}</div>"


def _scores(scores: list[float], threshold: float) -> str:
    """Return the held-out scores as dots on a line, with the threshold."""
    right = 1.1 * max(*scores, threshold)

    def x(value: float) -> str:
        return f"{10 + 580 * value / right:.1f}"

    dots = "".join(f"<circle cx='{x(s)}' cy='25' r='4' opacity='.5'/>" for s in scores)
    at = x(threshold)
    return (
        "<div class='picture'><svg viewBox='0 0 600 50' width='600' role='img' fill='#56B4E9' "
        "aria-label='Scores of held-out photos and the threshold'>"
        f"<line x1='10' x2='590' y1='25' y2='25' stroke='#8888'/>{dots}"
        f"<line x1='{at}' x2='{at}' y1='5' y2='45' stroke='#D55E00' stroke-width='2'/></svg>"
        "<p class='note'>Score of each photo by a memory of the others, from 0 (left), and the "
        "threshold (line).</p></div>"
    )
