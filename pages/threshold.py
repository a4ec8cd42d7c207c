"""One threshold, linked to histogram, confusion counts, curves and the images themselves."""

import streamlit as st

from rd4ad.runs import rescoring
from rd4ad.web.explorer import charts, frame, gallery, index_cache, run_cache, tables, widgets

units = frame.open_page(
    "Threshold",
    "What does a threshold cost? Move it and see which defects are missed, which normal parts "
    "raise a false alarm, and where that lies on the curves.",
)
runs = index_cache.measured()
if runs is None:
    st.stop()
run = run_cache.run_named(
    widgets.choose_run(runs, "Shows the test images and scores of another run.")
)
if run is None:
    st.stop()
images = run_cache.images_of(run)
start = gallery.first_threshold(run, images)
low, high = gallery.score_range(images)

threshold = st.slider(
    "Threshold: an image is called defective from this score on",
    min_value=low,
    max_value=high,
    value=start.value,
    step=0.001,
    format="%.3f",
    key="threshold",
    bind="query-params",
    help="A lower threshold misses fewer defects and raises more false alarms. Pixels of the "
    "anomaly map above it count as defective.",
)
st.caption(start.origin)
counts = rescoring.confusion(images, threshold)
for column, (name, count) in zip(st.columns(len(counts)), counts.items(), strict=True):
    column.metric(name.capitalize(), count, help=gallery.MEANING[name])

curves = run_cache.curves_of(run)
first, second, third = st.columns(3)
with first:
    widgets.show(
        charts.histogram(images, threshold=threshold),
        "Scores: " + tables.scores_in_words(images) + f"; threshold {threshold:.3f}",
        "histogram",
    )
for column, kind in ((second, "image_roc"), (third, "pro")):
    with column:
        points = curves[curves["curve"] == kind]
        if points.empty:
            st.info(f"{charts.CURVES[kind]} is not defined for this run.")
        else:
            widgets.show(
                charts.curve_chart(
                    kind, {"run": points}, at=threshold, limit=0.3 if kind == "pro" else None
                ),
                f"{charts.CURVES[kind]} with the point of threshold {threshold:.3f}",
                kind,
            )

st.subheader("Test images, wrong decisions first")
tools = st.columns([2, 2, 2], vertical_alignment="bottom")
with tools[0]:
    view = widgets.pick(
        "Show",
        gallery.VIEWS,
        "view",
        "Changes what each picture shows; masks are outlined in green.",
    )
with tools[1]:
    opacity = st.slider(
        "Opacity of the heatmap", 0.0, 1.0, 0.75, 0.05, key="opacity", bind="query-params",
        help="A higher opacity hides more of the image below the heatmap.",
    )  # fmt: skip
with tools[2]:
    wanted = st.segmented_control(
        "How many", [8, 16, 32], default=8, required=True, key="many", bind="query-params",
        help="Sets the number of images in the gallery.",
    )  # fmt: skip
gallery.show(run, rescoring.by_error(images, threshold).head(wanted), threshold, view, opacity)
