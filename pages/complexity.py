"""Table 3: what the methods cost, as published and as measured on named hosts."""

import streamlit as st

from rd4ad.web.explorer import charts, frame, index_cache, widgets
from rd4ad.web.explorer.screens import complexity

units = frame.open_page(
    "Complexity",
    "What a heatmap costs: seconds per image and memory against quality. Seconds of different hosts "
    "do not compare, so every row names its own; times beside RD4AD's do better.",
)
table = complexity.table(index_cache.complexity(), index_cache.measured_costs())
st.markdown("Seconds an image beside RD4AD's, same host and backbone. "
            + complexity.ratios_in_words(table))  # fmt: skip
metric = widgets.pick(
    "Quality", complexity.QUALITIES, "quality", "Mean over MVTec AD where published; over the "
    "categories that the row names where measured.",
)  # fmt: skip
widgets.show(
    charts.frontier(
        table,
        y=metric,
        y_title=f"{complexity.QUALITIES[metric]}, {units.name}",
        factor=units.factor,
    ),
    "Seconds an image against quality: " + complexity.in_words(table, metric, units.text),
    "frontier",
)
st.caption("Area of a mark: memory. Hollow: published. Filled: measured here.")
st.subheader("Metrics")
st.dataframe(
    complexity.styled(table, units.text),
    width="stretch",
    hide_index=True,
    placeholder="–",
    alt="Table 3",
)
if table["kind"].eq("reproduced").sum() == 0:
    widgets.empty("Nothing was measured on this host yet. This does:", "rd4ad bench")
