"""The same maps under every definition of PRO."""

import streamlit as st

from rd4ad.web.explorer import charts, frame, index_cache, run_cache, tables, widgets
from rd4ad.web.explorer.screens import pro_auditor

units = frame.open_page(
    "PRO auditor",
    "One set of maps has as many PRO metrics as there are definitions. Here are all of them, for "
    "a stored run or for your own maps, and what is known of the published ones.",
)
own = st.file_uploader(
    "Your own maps and masks: an NPZ file with the arrays `maps` and `masks`, both (N, H, W)",
    type="npz",
    max_upload_size=100,
    help="numpy.savez('mine.npz', maps=maps, masks=masks); higher is more anomalous. It is read in "
    "memory, never stored, and forgotten when you leave the page.",
)
runs = index_cache.measured()
found = None
if own is not None:
    try:
        found = run_cache.audited(pro_auditor.read_npz(own.getvalue()))
    except ValueError as error:
        st.error(f"{own.name}: {error}", icon=":material/error:")
        st.stop()
elif runs is not None:
    run = run_cache.run_named(widgets.choose_run(runs, "The stored run that is audited."))
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
        st.subheader("The curves behind them")
        if found.curves:
            widgets.show(
                charts.curve_chart("pro", found.curves, limit=0.3),
                "PRO curves: whole category, and mean of each image's own",
                "curves",
            )
        else:
            st.info("No curve is defined: the masks or the maps are all alike.")
    st.caption(
        "From the command line: `rd4ad score --maps FOLDER --data DIR --category NAME` prints "
        "these metrics for a folder of maps (TIFF or NPY) that any program wrote."
    )

st.subheader("What is known of the published metrics")
st.dataframe(
    tables.pro_definitions(index_cache.published()), width="stretch", hide_index=True,
    placeholder="–", alt="Definitions of PRO by source",
)  # fmt: skip
st.caption(
    "MVTec's definition: all regions of a category weigh the same, false positives over all normal "
    "pixels of the category, area up to a false-positive rate of 0.3 divided by 0.3. The released "
    "RD4AD code takes 200 thresholds an image, each image's own false-positive rate, and divides "
    "by the largest rate it kept; normal images play no part."
)
