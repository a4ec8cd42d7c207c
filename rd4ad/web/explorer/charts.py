"""Plotly metrics from stored numbers; they compute nothing but bins. No torch, no Streamlit."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from rd4ad.web.explorer.screens.finding import Finding
from rd4ad.web.explorer.style import ACCENT, DEFECT, NORMAL, SERIES, clear, color, marker

AXES = {
    "image_roc": ("False-positive rate of images", "True-positive rate of images"),
    "image_pr": ("Recall of defective images", "Precision of images"),
    "pixel_roc": ("False-positive rate of pixels", "True-positive rate of pixels"),
    "pixel_pr": ("Recall of defective pixels", "Precision of pixels"),
    "pro": ("False-positive rate of pixels", "Mean overlap of regions"),
}
CURVES = {
    "image_roc": "Image ROC",
    "image_pr": "Image PR",
    "pixel_roc": "Pixel ROC",
    "pixel_pr": "Pixel PR",
    "pro": "PRO",
}
HEIGHT_PX = 380
_BINS = 36
DESKTOP_PX, PHONE_PX = 640, 250
"""Width of a plot on a desktop and on a phone."""


def chart_base(height_px: int = HEIGHT_PX, **layout: Any) -> go.Figure:
    """Return an empty chart with the margins and the legend that all of them share."""
    chart = go.Figure()
    chart.update_layout(
        height=height_px,
        margin={"l": 10, "r": 10, "t": 34, "b": 10},
        legend={"orientation": "h", "y": -0.22, "x": 0},
        **layout,
    )
    return chart


def curve_chart(
    kind: str,
    curves: Mapping[str, pd.DataFrame],
    *,
    limit: float | None = None,
    at: float | None = None,
) -> go.Figure:
    """Return curves of one kind over each other; hovering tells the threshold.

    Args:
        kind: a key of `CURVES`.
        curves: x, y and threshold by label; `low` and `high` too, where several seeds make a band.
        limit: false-positive rate up to which PRO integrates: marked, and its area shaded.
        at: a threshold: the point that it gives is marked on every curve.
    """
    chart = chart_base(HEIGHT_PX + 60, title=CURVES[kind], hovermode="closest")
    for i, (label, curve) in enumerate(curves.items()):
        hue = SERIES[i % len(SERIES)]
        x, y, threshold = (curve[name].to_numpy() for name in ("x", "y", "threshold"))
        if limit is not None and i == 0:
            inside = x <= limit
            edge = np.interp(limit, x, y)
            chart.add_scatter(
                x=np.r_[x[inside], limit], y=np.r_[y[inside], edge], mode="lines",
                line={"width": 0}, fill="tozeroy", fillcolor=clear(hue), hoverinfo="skip",
                showlegend=False,
            )  # fmt: skip
        if "low" in curve and (curve["high"] > curve["low"]).any():
            ends = np.r_[curve["high"], curve["low"][::-1]].astype(np.float32)
            chart.add_scatter(
                x=np.r_[x, x[::-1]].astype(np.float32), y=ends, mode="lines", line={"width": 0},
                fill="toself", fillcolor=clear(hue), hoverinfo="skip", showlegend=False,
            )  # fmt: skip
        # Drawn in 32 bits: finer than any screen, and half the bytes of a page of curves.
        drawn = {"x": x, "y": y, "customdata": threshold}
        chart.add_scatter(
            **{name: values.astype(np.float32) for name, values in drawn.items()},
            mode="lines", name=label,
            line={"color": hue, "width": 2, "dash": ("solid", "dash", "dot")[i // len(SERIES) % 3]},
            hovertemplate="threshold %{customdata:.4f}<br>%{x:.3f}, %{y:.3f}<extra>%{fullData.name}"
            "</extra>",
        )  # fmt: skip
        if at is not None and len(threshold):
            nearest = int(np.searchsorted(-threshold, -at, side="right")) - 1
            nearest = max(nearest, 0)
            chart.add_scatter(
                x=[x[nearest]], y=[y[nearest]], mode="markers", showlegend=False,
                marker={"color": hue, "size": 12, "line": {"color": "white", "width": 2}},
                hovertemplate=f"threshold {at:.4f}<br>%{{x:.3f}}, %{{y:.3f}}<extra>{label}</extra>",
            )  # fmt: skip
    if limit is not None:
        chart.add_vline(x=limit, line={"dash": "dot", "color": "gray"})
        chart.add_annotation(x=limit, y=0.02, text=f"limit {limit:g}", showarrow=False, xshift=32)
    if kind.endswith("roc"):
        chart.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"dash": "dot", "color": "gray"})
    chart.update_xaxes(title=AXES[kind][0], range=[0, 1], constrain="domain")
    chart.update_yaxes(title=AXES[kind][1], range=[0, 1.02])
    # The corner that curves of a good detector leave empty, beside the ends of the others.
    corner = (
        {"x": 0.01, "xanchor": "left"} if kind.endswith("pr") else {"x": 0.99, "xanchor": "right"}
    )
    legend = {"orientation": "v", "y": 0.03, "yanchor": "bottom", "bgcolor": "rgba(0, 0, 0, 0)"}
    return chart.update_layout(showlegend=len(curves) > 1, legend=legend | corner)


def histogram(
    images: pd.DataFrame, *, by_type: bool = False, threshold: float | None = None
) -> go.Figure:
    """Return the histogram of image scores, normal against defective.

    Args:
        images: label, defect_type and score of every test image.
        by_type: one color a defect type instead of one for all defects.
        threshold: marked if given.
    """
    chart = chart_base(barmode="stack" if by_type else "overlay", title="Scores of test images")
    for name, scores, hue in _groups(images, by_type):
        _add_bars(chart, images["score"], name, scores, hue, opacity=1.0 if by_type else 0.75)
    if threshold is not None:
        chart.add_vline(x=threshold, line={"color": "gray", "width": 2})
        chart.add_annotation(x=threshold, y=1, yref="paper", text="threshold", showarrow=False,
                              yshift=10)  # fmt: skip
    chart.update_xaxes(title="Anomaly score")
    chart.update_yaxes(title="Images")
    return chart


def _groups(
    images: pd.DataFrame, by_type: bool, others: str = "defective"
) -> list[tuple[str, pd.Series, str]]:
    normal, defective = images[images["label"] == 0], images[images["label"] == 1]
    groups = [("normal", normal["score"], NORMAL)]
    if not by_type:
        return [*groups, (others, defective["score"], DEFECT)]
    hues = [hue for hue in SERIES if hue != NORMAL]
    kinds = defective.groupby("defect_type", sort=True)["score"]
    return groups + [
        (str(kind).replace("_", " "), scores, hues[i % len(hues)])
        for i, (kind, scores) in enumerate(kinds)
    ]


def _add_bars(
    chart: go.Figure, everything: pd.Series, name: str, scores: pd.Series, hue: str, **more: Any
) -> None:
    edges = np.linspace(everything.min(), everything.max(), _BINS + 1)
    counts, _ = np.histogram(scores, edges)
    place = {key: more.pop(key) for key in ("row", "col") if key in more}
    chart.add_trace(
        go.Bar(
            x=(edges[1:] + edges[:-1]) / 2,
            y=counts,
            width=np.diff(edges),
            name=name,
            marker={"color": hue, "line": {"width": 0}},
            hovertemplate="score %{x:.3f}: %{y} images<extra>%{fullData.name}</extra>",
            **more,
        ),
        **place,
    )


def small_histograms(tables: Mapping[str, pd.DataFrame], others: str = "defective") -> go.Figure:
    """Return one small histogram a category, normal against defective, as in the paper's Figure 5.

    Args:
        tables: the run's images by category.
        others: what images are called that are not normal.
    """
    columns = 3  # more would run into each other on a phone
    rows = -(-len(tables) // columns)
    titles = [name.replace("_", " ") for name in tables]
    chart = make_subplots(
        rows, columns, subplot_titles=titles,
        vertical_spacing=0.6 / rows, horizontal_spacing=0.03,
    )  # fmt: skip
    for i, images in enumerate(tables.values()):
        place = {"row": i // columns + 1, "col": i % columns + 1}
        for name, scores, hue in _groups(images, by_type=False, others=others):
            _add_bars(chart, images["score"], name, scores, hue, opacity=0.75, showlegend=False,
                      **place)  # fmt: skip
    chart.update_layout(
        height=150 * rows + 40, barmode="overlay", margin={"l": 10, "r": 10, "t": 50, "b": 10}
    )
    chart.update_yaxes(showticklabels=False)
    return chart


def dots(cells: pd.DataFrame, labels: Sequence[str], factor: float, unit: str) -> go.Figure:
    """Return the metrics of one category as a strip of dots, best on the right.

    Args:
        cells: rows with `value`, `method` and `kind`; see
            `rd4ad.web.explorer.screens.metric_cells`.
        labels: of the columns that they stand in.
        factor: times the fraction is what is shown.
        unit: name of what is shown.
    """
    frame = cells.assign(label=list(labels)).sort_values("value")
    chart = chart_base(height_px=60 + 26 * len(frame))
    symbols = {
        "reported": "-open",
        "reproduced": "",
        "third-party": "-dot",
        "external": "-open-dot",
    }
    chart.add_scatter(
        x=frame["value"] * factor, y=frame["label"], mode="markers", showlegend=False,
        marker={
            "size": 11, "color": [color(name) for name in frame["method"]],
            "symbol": [marker(m) + symbols[k] for m, k in zip(frame["method"], frame["kind"],
                                                              strict=True)],
            "line": {"width": 2},
        },
        customdata=[_behind(row, factor) for row in frame.to_dict("records")],
        hovertemplate="%{y}: %{x:.2f}%{customdata}<extra></extra>",
    )  # fmt: skip
    chart.update_xaxes(title=unit)
    chart.update_yaxes(automargin=True, range=[-0.6, len(frame) - 0.4])
    return chart


def _behind(cell: Mapping[Any, Any], factor: float) -> str:
    """Return what stands behind a value: its spread over seeds and its runs, or its source."""
    runs = cell.get("runs") or ()
    spread = cell.get("sd", np.nan)
    said = "" if pd.isna(spread) else f" ± {factor * spread:.2f} over {len(runs)} seeds"
    named = ", ".join(runs[:3]) or str(cell.get("source", ""))
    return f"{said}<br>{named}" if named else said


def lines(
    table: pd.DataFrame, spread: pd.DataFrame, *, x_title: str, y_title: str, factor: float
) -> go.Figure:
    """Return one line with markers a column over the table's index, with bars of their spread.

    Args:
        table: what is drawn; nan where a line is broken.
        spread: of the same shape, what lies above and below; nan where it is not known.
        x_title: of the index.
        y_title: of the values.
        factor: times the values is what is shown.
    """
    chart = chart_base()
    for i, name in enumerate(table.columns):
        chart.add_scatter(
            x=table.index.astype(str), y=table[name] * factor, name=str(name), connectgaps=False,
            mode="lines+markers", line={"color": SERIES[i % len(SERIES)]}, marker={"size": 9},
            error_y={"array": (spread[name] * factor).fillna(0), "thickness": 1},
        )  # fmt: skip
    chart.update_xaxes(title=x_title, type="category")
    chart.update_yaxes(title=y_title)
    return chart


_PALE = [[0, "#F1F6FA"], [1, "#56B4E9"]]
"""Light enough throughout for dark numbers, on light and dark pages alike."""


def heatmap(
    table: pd.DataFrame, *, x_title: str, y_title: str, unit: str, factor: float, text: str
) -> go.Figure:
    """Return a table as a heatmap with its values, nothing where a cell is missing.

    Args:
        table: fractions.
        x_title: of the columns.
        y_title: of the rows.
        unit: of the values.
        factor: times the fraction is what is shown.
        text: d3 format of a value.
    """
    chart = chart_base(height_px=130 + 34 * len(table))
    chart.add_heatmap(
        z=table.to_numpy(float) * factor, x=[*map(str, table.columns)], y=[*map(str, table.index)],
        colorscale=_PALE, texttemplate=f"%{{z:{text}}}", textfont={"color": "#1C1F23"},
        xgap=2, ygap=2, hoverongaps=False,
        colorbar={"title": {"text": unit, "side": "right"}, "thickness": 12},
        hovertemplate=f"{y_title} %{{y}}, {x_title} %{{x}}: %{{z:.2f}}<extra></extra>",
    )  # fmt: skip
    chart.update_xaxes(title=x_title, type="category")
    chart.update_yaxes(title=y_title, type="category", autorange="reversed")
    return chart


def bars(values: Mapping[str, float], *, title: str, factor: float, text: str) -> go.Figure:
    """Return one bar a name, the first on top.

    Args:
        values: fraction by name.
        title: of the axis, with the unit.
        factor: times the fraction is what is shown.
        text: d3 format of the printed metric.
    """
    chart = chart_base(height_px=120 + 44 * len(values))
    chart.add_bar(
        y=list(values), x=[value * factor for value in values.values()], orientation="h",
        marker={"color": ACCENT}, texttemplate=f"%{{x:{text}}}", hoverinfo="skip",
    )  # fmt: skip
    chart.update_xaxes(title=title, range=[0, factor * 1.02])
    chart.update_yaxes(autorange="reversed", automargin=True)
    return chart


def evidence(finding: Finding) -> go.Figure:
    """Return the small chart of a finding: one mark a value, hollow if a paper reports it."""
    marks = finding.marks
    chart = chart_base(height_px=70 + 24 * len(marks))
    symbols = {"reported": "circle-open", "reproduced": "circle", "third-party": "circle-dot"}
    spans = np.array([(mark.high - mark.value, mark.value - mark.low) for mark in marks])
    chart.add_scatter(
        x=[mark.value for mark in marks], y=[mark.label for mark in marks], mode="markers",
        showlegend=False,
        marker={
            "size": 10, "color": ACCENT, "line": {"width": 2},
            "symbol": [symbols[mark.kind] for mark in marks],
        },
        error_x={
            "array": np.nan_to_num(spans[:, 0]), "arrayminus": np.nan_to_num(spans[:, 1]),
            "symmetric": False, "thickness": 1.5, "color": ACCENT, "width": 0,
        },
    )  # fmt: skip
    chart.update_xaxes(title=finding.axis, title_font_size=12, nticks=5)
    if finding.is_log:
        chart.update_xaxes(type="log", dtick=1, exponentformat="power")
    chart.update_yaxes(autorange="reversed", automargin=True, tickfont_size=12)
    chart.update_layout(margin={"t": 4, "b": 36}, dragmode=False)
    return chart


def normal_scores(scores: ArrayLike, threshold: float, score: float) -> go.Figure:
    """Return where an image's score lies among the scores of held-out normal images.

    Readable on any background: Gradio gives a metric no theme of its own.
    """
    clear = "rgba(0, 0, 0, 0)"
    chart = chart_base(
        height_px=240, paper_bgcolor=clear, plot_bgcolor=clear, font={"color": "#888888"}
    )
    chart.update_layout(legend={"y": -0.6})
    chart.add_scatter(
        x=np.asarray(scores), y=np.zeros(len(np.asarray(scores))), mode="markers", name="normal",
        marker={"color": NORMAL, "size": 11, "opacity": 0.8},
    )  # fmt: skip
    chart.add_scatter(
        x=[score], y=[0], mode="markers", name="this image",
        marker={"color": DEFECT, "size": 15, "symbol": "diamond"},
    )  # fmt: skip
    chart.add_vline(x=threshold, line={"color": "gray", "dash": "dot"}, annotation_text="threshold")
    chart.update_xaxes(title="Anomaly score", gridcolor="rgba(128, 128, 128, 0.25)")
    chart.update_yaxes(visible=False)
    return chart
