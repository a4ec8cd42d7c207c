"""The transistor case: where layers, fusion and resolution decide, and why."""

import streamlit as st

from rd4ad.runs import rescoring
from rd4ad.scoring import IMAGE
from rd4ad.web.explorer import charts, frame, index_cache, run_cache, tables, widgets
from rd4ad.web.explorer.panels import gallery, laboratory
from rd4ad.web.explorer.screens import limitations
from rd4ad.web.explorer.screens.metric_cells import MVTEC

units = frame.open_page(
    "Limitations",
    "Where does the method fail, and why? On transistor it does better with fewer layers and "
    "smaller images: a misplaced part is marked both where it is and where it should be, and only "
    "deep, coarse features notice that something is missing.",
    terms=("layers", "fusion", "auroc", "pro"),
)
runs = index_cache.measured()

st.subheader(f"Pixel AUROC of transistor, {units.name}")
ours = None if runs is None else index_cache.scorings_of(MVTEC, "transistor")
table = limitations.compared_with_paper(index_cache.studies(), ours)
st.dataframe(
    limitations.styled(table, units.text), width="stretch", hide_index=True, placeholder="–",
    alt="Pixel AUROC of transistor by layers and image size, the paper's and this project's",
)  # fmt: skip
st.caption(
    "The paper uses WideResNet-50 on the original images. This project uses the backbone named, "
    "on images of 256 px; values are multi-seed means of the longest training with the released "
    "scoring (sum, Gaussian of 4 px). Compare the direction: fewer layers and a smaller image "
    "raise the value."
)
if runs is None:
    st.stop()

st.subheader("Laboratory: see it fail, and change the scoring")
with widgets.controls():
    run = run_cache.run_named(
        widgets.choose_run(
            runs,
            "Scores another run. Without the photos of MVTec AD on this machine, the generated "
            "transistor comes first: it reproduces the failure and can be shown in full.",
            first=limitations.first_category(runs, index_cache.categories_on_disk()),
        )
    )
    if run is None:
        st.stop()
    available = [layer for layer in sorted(run_cache.distances_of(run)) if layer != IMAGE]
    layers = st.pills(
        "Layers", available, selection_mode="multi", default=available, key="layers",
        bind="query-params",
        help="Only these layers enter the anomaly map: 1 is the finest and shallowest, 3 the "
        "coarsest and deepest.",
    )  # fmt: skip
    fusion = widgets.pick(
        "Fusion",
        {"sum": "Sum", "product": "Product"},
        "fusion",
        "Adds or multiplies the maps of the layers.",
    )
left, right = st.columns(2)
with left:
    sigma = st.slider(
        "Smoothing, px", 0.0, 8.0, 4.0, 0.5, key="sigma", bind="query-params",
        help="More smoothing suppresses noise and small defects alike: standard deviation of the "
        "Gaussian; the released code uses 4 px at every image size.",
    )  # fmt: skip
with right:
    image = laboratory.choose_image(run)
if not layers:
    st.info("Choose at least one layer.")
    st.stop()
laboratory.show(run, image, tuple(sorted(layers)), fusion, sigma)

scored = run_cache.rescored(run, tuple(sorted(layers)), fusion, sigma)
stored = limitations.stored_metrics(run, tuple(sorted(layers)), fusion, sigma)
widgets.show_metrics(
    limitations.fill_undefined(scored.metrics, stored), limitations.default_metrics(run), units
)
if scored.reason:
    st.caption(
        f"Image metrics were recomputed; pixel metrics were not, since {scored.reason} on this "
        "machine. "
        + ("They are the stored ones of this scoring configuration." if stored else
           "They are stored for a smoothing of 4 px only.")
    )  # fmt: skip

split = run_cache.split_by_place(run, tuple(sorted(layers)), fusion, sigma)
if split is not None:
    st.subheader("Cause: where the part is, and where it should be")
    left, right = st.columns(2)
    with left:
        widgets.show(
            charts.bars(
                split.values, title=f"Pixel AUROC, {units.name}", factor=units.factor,
                text=f".{units.digits}f",
            ),
            "Pixel AUROC of misplaced parts: " + tables.pairs_in_words(split.values, units.text),
            "split",
        )  # fmt: skip
    with right:
        st.markdown(split.explanation)
        by_layer = run_cache.split_by_layer(run, sigma)
        st.dataframe(
            by_layer.style.format(units.text), width="stretch",
            placeholder="–", alt="Pixel AUROC of both halves of the mask, by layer",
        )  # fmt: skip
else:
    st.caption(
        "To see the two halves of a misplaced part's mask, choose a category with the defect type "
        "misplaced whose run keeps its masks, or set RD4AD_DATA to the folder of the dataset."
    )

st.subheader("Worst mistakes of this run, at its stored scoring configuration")
images = run_cache.images_of(run)
threshold = gallery.first_threshold(run, images).value
gallery.show(run, rescoring.by_error(images, threshold).head(8), threshold, "overlay", 0.75)
