"""Plotly charts of what methods cost: time and memory against RD4AD's, and against quality."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rd4ad.web.explorer.charts import DESKTOP_PX, HEIGHT_PX, chart_base
from rd4ad.web.explorer.style import color, marker


def cost_bars(rows: pd.DataFrame) -> go.Figure:
    """Return time and memory relative to RD4AD as bars from 1, on logarithmic axes.

    Args:
        rows: `method`, `label`, `kind`, `seconds_ratio` and `memory_ratio`, the fastest first.
    """
    chart = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.04)
    labels = [
        label + (", as published" if kind == "reported" else "")
        for label, kind in zip(rows["label"], rows["kind"], strict=True)
    ]
    for column, (name, unit) in enumerate((("seconds_ratio", "time"), ("memory_ratio", "memory"))):
        ratios = rows[name].to_numpy(float)
        hues = [color(method) for method in rows["method"]]
        is_reported = rows["kind"].eq("reported").to_numpy()
        chart.add_bar(
            y=labels, x=ratios - 1, base=1, orientation="h", name=unit, showlegend=False,
            marker={
                "color": ["rgba(0,0,0,0)" if hollow else hue
                          for hue, hollow in zip(hues, is_reported, strict=True)],
                "line": {"color": hues, "width": 2},
            },
            customdata=ratios, text=[f"{ratio:.1f}" for ratio in ratios], textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{customdata:.2f} × RD4AD's " + unit + "<extra></extra>",
            row=1, col=column + 1,
        )  # fmt: skip
        reach = np.log10([min(np.nanmin(ratios), 1), max(np.nanmax(ratios), 1)])
        chart.update_xaxes(
            title=f"{unit}, × RD4AD", type="log",
            range=[reach[0] - 0.2, reach[1] + 0.25],
            tickvals=_TICKS, ticktext=[f"{tick:g}" for tick in _TICKS], row=1, col=column + 1,
        )  # fmt: skip
        chart.add_vline(x=1, line={"color": "gray"}, row=1, col=column + 1)
    chart.update_yaxes(autorange="reversed", automargin=True)
    return chart.update_layout(
        height=110 + 30 * len(rows), margin={"l": 10, "r": 10, "t": 10, "b": 10}
    )


MARGIN = 0.12
"""Room for labels on either side of the outermost marks, as a share of what lies between them."""
_TICKS = [digit * 10.0**power for power in range(-4, 3) for digit in (1, 2, 5)]


def frontier(
    points: pd.DataFrame, *, y: str, y_title: str, factor: float, width_px: int = DESKTOP_PX
) -> go.Figure:
    """Return seconds per image against a metric of quality; the area of a mark is memory.

    A line joins what no other method of the same hosts beats in both: Pareto's front.

    Args:
        points: `method`, `label`, `kind`, `seconds_per_image`, `memory_mb` and the column `y`.
        y: which metric.
        y_title: its name with the unit.
        factor: times the fraction is what is shown.
        width_px: of the plot; a label that would meet another or a mark at this width is left out.
    """
    chart = chart_base(HEIGHT_PX + 60)
    known = points.dropna(subset=["seconds_per_image", y])
    for kind, mine in known.groupby("kind", sort=False):
        best = pareto(mine["seconds_per_image"], mine[y])
        front = mine[best].sort_values("seconds_per_image")
        if len(front) > 1:
            chart.add_scatter(
                x=front["seconds_per_image"], y=front[y] * factor, mode="lines",
                line={"color": "gray", "width": 1, "dash": "dot"}, hoverinfo="skip",
                showlegend=False, name=f"Pareto front, {kind}",
            )  # fmt: skip
    sizes = [
        12.0 if np.isnan(memory) else max(10.0, min(np.sqrt(memory), 40.0))
        for memory in known["memory_mb"]
    ]
    seconds = np.log10(known["seconds_per_image"])
    room = MARGIN * (seconds.max() - seconds.min() or 1)
    sides = _label_sides(seconds, known[y], known["label"], sizes, width_px)
    for row, side, size in zip(known.to_dict("records"), sides, sizes, strict=True):
        symbol = marker(row["method"]) + ("-open" if row["kind"] == "reported" else "")
        chart.add_scatter(
            x=[row["seconds_per_image"]], y=[row[y] * factor], name=row["label"],
            mode="markers+text" if side else "markers", text=[row["label"]],
            textposition=side or "top center", showlegend=False,
            marker={
                "size": size, "color": color(row["method"]), "symbol": symbol, "line": {"width": 3},
            },
            hovertemplate=f"{row['label']}<br>%{{x}} s per image<br>{row['memory_mb']:.0f} MB<br>"
            "%{y:.2f}<extra></extra>",
        )  # fmt: skip
    chart.update_xaxes(
        title="Inference time, s per image (log scale)", type="log",
        tickvals=_TICKS, ticktext=[f"{tick:g}" for tick in _TICKS],
        range=[seconds.min() - room, seconds.max() + room] if len(known) else None,
    )  # fmt: skip
    chart.update_yaxes(title=y_title)
    return chart


def pareto(seconds: Iterable[float], quality: Iterable[float]) -> list[bool]:
    """Return which points no other beats in both: faster at least as good, or better as fast.

    >>> pareto([1, 2, 3], [0.8, 0.7, 0.9])
    [True, False, True]
    """
    points = list(zip(seconds, quality, strict=True))
    return [
        not any(t <= time and q >= good and (t, q) != (time, good) for t, q in points)
        for time, good in points
    ]


def _label_sides(
    x: Iterable[float],
    y: Iterable[float],
    labels: Iterable[str],
    sizes: Iterable[float],
    width_px: int,
) -> list[str]:
    """Return where each point's label meets no other label and no mark; "" where it always does.

    >>> _label_sides([0, 0.01, 1], [0, 0.01, 1], ["MKD", "MF", "SPADE"], [16, 16, 16], 640)
    ['bottom center', 'top center', 'top center']

    The plot is 300 px high, letters are 6 px wide and 14 high.
    """
    inside = width_px / (1 + 2 * MARGIN)
    room = MARGIN * inside
    across, up = (_spread_over(values, px) for values, px in ((x, inside), (y, 300)))
    radii = [size / 2 for size in sizes]
    marks = [
        (a - r, u - r, a + r, u + r) for a, u, r in zip(across, up, radii, strict=True)
    ]  # fmt: skip
    taken: list[tuple[float, float, float, float]] = []
    sides = []
    for i, (a, u, r, label) in enumerate(zip(across, up, radii, labels, strict=True)):
        half = 3 * len(label)
        centers = {
            "top center": (a, u + r + 8), "bottom center": (a, u - r - 8),
            "middle right": (a + half + r + 2, u), "middle left": (a - half - r - 2, u),
        }  # fmt: skip
        boxes = {side: (cx - half, cy - 7, cx + half, cy + 7) for side, (cx, cy) in centers.items()}
        others = taken + marks[:i] + marks[i + 1 :]
        free = [
            side
            for side, box in boxes.items()
            if box[0] >= -room
            and box[2] <= inside + room
            and not any(_overlap(box, one) for one in others)
        ]
        sides.append(free[0] if free else "")
        if free:
            taken.append(boxes[free[0]])
    return sides


def _spread_over(values: Iterable[float], px: float) -> list[float]:
    found = np.asarray(list(values), float)
    extent = float(np.ptp(found)) if len(found) else 0.0
    return list((found - found.min()) / extent * px) if extent else [px / 2] * len(found)


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
