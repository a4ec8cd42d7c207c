"""One category: every metric known of it, its curves, and how its scores separate."""

import pandas as pd
import streamlit as st

from rd4ad.runs.published import OBJECTS, TEXTURES
from rd4ad.web.explorer import certainty, charts, frame, index_cache, run_cache, tables, widgets
from rd4ad.web.explorer.screens import leaderboard, reproduction

MOST_DOTS, MOST_ROWS, MOST_CURVES = 40, 200, 12
units = frame.open_page(
    "Category",
    "How well does each method do on one category? Published and measured values, the curves "
    "behind the measured ones, and how far apart the scores of normal and defective images lie.",
)
runs = index_cache.measured()
names = leaderboard.categories(runs, TEXTURES + OBJECTS)

first, second, third = st.columns([6, 9, 8], vertical_alignment="top")
with first:
    chosen = widgets.choose(
        "Category", names, "category",
        "Shows another category: those of MVTec AD first, then the generated parts.",
        default=leaderboard.qualified(leaderboard.MVTEC, "transistor"),
    )  # fmt: skip
dataset, category = leaderboard.unqualified(chosen)
with second:
    metric = widgets.pick(
        "Metric",
        leaderboard.METRICS,
        "metric",
        "Changes what the dots and the comparison below show.",
    )

with third:
    sources = widgets.choose_sources(leaderboard.SOURCES, (leaderboard.PAPER, leaderboard.OURS))
cells = [] if runs is None else [index_cache.cells_of(dataset, metric)]
cells += [index_cache.published()] if dataset == leaderboard.MVTEC else []
cells = leaderboard.of_category(cells, metric, category, sources)
mine = pd.DataFrame() if runs is None else tables.of_category(runs, dataset, category)

left, right = st.columns(2)
with left:
    st.subheader(f"{leaderboard.METRICS[metric]} of {leaderboard.row_name(category).lower()}")
    if cells.empty:
        st.info("No value of this metric is known for this category.")
    else:
        cells = cells.tail(MOST_DOTS)  # the best are last
        widgets.show(
            charts.dots(cells, leaderboard.labels(cells), units.factor, units.name),
            f"{leaderboard.METRICS[metric]} of {category} by method, {units.name}: "
            + tables.in_words(cells, units.text),
            "dots",
        )
        st.caption(
            "Hollow: reported by a paper. Filled: reproduced here. Dotted: a third party."
            + (f" The best {MOST_DOTS} are shown." if len(cells) == MOST_DOTS else "")
        )
with right:
    st.subheader("Scores of test images")
    if mine.empty:
        widgets.empty(
            "No run of this category is stored, so there are no scores and no curves. These "
            "commands store one:",
            f"rd4ad train --data DIR --category {category} --out {category}.safetensors\n"
            f"rd4ad evaluate {category}.safetensors --data DIR --category {category} "
            f'--dataset "{dataset}"\nrd4ad results index',
        )
    else:
        run_id = widgets.choose_run(mine, "Shows the scores of another run.")
        by_type = st.toggle(
            "By defect type",
            key="by_type",
            bind="query-params",
            help="Gives each defect type its own color.",
        )
        run = run_cache.run_named(run_id)
        if run is not None:
            images = run_cache.images_of(run)
            widgets.show(
                charts.histogram(images, by_type=by_type),
                "Histogram of anomaly scores: " + tables.scores_in_words(images),
                "histogram",
            )

compared = reproduction.reported_beside(cells)
if not compared.empty:
    st.subheader("Reported and reproduced")
    st.dataframe(
        tables.styled_reproduction(compared, units.text), width="stretch", hide_index=True,
        placeholder="–", alt=f"Measured metrics of {category} compared with reported ones",
    )  # fmt: skip
    st.caption(
        "Difference: reproduced minus reported. Where the backbones differ, it includes the "
        "difference between backbones: the papers mostly use WideResNet-50-2."
    )

if not mine.empty:
    st.subheader("Measured runs")
    st.dataframe(
        tables.runs_in_words(mine.head(MOST_ROWS), units.text), width="stretch", hide_index=True,
        placeholder="–", alt=f"Measured runs of {category}",
    )  # fmt: skip
    st.caption(
        "In brackets: the 95% interval over test images, where the run stores one. It does not "
        "cover the spread between seeds."
        + (f" The first {MOST_ROWS} of {len(mine)} runs." if len(mine) > MOST_ROWS else "")
    )
    seeds = certainty.seeds_table(index_cache.spread_of(dataset, category), units.text)
    if not seeds.empty:
        st.dataframe(seeds, width="stretch", hide_index=True, placeholder="–",
                     alt=f"Mean and standard deviation over seeds, {category}")  # fmt: skip
        st.caption("Multi-seed mean ± standard deviation.")
    st.subheader("Curves")
    kind = widgets.pick(
        "Curve",
        charts.CURVES,
        "curve",
        "Changes the kind of curve; hover over a curve for its threshold.",
    )
    drawn = widgets.choose_runs(mine, "Draws the curves of these runs.", MOST_CURVES)
    stored = run_cache.curves_by_label(drawn, kind)
    if not stored:
        st.info("This curve is not defined for these runs (no masks, or one kind of image only).")
    else:
        limit = 0.3 if kind == "pro" else None
        widgets.show(
            charts.curve_chart(kind, stored, limit=limit),
            f"{charts.CURVES[kind]} of {len(stored)} runs of {category}",
            "curves",
        )
        if limit:
            st.caption(
                "Shaded: the area up to a false-positive rate of 0.3, which is the AUPRO of the "
                "first run."
            )

st.subheader("Overview: scores of normal and defective images in every category")
st.caption(
    "Normal (light) and defective (dark) test images, one panel per category. The less they "
    "overlap, the better the detector separates them."
)
panels = run_cache.images_by_category(runs, dataset, names)
widgets.show(
    charts.small_histograms(panels),
    "Small histograms of scores: "
    + "; ".join(f"{name}: {'no run' if t is None else 'shown'}" for name, t in panels.items()),
    "overview",
)
