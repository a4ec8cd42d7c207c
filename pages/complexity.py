"""Table 3: what the methods cost, as published and as measured on named hosts."""

import streamlit as st

from rd4ad.web import charts, costs, frame, reading, widgets

units = frame.open_page(
    "Complexity",
    "What a heatmap costs: seconds an image and memory against quality. Seconds of different hosts "
    "do not compare, so every row names its own; times beside RD4AD's do better.",
)
table = costs.table(reading.complexity(), reading.measured_costs())
st.markdown("Seconds an image beside RD4AD's, same host and backbone. "
            + costs.ratios_in_words(table))  # fmt: skip
figure = widgets.pick(
    "Quality", costs.QUALITIES, "quality", "Mean over MVTec AD where published; over the "
    "categories that the row names where measured.",
)  # fmt: skip
widgets.show(
    charts.frontier(
        table, y=figure, y_title=f"{costs.QUALITIES[figure]}, {units.name}", factor=units.factor
    ),
    "Seconds an image against quality: " + costs.in_words(table, figure, units.text),
    "frontier",
)
st.caption("Area of a mark: memory. Hollow: published. Filled: measured here.")
st.subheader("Figures")
st.dataframe(
    costs.styled(table, units.text),
    width="stretch",
    hide_index=True,
    placeholder="–",
    alt="Table 3",
)
if table["kind"].eq("reproduced").sum() == 0:
    widgets.empty("Nothing was measured on this host yet. This does:", "rd4ad bench")
