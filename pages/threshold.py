"""One threshold, linked to histogram, confusion counts, curves and the images themselves."""

import streamlit as st

from rd4ad.runs import rescoring
from rd4ad.web.explorer import charts, frame, index_cache, run_cache, tables, widgets
from rd4ad.web.explorer.panels import gallery

units = frame.open_page(
    "Threshold",
    "What does a threshold cost? Move it and see which defects are missed, which normal parts "
    "raise a false alarm, and where that lies on the curves.",
    terms=("calibration", "auroc", "pro", "f1"),
)
runs = index_cache.measured()
if runs is None:
    st.stop()
with widgets.controls():
    run = run_cache.run_named(
        widgets.choose_run(runs, "Shows the test images and scores of another run.")
    )
if run is None:
    st.stop()
images = run_cache.images_of(run)
start = gallery.first_threshold(run, images)
low, high = gallery.score_range(images)

COSTS = (1, 2, 5, 10, 20, 50, 100)


def use_least_cost() -> None:
    """Move the threshold to where the chosen costs are least."""
    best = rescoring.least_cost(images, st.session_state["cost"])
    st.session_state["threshold"] = min(max(round(best, 3), low), high)


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
left, right = st.columns([3, 2], gap="large")
with left:
    gallery.show_counts(rescoring.confusion(images, threshold), units)
with right:
    cost = st.select_slider(
        "A missed defect costs as much as this many false alarms",
        COSTS,
        value=10,
        key="cost",
        bind="query-params",
        help="The button below moves the threshold to where missed defects and false alarms of "
        "these test images cost least together.",
    )
    best = rescoring.confusion(images, rescoring.least_cost(images, cost))
    st.button("Use the threshold of least cost", on_click=use_least_cost, width="stretch")
    st.caption(
        f"It would miss {best['missed defect']} of {best['missed defect'] + best['found']} defects "
        f"and raise {best['false alarm']} of {best['false alarm'] + best['passed']} false alarms. "
        "It is chosen on these very test images: for looking, not for use."
    )

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

st.subheader("Test images")
ORDERS = {"distance": "nearest to the threshold", "error": "wrong decisions first"}


@st.fragment
def show_gallery() -> None:
    """Show test images in the order and manner that are chosen."""
    with widgets.controls("gallery"):
        order = widgets.pick(
            "Order",
            ORDERS,
            "order",
            "Nearest first shows what a small move of the threshold changes.",
        )
        view = widgets.pick(
            "Show",
            gallery.VIEWS,
            "view",
            "Changes what each picture shows; masks are outlined in green.",
        )
        opacity = st.slider(
            "Opacity of the heatmap", 0.0, 1.0, 0.75, 0.05, key="opacity", bind="query-params",
            help="A higher opacity hides more of the image below the heatmap.",
        )  # fmt: skip
        wanted = st.segmented_control(
            "How many", [8, 16, 32], default=8, required=True, key="many", bind="query-params",
            help="Sets the number of images in the gallery.",
        )  # fmt: skip
    sort = {"distance": rescoring.by_distance, "error": rescoring.by_error}[order]
    gallery.show(run, sort(images, threshold).head(wanted), threshold, view, opacity)


show_gallery()
