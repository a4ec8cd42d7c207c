"""The same maps under every definition of PRO."""

import streamlit as st

from rd4ad.web.explorer import charts, drawings, frame, index_cache, run_cache, tables, widgets
from rd4ad.web.explorer.screens import pro_auditor

EVERY = "all sources"
units = frame.open_page(
    "PRO auditor",
    "How much does the definition of PRO change the value? Compare all definitions on the same "
    "anomaly maps, of a stored run or your own, and see which one each paper used.",
    terms=("pro",),
)
runs = index_cache.measured()
example = None if runs is None else pro_auditor.example_category(runs)


def load_example() -> None:
    """Choose the category whose maps and masks are both here, so that every curve is drawn."""
    st.session_state["category"] = example
    st.query_params.pop("run", None)


left, right = st.columns([3, 1], vertical_alignment="bottom")
with left:
    own = st.file_uploader(
        "Your own anomaly maps: an NPZ file with the arrays `maps` and `masks`, both (N, H, W)",
        type="npz",
        max_upload_size=100,
        help="Replaces the stored run. Write it with numpy.savez('mine.npz', maps=maps, "
        "masks=masks); higher is more anomalous. It stays in memory and is deleted when you leave "
        "the page.",
    )
with right:
    if example is not None:
        st.button("Load an example", on_click=load_example, width="stretch",
                  help="Shows a generated part, whose maps and masks are both here.")  # fmt: skip
found = None
if own is not None:
    try:
        found = run_cache.audited(pro_auditor.read_npz(own.getvalue()))
    except ValueError as error:
        st.error(f"{own.name}: {error}", icon=":material/error:")
        st.stop()
elif runs is not None:
    with widgets.controls():
        run = run_cache.run_named(
            widgets.choose_run(runs, "Compares the definitions on another run.")
        )
    if run is None:
        st.stop()
    found = run_cache.audited_run(run)

if found is not None:
    left, right = st.columns([2, 3])
    with left:
        st.subheader(f"PRO by definition, {units.name}")
        widgets.show(
            charts.bars(found.metrics, title=f"PRO, {units.name}", factor=units.factor,
                        text=f".{units.digits}f"),
            "PRO by definition: " + tables.pairs_in_words(found.metrics, units.text),
            "metrics",
        )  # fmt: skip
        st.markdown(tables.spread(found.metrics, units.text))
        if found.note:
            st.caption(found.note)
    with right:
        st.subheader("PRO curves")
        if found.curves:
            widgets.show(
                charts.curve_chart("pro", found.curves, limit=0.3),
                "PRO curves: whole category, and mean of each image's own",
                "curves",
            )
        else:
            st.info("No curve is defined: all masks are empty, or all maps are constant.")
    st.caption(
        "From the command line: `rd4ad score --maps FOLDER --data DIR --category NAME` computes "
        "the same values for a folder of maps (TIFF or NPY) written by any program."
    )

st.subheader("What each definition measures")
for place, (name, sentence) in zip(st.columns(4), pro_auditor.DEFINITIONS.items(), strict=True):
    with place:
        st.markdown(f"**{name}**")
        st.plotly_chart(drawings.pro(name, height_px=150), width="stretch", key=f"drawing-{name}",
                        alt=f"{name}: {sentence}", config={"staticPlot": True})  # fmt: skip
        st.caption(sentence)

st.subheader("Which definition did this paper use?")
sources = tables.pro_definitions(index_cache.published())


@st.fragment
def show_sources() -> None:
    """Show which source used which definition."""
    with widgets.controls("sources"):
        asked = widgets.choose(
            "Source", [EVERY, *dict.fromkeys(sources["By"])], "source",
            "Keeps the values that this source printed.",
        )  # fmt: skip
    st.dataframe(
        sources if asked == EVERY else sources[sources["By"] == asked],
        width="stretch",
        hide_index=True,
        placeholder="–",
        alt="Definitions of PRO by source",
        column_config={"Definition": st.column_config.TextColumn(width="medium")},
    )
    st.caption(
        "Not stated: the source names neither the limit nor whether regions are pooled over the "
        "category, so its values cannot be compared with others to the last digit."
    )


show_sources()
