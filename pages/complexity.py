"""Table 3: what the methods cost, as published and as measured on named hosts."""

import streamlit as st

from rd4ad.web.explorer import charts, frame, index_cache, widgets
from rd4ad.web.explorer.screens import complexity

units = frame.open_page(
    "Complexity",
    "What does a heatmap cost? Inference time and memory of each method, with the quality that "
    "they buy. Times of different hosts do not compare; ratios to RD4AD on the same host do.",
)
table = complexity.table(index_cache.complexity(), index_cache.measured_costs())
st.markdown("Inference time per image relative to RD4AD, same host and backbone. "
            + complexity.ratios_in_words(table))  # fmt: skip
metric = widgets.pick(
    "Quality", complexity.QUALITIES, "quality",
    "Changes the vertical axis: the mean over MVTec AD where published, over the categories "
    "that the row names where measured.",
)  # fmt: skip
widgets.show(
    charts.frontier(
        table,
        y=metric,
        y_title=f"{complexity.QUALITIES[metric]}, {units.name}",
        factor=units.factor,
    ),
    "Inference time per image and quality: " + complexity.in_words(table, metric, units.text),
    "frontier",
)
st.caption("The area of a mark is memory. Hollow: reported by a paper. Filled: measured here.")
st.subheader("Cost and quality by method")
st.dataframe(
    complexity.styled(table, units.text),
    width="stretch",
    hide_index=True,
    placeholder="–",
    alt="Table 3",
)
if table["kind"].eq("reproduced").sum() == 0:
    widgets.empty(
        "No method was measured on this host yet. This command measures them:", "rd4ad bench"
    )
