"""Table 3: what the methods cost, as published and as measured on named hosts."""

import streamlit as st

from rd4ad.web.explorer import charts, cost_charts, frame, index_cache, widgets
from rd4ad.web.explorer.screens import complexity

units = frame.open_page(
    "Complexity",
    "What does a heatmap cost? Inference time and memory of each method, with the quality that "
    "they buy. Times of different hosts do not compare; ratios to RD4AD on the same host do.",
    terms=("auroc", "pro"),
)
table = complexity.table(index_cache.complexity(), index_cache.measured_costs())
sizes = complexity.sizes_px(table)
size_px = 256
if sizes:
    size_px = int(
        widgets.pick(
            "Image size measured here",
            {str(size): f"{size} px" for size in sizes},
            "size_px",
            "Changes the bars of what was measured; published rows state no size.",
        )
    )
st.subheader("Cost relative to RD4AD, same host and backbone")
rows = complexity.relative(table, size_px)
widgets.show(
    cost_charts.cost_bars(rows),
    "Inference time relative to RD4AD: " + complexity.ratios_in_words(rows),
    "ratios",
)
st.caption(
    "Bars to the right of 1 cost more than RD4AD, to the left less. Hollow: as a paper reports. "
    "Filled: measured here, in turn with RD4AD in one run."
)
st.subheader("Quality for time")


@st.fragment
def show_quality() -> None:
    """Show time against a metric of quality."""
    metric = widgets.pick(
        "Quality", complexity.QUALITIES, "quality",
        "Changes the vertical axis: the mean over MVTec AD where published, over the categories "
        "that the row names where measured.",
    )  # fmt: skip
    widgets.show(
        cost_charts.frontier(
            table,
            y=metric,
            y_title=f"{complexity.QUALITIES[metric]}, {units.name}",
            factor=units.factor,
            width_px=charts.PHONE_PX if widgets.is_phone() else charts.DESKTOP_PX,
        ),
        "Inference time per image and quality: " + complexity.in_words(table, metric, units.text),
        "frontier",
    )
    st.caption(
        "The area of a mark is memory. Hollow: reported by a paper. Filled: measured here. The "
        "dotted lines join what no other method of the same kind beats in both. A label that would "
        "cover a mark is left out: hover over the mark."
    )


show_quality()
st.subheader("Cost and quality by method")


@st.fragment
def show_table() -> None:
    """Show the table, with its main columns or all."""
    every = st.toggle(
        "All columns",
        key="every",
        bind="query-params",
        help="Adds disk, parameters, fitting, host and source.",
    )
    st.dataframe(
        complexity.styled(table, units.text, every=every),
        width="stretch",
        hide_index=True,
        column_config={"Method": st.column_config.TextColumn(pinned=True)},
        placeholder="–",
        alt="Table 3",
    )


show_table()
if table["kind"].eq("reproduced").sum() == 0:
    widgets.empty(
        "No method was measured on this host yet. This command measures them:", "rd4ad bench"
    )
