"""A visitor's own anomaly maps beside a stored run, by every definition."""

from datetime import UTC, datetime
from functools import partial

import streamlit as st

from rd4ad.web.explorer import frame, index_cache, run_cache, run_text, widgets
from rd4ad.web.explorer.panels import your_maps
from rd4ad.web.explorer.screens import compare, metric_cells, pro_auditor

units = frame.open_page(
    "Compare yours",
    "Is your method better than RD4AD, or a run of it luckier? Drop in the anomaly maps that your "
    "program wrote for a test set: every metric by every definition, the difference with its "
    "interval, by defect type, and the images that it gets wrong.",
    terms=("auroc", "pro", "f1"),
)
runs = index_cache.measured()
if runs is None:
    st.stop()
drawn = pro_auditor.example_category(runs)


def forget() -> None:
    """Go back from a comparison to where one is made."""
    st.query_params.pop("comparison", None)


token = st.query_params.get("comparison", "")
kept = your_maps.shelf().find(token) if token else None
if token and kept is None:
    st.warning(
        "This comparison is gone: a link to one lasts an hour, and the server keeps nothing "
        "beyond. Drop the ZIP file in again.",
        icon=":material/history_toggle_off:",
    )
if kept is None:
    with widgets.controls():
        run = run_cache.run_named(
            widgets.choose_run(runs, "Your maps are compared with this run, on its test images.",
                               first=drawn or "")
        )  # fmt: skip
        own_name = st.text_input(
            "Name of your method", max_chars=compare.MOST_LETTERS, placeholder="Your maps",
            key="own_name", help="Only for what is printed on this page.",
        )  # fmt: skip
    if run is None:
        st.stop()
    left, right = st.columns([3, 2], gap="large")
    with left:
        sent = st.file_uploader(
            f"ZIP file of anomaly maps, at most {compare.MAX_MIB} MB",
            type="zip",
            max_upload_size=compare.MAX_MIB,
            help="One map a test image. What you send stays in memory; the outcome is deleted "
            "after an hour.",
        )  # fmt: skip
        with st.container(horizontal=True):
            wants_example = st.button(
                "See an example", icon=":material/play_arrow:",
                help="Compares the chosen run with its own deepest layer alone.",
            )  # fmt: skip
            st.download_button(
                "Its ZIP file", partial(compare.example, run), file_name="example_maps.zip",
                mime="application/zip", on_click="ignore", icon=":material/download:",
                help="The maps of the example. Yours need the same folders and names.",
            )  # fmt: skip
    with right:
        st.markdown("**What goes into the ZIP file**")
        st.code("crack/000.tiff\ncrack/001.tiff\ngood/000.tiff\n...", language=None)
        st.caption(
            "For each test image test/<type>/<stem>.png a map <type>/<stem> as .tiff, .npy or "
            ".png, of any size, below any folder: higher is more anomalous. An image's score is "
            "the highest value of its map."
        )
        if run_cache.masks_of(run) is None:
            st.info(
                "The masks of this dataset may not be stored here. Add its folder `ground_truth` "
                "to the ZIP file for metrics of pixels; those of images need none."
            )
    if sent is not None or wants_example:
        content = compare.example(run) if sent is None else sent.getvalue()
        name = "Deepest layer" if sent is None else compare.name_of(own_name)
        try:
            with st.spinner("Measuring"):
                new = your_maps.put(content, run, name)
        except ValueError as error:
            st.error(f"{'' if sent is None else f'{sent.name}: '}{error}", icon=":material/error:")
            st.stop()
        st.query_params["comparison"] = new
        st.rerun()
    st.caption(
        "From the command line: `rd4ad score --maps MAPS --data DIR --category NAME` measures the "
        "same and keeps everything on your machine; with `--store` the maps become a run beside "
        "the others."
    )
    st.stop()

run = run_cache.run_named(kept.found.run_id)
if run is None:
    st.stop()
row = runs[runs["run_id"] == kept.found.run_id].iloc[0].to_dict()
where = metric_cells.qualified(row["dataset"], row["category"])
theirs = run_text.network_label(row)
st.markdown(compare.verdict(kept.found, kept.name, theirs, units.text))
with st.container(horizontal=True, vertical_alignment="center"):
    st.button("Compare others", on_click=forget, icon=":material/arrow_back:")
    st.caption(
        f"{where}; {run_text.run_label(row)}. This view's address opens it for others until "
        f"{datetime.fromtimestamp(kept.ends, UTC):%H:%M} UTC; then it is deleted."
    )
st.subheader("Every metric")
st.dataframe(
    compare.metrics_table(kept.found, kept.name, theirs, units.text),
    width="stretch", hide_index=True, placeholder="–",
    alt=f"Metrics of {kept.name} and of {theirs}",
)  # fmt: skip
st.caption(
    f"Both at {kept.found.size_px} px. In brackets: 95% intervals over test images; that of a "
    "difference is paired, on the same resamples. They do not cover the spread between seeds."
)
st.subheader("By defect type")
st.dataframe(
    compare.types_table(kept.found, kept.name, theirs, units.text),
    width="stretch", hide_index=True, placeholder="–", alt="Metrics by defect type",
)  # fmt: skip
st.caption("Each type against all normal images.")
st.subheader("Worst images")
your_maps.show_worst(run, kept, theirs)
