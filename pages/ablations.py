"""Grids over layers, fusion, smoothing, size, backbone, schedule and seed, from the stored runs."""

import streamlit as st

from rd4ad.sweeps.missing_cells import grid_of_missing
from rd4ad.web.explorer import charts, frame, index_cache, tables, widgets
from rd4ad.web.explorer.panels import side_by_side
from rd4ad.web.explorer.screens import ablations, limitations, metric_cells

NO_REFERENCE = "nothing: show the values"
units = frame.open_page(
    "Ablations",
    "How much does each setting matter? Compare any two of layers, fusion, smoothing, image size, "
    "backbone, epochs and seed; every value comes from the distance maps of a stored run.",
    terms=("layers", "fusion", "auroc", "pro"),
)
runs = index_cache.measured()
if runs is None:
    st.stop()

with widgets.controls():
    where = widgets.choose_category(runs, "Compares the runs of another category.")
    stored = index_cache.scorings_of(*metric_cells.unqualified(where))
    rows = tables.readable(stored)
    metric = widgets.choose_metric(rows, "Changes the metric in the cells.")
    down = widgets.choose_named(
        "Rows", limitations.AXES, "down", "Sets what the rows vary.", "layers"
    )
    across = widgets.choose_named(
        "Columns", limitations.AXES, "across", "Sets what the columns vary.", "size_px"
    )
    beside = widgets.choose_named(
        "Tables",
        {"": "nothing"} | limitations.AXES,
        "facet",
        "Draws one table for each value of this setting.",
    )
settings = [name for name in (down, across, beside) if name]
others = {name: title for name, title in limitations.AXES.items() if name not in settings}
st.caption("Fixed settings: click one to change it")
fixed = widgets.choose_fixed_settings(rows, others, settings)
if len(set(settings)) < len(settings):
    st.info("Choose different settings for rows, columns and tables.")
    st.stop()

held = ablations.with_fixed(rows, fixed)
found = ablations.cells(held, metric, settings)
if found.empty:
    st.info(
        "No run combines these settings. The stored runs have: "
        + "; ".join(ablations.stored_trainings(rows))
    )
    st.stop()
named_cells = {
    f"{ablations.format_value(row[down])} · {ablations.format_value(row[across])}": row
    for row in found.to_dict("records")
}
with st.container(horizontal=True, vertical_alignment="bottom"):
    reference = widgets.choose(
        "Difference from",
        [NO_REFERENCE, *named_cells],
        "reference",
        "Shows the difference from this cell instead of the values, with its test over seeds.",
    )
    drawing = widgets.pick(
        "Chart", {"heatmap": "heatmap", "lines": "lines"}, "chart", "Draws the table otherwise."
    )
clicked: list[str] = []
for number, (value, mine) in enumerate(ablations.facets(found, beside)):
    if number == ablations.MOST_FACETS:
        st.info(f"The first {number} tables are shown: fix {limitations.AXES[beside].lower()}.")
        break
    named = f" · {limitations.AXES[beside]}: {value}" if beside else ""
    st.subheader(f"{tables.METRIC_NAMES[metric]}, {units.name}{named}")
    left, right = st.columns(2)
    means, spread = (ablations.as_table(mine, part, down, across) for part in ("mean", "sd"))
    with left:
        style = ablations.styled(mine, down, across, units.text)
        if reference != NO_REFERENCE:
            told = ablations.against(mine, named_cells[reference])
            style = ablations.styled_against(told, down, across, units.text)
        cell = widgets.table_with_cells(
            style, means,
            f"{tables.METRIC_NAMES[metric]} by {down} and {across}{named}; best: "
            + ablations.in_words(mine, down, across, units.text),
            head=limitations.AXES[down], at=f"cell{number}",
        )  # fmt: skip
        with st.expander("Copy as LaTeX"):
            title = limitations.AXES[down]
            st.code(
                ablations.latex(mine, down, across, units.text, title),
                language="latex",
                wrap_lines=True,
            )
    with right:
        y_title = f"{tables.METRIC_NAMES[metric]}, {units.name}"
        if drawing == "heatmap":
            chart = charts.heatmap(
                means, x_title=limitations.AXES[across], y_title=limitations.AXES[down],
                unit=y_title, factor=units.factor, text=f".{units.digits}f",
            )  # fmt: skip
        else:
            chart = charts.lines(
                means.T, spread.T, x_title=limitations.AXES[across], y_title=y_title,
                factor=units.factor,
            )  # fmt: skip
        widgets.show(
            chart,
            f"{tables.METRIC_NAMES[metric]} over {across}, for each {down}{named}",
            f"lines{number}",
        )
    if cell:
        clicked += ablations.runs_behind(mine, *cell, down, across)
said = (
    f"{tables.MARK}: best of its table. {ablations.ALIKE}: not statistically distinguishable from "
    "the best"
    if reference == NO_REFERENCE
    else f"Values: difference from {reference}. {ablations.ALIKE}: not statistically "
    "distinguishable from it"
)
st.caption(
    f"Rows: {limitations.AXES[down].lower()}. Columns: {limitations.AXES[across].lower()}. {said} "
    "(Welch's test over the runs of both cells, 95%, not corrected for the number of "
    "cells). ± is the standard deviation over seeds; a cell without ± is a single run, which "
    "cannot be tested. –: no such run. Click a cell to see its runs."
)
if not beside:
    side_by_side.show(found, down, across, fixed, limitations.AXES)
holes = ablations.missing_cells(stored.loc[held.index], settings)
if holes:
    with st.expander(f"Missing trainings: {len(holes)}"):
        st.markdown("A grid that fills them, for `rd4ad sweep grid.yaml --data DIR`:")
        st.code(
            grid_of_missing(holes, metric_cells.unqualified(where)[0]),
            language="yaml",
            wrap_lines=True,
        )
if clicked:
    st.subheader("Runs of the selected cell")
    behind = runs[runs["run_id"].isin(clicked)]
    st.dataframe(
        tables.with_links(behind, units.text), width="stretch", hide_index=True, placeholder="–",
        column_config={"Images": st.column_config.LinkColumn(display_text="open")},
        alt="Runs of the selected cell",
    )  # fmt: skip
    st.caption("Values are those of each run's scoring configuration (layers, fusion, smoothing).")

st.subheader("Compare two settings")


@st.fragment
def compare_settings() -> None:
    """Show all metrics of two settings and their difference."""
    known = limitations.settings(rows)
    usual, deepest = limitations.usual_pair(known)
    one, other = st.columns(2)
    with one:
        chosen = widgets.choose("First", known, "one", "Multi-seed mean of this setting.", usual)
    with other:
        against = widgets.choose(
            "Second", known, "other", "Multi-seed mean of this setting.", deepest
        )
    st.dataframe(
        limitations.styled_pair(limitations.side_by_side(rows, chosen, against), units),
        width="stretch",
        placeholder="–", alt="All metrics of two settings and their difference",
    )  # fmt: skip
    st.caption(
        "Difference: first minus second. Distinguishable: larger than the spread of the seeds of "
        "both explains (Welch's test, 95%); single runs cannot be tested."
    )


compare_settings()
