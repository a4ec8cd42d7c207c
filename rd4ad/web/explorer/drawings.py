"""Small drawings of what a term means. Sketches: no value in them was measured."""

from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rd4ad.web.explorer.style import ACCENT, DEFECT, NORMAL, clear

_LIMITS = {"MVTec, limit 0.3": 0.3, "MVTec, limit 0.05": 0.05, "no limit (1.0)": 1.0}


def _sketch(height_px: int = 210) -> go.Figure:
    margin = {"l": 10, "r": 10, "t": 10, "b": 34}
    return go.Figure(layout={"height": height_px, "margin": margin, "showlegend": False})


def _area(chart: go.Figure, x: np.ndarray, y: np.ndarray, hue: str = ACCENT) -> None:
    chart.add_scatter(x=x, y=y, mode="lines", line={"color": hue, "width": 2}, fill="tozeroy",
                      fillcolor=clear(hue))  # fmt: skip


def auroc() -> go.Figure:
    """Return a ROC curve with the area under it, and chance."""
    chart, x = _sketch(), np.linspace(0, 1, 101)
    _area(chart, x, x**0.2)
    chart.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": "gray"})
    chart.add_annotation(x=0.72, y=0.62, text="chance: 50%", showarrow=False)
    chart.update_xaxes(title="normal ones called defective", range=[0, 1], tickvals=[0, 1])
    return chart.update_yaxes(title="defects found", range=[0, 1.02], tickvals=[0, 1])


def pro(name: str = "MVTec, limit 0.3", height_px: int = 210) -> go.Figure:
    """Return the curve of a definition of PRO and the part of its area that counts.

    Args:
        name: a key of `rd4ad.web.explorer.screens.pro_auditor.DEFINITIONS`.
        height_px: of the drawing.
    """
    chart, x = _sketch(height_px), np.linspace(0, 1, 101)
    if name in _LIMITS:
        inside = x[x <= _LIMITS[name] + 1e-9]
        _area(chart, inside, inside**0.25)
        chart.add_scatter(x=x, y=x**0.25, mode="lines", line={"color": ACCENT, "width": 2})
        chart.add_vline(x=_LIMITS[name], line={"dash": "dot", "color": "gray"})
    else:
        for power, end in ((0.15, 0.29), (0.3, 0.24), (0.6, 0.27)):
            own = x[x <= end]
            _area(chart, own, own**power)
    chart.update_xaxes(range=[0, 1], tickvals=[0, 0.3, 1], title="false-positive rate",
                       title_font_size=11)  # fmt: skip
    return chart.update_yaxes(range=[0, 1.02], tickvals=[0, 1], title="overlap", title_font_size=11)


def f1() -> go.Figure:
    """Return precision, recall and F1 over the threshold, its maximum marked."""
    chart, x = _sketch(), np.linspace(0, 1, 101)
    recall, precision = (
        1 / (1 + np.exp(14 * (x - 0.6))),
        0.35 + 0.65 / (1 + np.exp(-14 * (x - 0.4))),
    )
    score = 2 * precision * recall / (precision + recall)
    for values, hue, name in ((precision, "gray", "precision"), (recall, "gray", "recall"),
                              (score, ACCENT, "F1")):  # fmt: skip
        chart.add_scatter(x=x, y=values, mode="lines", line={"color": hue, "width": 2})
        at = 8 if name != "precision" else 92
        chart.add_annotation(x=x[at], y=values[at] + 0.07, text=name, showarrow=False)
    best = int(score.argmax())
    chart.add_scatter(x=[x[best]], y=[score[best]], mode="markers",
                      marker={"size": 11, "color": DEFECT})  # fmt: skip
    chart.add_annotation(x=x[best], y=score[best] - 0.12, text="F1-max", showarrow=False)
    chart.update_xaxes(title="threshold", tickvals=[])
    return chart.update_yaxes(range=[0, 1.15], tickvals=[0, 1])


def layers() -> go.Figure:
    """Return three grids of positions, from fine to coarse."""
    chart = make_subplots(1, 3, subplot_titles=["layer 1: fine", "layer 2", "layer 3: coarse"])
    for column, n in enumerate((16, 8, 4), start=1):
        y, x = np.mgrid[:n, :n]
        marked = np.exp(-((x - 0.6 * n) ** 2 + (y - 0.4 * n) ** 2) / (0.02 * n * n))
        chart.add_heatmap(z=marked, colorscale=[[0, "#E4E7EA"], [1, DEFECT]], showscale=False,
                          xgap=1, ygap=1, row=1, col=column)  # fmt: skip
    chart.update_xaxes(visible=False)
    chart.update_yaxes(visible=False)
    return chart.update_layout(height=220, margin={"l": 10, "r": 10, "t": 30, "b": 10})


def fusion() -> go.Figure:
    """Return the profiles of two layers, their sum and their product."""
    chart = make_subplots(1, 2, subplot_titles=["two layers", "sum and product"])
    x = np.linspace(0, 1, 201)
    fine = np.exp(-(((x - 0.3) / 0.04) ** 2)) + 0.9 * np.exp(-(((x - 0.75) / 0.05) ** 2))
    coarse = 0.9 * np.exp(-(((x - 0.72) / 0.15) ** 2))
    curves = (
        (fine, ACCENT, 1),
        (coarse, NORMAL, 1),
        (fine + coarse, "gray", 2),
        (fine * coarse, DEFECT, 2),
    )
    for values, hue, column in curves:
        chart.add_scatter(x=x, y=values, mode="lines", line={"color": hue, "width": 2},
                          row=1, col=column)  # fmt: skip
    chart.update_xaxes(title="across the image", tickvals=[])
    chart.update_yaxes(tickvals=[])
    return chart.update_layout(height=220, showlegend=False,
                               margin={"l": 10, "r": 10, "t": 30, "b": 34})  # fmt: skip


def calibration() -> go.Figure:
    """Return scores of held-out normal images, the threshold above them, and a defect beyond."""
    chart, x = _sketch(), np.linspace(0, 1, 201)
    _area(chart, x, np.exp(-(((x - 0.25) / 0.08) ** 2)), NORMAL)
    _area(chart, x, 0.5 * np.exp(-(((x - 0.7) / 0.13) ** 2)), DEFECT)
    chart.add_vline(x=0.45, line={"color": "gray", "dash": "dot"})
    for at, height, said in ((0.25, 1.08, "held-out normal"), (0.7, 0.6, "defects, not yet seen"),
                             (0.45, 0.9, "threshold")):  # fmt: skip
        chart.add_annotation(x=at, y=height, text=said, showarrow=False)
    chart.update_xaxes(title="anomaly score", tickvals=[])
    return chart.update_yaxes(title="images", tickvals=[], range=[0, 1.2])


DRAWINGS: dict[str, Callable[[], go.Figure]] = {
    "auroc": auroc, "pro": pro, "f1": f1, "layers": layers, "fusion": fusion,
    "calibration": calibration,
}  # fmt: skip
"""The drawing of each term of `rd4ad.web.explorer.glossary`."""
