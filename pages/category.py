"""One category: every metric known of it, its curves, and how its scores separate."""

import pandas as pd
import streamlit as st

from rd4ad.runs.published import OBJECTS, TEXTURES
from rd4ad.web.explorer import charts, frame, index_cache, run_cache, tables, widgets
from rd4ad.web.explorer.screens import category as screen
from rd4ad.web.explorer.screens import certainty, metric_cells, reproduction

MOST_DOTS, MOST_ROWS, N_CURVES = 40, 200, 4
units = frame.open_page(
    "Category",
    "How well does each method do on one category? Published and measured values, the curves "
    "behind the measured ones, and how far apart the scores of normal and defective images lie.",
    terms=("auroc", "pro", "f1", "calibration"),
)
runs = index_cache.measured()
names = metric_cells.categories(runs, TEXTURES + OBJECTS)

with widgets.controls():
    chosen = widgets.choose(
        "Category", names, "category",
        "Shows another category: those of MVTec AD first, then the generated parts.",
        default=metric_cells.qualified(metric_cells.MVTEC, "transistor"),
    )  # fmt: skip
    metric = widgets.pick(
        "Metric",
        metric_cells.METRICS,
        "metric",
        "Changes what the dots and the comparison below show.",
    )
with widgets.controls("sources"):
    offered = metric_cells.sources_of(runs)
    sources = widgets.choose_sources(
        offered, [name for name in offered if name in metric_cells.SHOWN_AT_FIRST]
    )
    every = st.toggle(
        "All settings and columns",
        key="every",
        bind="query-params",
        help="Otherwise there is one setting for each method, backbone and size of this project, "
        "and the tables show their main columns.",
    )
dataset, category = metric_cells.unqualified(chosen)
known = [] if runs is None else [index_cache.cells_of(dataset, metric)]
known += [index_cache.published()] if dataset == metric_cells.MVTEC else []
cells = metric_cells.of_category(known, metric, category, sources)
mine = pd.DataFrame() if runs is None else tables.of_category(runs, dataset, category)
shown = cells if every or cells.empty else metric_cells.main_settings(cells)

left, right = st.columns(2)
with left:
    st.subheader(f"{metric_cells.METRICS[metric]} of {metric_cells.row_name(category).lower()}")
    if shown.empty:
        st.info("No value of this metric is known for this category.")
    else:
        dots = shown.tail(MOST_DOTS)  # the best are last
        widgets.show(
            charts.dots(dots, metric_cells.short_labels(dots), units.factor, units.name),
            f"{metric_cells.METRICS[metric]} of {category} by method, {units.name}: "
            + tables.in_words(dots, units.text),
            "dots",
        )
        st.caption(
            "Hollow: reported by a paper. Filled: reproduced here. Dotted: a third party."
            + (f" The best {MOST_DOTS} are shown." if len(dots) == MOST_DOTS else "")
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
            widgets.show_links(
                {"Images and threshold of this run": ("pages/threshold.py", {"run": run_id})},
                frame.kept_query(),
            )


@st.fragment
def show_curves() -> None:
    """Show one kind of curve of the chosen settings."""
    kind = widgets.pick(
        "Curve",
        charts.CURVES,
        "curve",
        "Changes the kind of curve; hover over a curve for its threshold.",
    )
    settings = screen.by_setting(mine)
    drawn = widgets.choose_settings(list(settings), screen.one_a_method(mine)[:N_CURVES])
    curves = run_cache.curves_by_setting(mine, drawn, kind)
    if not curves:
        st.info("This curve is not defined for these runs (no masks, or one kind of image only).")
    else:
        limit = 0.3 if kind == "pro" else None
        widgets.show(
            charts.curve_chart(kind, curves, limit=limit),
            f"{charts.CURVES[kind]} of {len(curves)} settings of {category}",
            "curves",
        )
        st.caption(
            "A line is the mean over the seeds of a setting, its band runs from the lowest to the "
            "highest of them."
            + (
                " Shaded: the area up to a false-positive rate of 0.3, the AUPRO of the first."
                if limit
                else ""
            )
        )


if not mine.empty:
    st.subheader("Curves")
    show_curves()
    st.subheader("Measured here")
    st.dataframe(
        screen.settings_table(mine.head(MOST_ROWS), units.text),
        width="stretch",
        hide_index=True,
        placeholder="–",
        column_config={"Setting": st.column_config.TextColumn(pinned=True)},
        alt=f"Main metrics of every setting measured on {category}",
    )
    st.caption(
        "± is the standard deviation over seeds. In brackets: the 95% interval over test images of "
        "a single run; it does not cover the spread between seeds."
        + (f" The first {MOST_ROWS} of {len(mine)} runs." if len(mine) > MOST_ROWS else "")
    )

pairs = reproduction.pairs(shown)
if not pairs.empty and not every:
    st.subheader("Reported and reproduced")
    st.dataframe(
        tables.styled_pairs(pairs.drop(columns="category"), units.text),
        width="stretch",
        hide_index=True,
        column_config={"Images": st.column_config.LinkColumn(display_text="open")},
        placeholder="–",
        alt=f"Measured metrics of {category} compared with the paper's",
    )
if every:
    compared = reproduction.reported_beside(cells)
    if not compared.empty:
        st.subheader("Reported and reproduced, every source")
        st.dataframe(
            tables.styled_reproduction(compared, units.text), width="stretch", hide_index=True,
            placeholder="–", alt=f"Measured metrics of {category} compared with reported ones",
        )  # fmt: skip
    if not mine.empty:
        st.subheader("Measured runs, every column")
        st.dataframe(
            tables.runs_in_words(mine.head(MOST_ROWS), units.text), width="stretch",
            hide_index=True, placeholder="–", alt=f"Measured runs of {category}",
        )  # fmt: skip
        seeds = certainty.seeds_table(index_cache.spread_of(dataset, category), units.text)
        if not seeds.empty:
            st.dataframe(seeds, width="stretch", hide_index=True, placeholder="–",
                         alt=f"Mean and standard deviation over seeds, {category}")  # fmt: skip
            st.caption("Multi-seed mean ± standard deviation.")
if not pairs.empty:
    st.caption(
        "Difference: reproduced minus reported. Where the backbones differ, it includes the "
        "difference between backbones: the papers mostly use WideResNet-50-2."
    )

panels = run_cache.images_by_category(runs, dataset, names)
present = {name: images for name, images in panels.items() if images is not None}
if present:
    st.subheader("Overview: scores of normal and defective images in every measured category")
    st.caption(
        "Normal (light) and defective (dark) test images, one panel per category. The less they "
        "overlap, the better the detector separates them. " + screen.without_runs(panels)
    )
    widgets.show(
        charts.small_histograms(present),
        "Small histograms of scores: " + ", ".join(present),
        "overview",
    )
