"""The results as static HTML: tables, curves and histograms, for hosting without a server."""

from html import escape
from pathlib import Path

import pandas as pd
from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

from rd4ad.runs.index import read_index
from rd4ad.runs.published import averages, read_published
from rd4ad.runs.store import read_run
from rd4ad.web.explorer import charts, tables
from rd4ad.web.explorer.screens import leaderboard
from rd4ad.web.explorer.screens.leaderboard import METRICS
from rd4ad.web.explorer.style import KIND_NAMES
from rd4ad.web.explorer.units import PERCENT

_STYLE = """
:root {color-scheme: light dark}
body {font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem}
table {border-collapse: collapse; font-variant-numeric: tabular-nums; display: block;
       overflow-x: auto}
th, td {padding: .25rem .6rem; border-bottom: 1px solid #8884; text-align: right;
        white-space: nowrap}
th:first-child, td:first-child {text-align: left}
.chart {background: white; border-radius: 8px; margin: 1rem 0}
figcaption, .note {opacity: .75; font-size: .9rem}
"""


def write_report(results: Path, out: Path) -> list[Path]:
    """Write the results as HTML pages below `out` and return them, the first page first.

    Plotly is written once, as plotly.min.js beside them; nothing is loaded from elsewhere.

    Args:
        results: folder of results.
        out: folder to write into; made if it is not there.

    Raises:
        FileNotFoundError: there are no published metrics below `results`.
        OSError: `out` cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    published = read_published(results)
    cells = [leaderboard.published_cells(published, averages(published))]
    try:
        runs = tables.in_order(read_index(results, is_default=True))
    except FileNotFoundError:
        runs = pd.DataFrame()  # nothing measured yet: the published metrics stand alone
    if len(runs):
        cells.append(leaderboard.measured_cells(runs, leaderboard.MVTEC))
    (out / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
    links, pages = [], []
    for key, mine in runs.groupby(["dataset", "category"]) if len(runs) else ():
        dataset, category = map(str, key)
        page = out / f"{_file_name(dataset)}-{_file_name(category)}.html"
        title = f"{leaderboard.row_name(category)}, {dataset}"
        _write(page, title, _category(results, mine))
        links.append(f"<li><a href='{escape(page.name)}'>{escape(title)}</a></li>")
        pages.append(page)
    body = [
        "<p>Values that papers report and values that this code reproduced; the kinds are marked "
        "and never averaged together. " + escape(" · ".join(KIND_NAMES.values())) + "</p>",
        *(_leaderboard(pd.concat(cells, ignore_index=True), metric) for metric in METRICS),
        "<h2>Measured categories</h2>",
        f"<ul>{''.join(links)}</ul>" if links else "<p>No run is stored yet.</p>",
    ]
    first = out / "index.html"
    _write(first, "RD4AD: results", "\n".join(body))
    return [first, *pages]


def _leaderboard(cells: pd.DataFrame, metric: str) -> str:
    shown = leaderboard.choose(cells, metric, sources=(leaderboard.PAPER, leaderboard.OURS))
    shown = leaderboard.main_settings(shown)
    table = leaderboard.wide(shown).rename_axis(index=None, columns=None)
    best = leaderboard.best(table, leaderboard.definitions_of(shown))
    style = tables.styled(table, best, leaderboard.coverage(table), PERCENT.text, heat=True)
    notes = "".join(f"<p class='note'>{escape(s)}</p>" for s in leaderboard.disagreements(shown))
    title = f"{METRICS[metric]}, percent"
    safe = style.format_index(lambda name: escape(str(name)), axis=1)
    return f"<h2>{title}</h2>{safe.to_html()}{notes}"


def _category(results: Path, mine: pd.DataFrame) -> str:
    parts = [tables.runs_in_words(mine, PERCENT.text).to_html(index=False)]
    curves: dict[str, dict[str, pd.DataFrame]] = {kind: {} for kind in charts.CURVES}
    for row in mine.to_dict("records"):
        run, label = read_run(results / "runs" / row["run_id"]), tables.run_label(row)
        images = run.images()
        parts.append(f"<h2>{escape(label)}</h2>")
        parts.append(_chart(charts.histogram(images), tables.scores_in_words(images)))
        said = "".join(
            f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>"
            for name, value in tables.run_card(run).items()
        )
        parts.append(f"<table>{said}</table><pre>{escape(tables.commands(run))}</pre>")
        for kind, points in run.curves().groupby("curve"):
            curves[str(kind)][label] = points
    for kind, found in curves.items():
        if found:
            limit = 0.3 if kind == "pro" else None
            chart = charts.curve_chart(kind, found, limit=limit)
            parts.append(_chart(chart, f"{charts.CURVES[kind]}, {len(found)} runs"))
    return "\n".join(parts)


def _chart(chart: Figure, alt: str) -> str:
    chart.update_layout(template="plotly_white")
    drawn = chart.to_html(full_html=False, include_plotlyjs=False)
    return f"<metric class='chart'>{drawn}<figcaption>{escape(alt)}</figcaption></metric>"


def _write(path: Path, title: str, body: str) -> None:
    home = "" if path.name == "index.html" else "<p><a href='index.html'>All results</a></p>"
    path.write_text(
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        "<script src='plotly.min.js'></script></head>"
        f"<body>{home}<h1>{escape(title)}</h1>{body}</body></html>",
        encoding="utf-8",
    )


def _file_name(text: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in text)
