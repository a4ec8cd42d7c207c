"""Grids over layers, fusion, smoothing, size, backbone and seed, from the stored runs."""

import streamlit as st

from rd4ad.web import charts, frame, reading, studies, tables, widgets

units = frame.open_page(
    "Ablations",
    "What a setting is worth: any two of them against each other, from the stored distance maps of "
    "every run. A cell without a run is shown as missing.",
)
index = reading.measured()
if index is None:
    st.stop()

first, second, third, fourth = st.columns(4, vertical_alignment="bottom")
with first:
    where = widgets.choose_category(index, "Whose runs are laid out.")
with second:
    metric = widgets.choose_metric(index, "What is compared.")
with third:
    down = widgets.choose_named("Down", studies.AXES, "down", "Setting of the rows.", "layers")
with fourth:
    across = widgets.choose_named(
        "Across", studies.AXES, "across", "Setting of the columns.", "size_px"
    )
rows = studies.of_category(index, where)
with st.expander("Hold the other settings"):
    fixed = widgets.hold(rows, [name for name in studies.AXES if name not in (down, across)])
if down == across:
    st.info("Choose two different settings.")
    st.stop()

table = studies.grid(rows, metric, down, across, fixed)
if table.empty:
    st.info("No run has these settings: hold fewer of them.")
    st.stop()
left, right = st.columns(2)
with left:
    st.subheader(f"{tables.FIGURES[metric]}, {units.name}")
    st.dataframe(
        studies.styled_grid(table, units.text), width="stretch",
        placeholder="–", alt=f"{tables.FIGURES[metric]} by {down} and {across}",
    )  # fmt: skip
    st.caption(
        f"Down: {studies.AXES[down].lower()}; across: {studies.AXES[across].lower()}. "
        f"{tables.MARK}: best of the grid. Mean over what is neither laid out nor held; a dash: "
        "no such run."
    )
with right:
    widgets.show(
        charts.lines(
            table.T, x_title=studies.AXES[across],
            y_title=f"{tables.FIGURES[metric]}, {units.name}", factor=units.factor,
        ),
        f"Lines of {tables.FIGURES[metric]} over {across}, one for each {down}",
        "lines",
    )  # fmt: skip

st.subheader("Two settings side by side")
known = studies.settings(rows)
usual, deepest = studies.usual_pair(known)
one, other = st.columns(2)
with one:
    chosen = widgets.choose("First", known, "one", "Mean over its seeds.", usual)
with other:
    against = widgets.choose("Second", known, "other", "Mean over its seeds.", deepest)
st.dataframe(
    studies.styled_pair(studies.side_by_side(rows, chosen, against), units), width="stretch",
    placeholder="–", alt="All figures of two settings and their difference",
)  # fmt: skip
st.caption("Difference: first minus second. Single runs: a small difference may be chance.")
