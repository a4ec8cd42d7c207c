"""The same maps under every definition of PRO."""

import streamlit as st

from rd4ad.web.explorer import charts, frame, index_cache, run_cache, tables, widgets
from rd4ad.web.explorer.screens import pro_auditor

units = frame.open_page(
    "PRO auditor",
    "How much does the definition of PRO change the value? Compare all definitions on the same "
    "anomaly maps, of a stored run or your own, and see which one each paper used.",
)
own = st.file_uploader(
    "Your own anomaly maps: an NPZ file with the arrays `maps` and `masks`, both (N, H, W)",
    type="npz",
    max_upload_size=100,
    help="Replaces the stored run. Write it with numpy.savez('mine.npz', maps=maps, masks=masks); "
    "higher is more anomalous. It stays in memory and is deleted when you leave the page.",
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
    run = run_cache.run_named(widgets.choose_run(runs, "Compares the definitions on another run."))
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

st.subheader("Which definition did each source use?")
st.dataframe(
    tables.pro_definitions(index_cache.published()), width="stretch", hide_index=True,
    placeholder="–", alt="Definitions of PRO by source",
)  # fmt: skip
st.caption(
    "MVTec: all defect regions of a category weigh the same, the false-positive rate is over all "
    "normal pixels of the category, and the area up to a rate of 0.3 is divided by 0.3. Released "
    "RD4AD code: 200 thresholds per image, the false-positive rate of each image by itself, "
    "divided by the largest rate kept; normal images are left out."
)
