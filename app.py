"""The explorer's first screen: what the paper reports, and what was measured here."""

import streamlit as st

from rd4ad.published import averages
from rd4ad.web import frame
from rd4ad.web.tables import marked, published_table, runs_table

METRICS = {
    "pixel_auroc": "Pixel AUROC",
    "pro": "PRO (definition not stated)",
    "image_auroc": "Image AUROC",
}
SHOWN = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "aupro": "PRO, MVTec at 0.3",
    "aupro_per_image": "PRO, released code",
}

frame.open_page("RD4AD Explorer")
st.caption(
    "Anomaly detection by reverse distillation (Deng & Li, CVPR 2022): the figures that papers "
    "report for MVTec AD, and the figures that this code measured. The two are never averaged "
    "together."
)

st.header("Reported: Table 2 of the paper, percent")
metric = st.segmented_control(
    "Figure",
    list(METRICS),
    default="pixel_auroc",
    format_func=METRICS.get,
    help="Pixel AUROC pools all pixels of a category. How PRO was computed, the paper does not "
    "say; the released code averages over images. Image AUROC is known for RD4AD at 256 px alone.",
)
published = frame.published(frame.modified("published/mvtec.csv"))
computed = averages(published)
table = published_table(published, computed, metric or "pixel_auroc")
st.dataframe(
    marked(table),
    width="stretch",
    height=35 * (len(table) + 1) + 3,
    column_config={"_index": st.column_config.TextColumn("Category", width="small")},
)
st.caption(
    "Number after a method: image size in pixels. Bold on a tint: best of its row, computed. "
    "The last three rows are means of the rows above, computed here."
)
for row in computed[(computed["metric"] == metric) & ~computed["agrees"]].itertuples():
    st.info(
        f"{row.method} at {row.size_px} px: the paper states {100 * row.stated:.1f} as the total "
        f"average; its rows give {100 * row.computed:.2f}.",
        icon=":material/rule:",
    )

st.header("Reproduced: measured by this code, percent")
for run in frame.broken_runs():
    st.warning(f"A run was skipped: {run.path.name}. {run.reason}", icon=":material/warning:")
if frame.modified("index.parquet"):
    runs = runs_table(frame.index(frame.modified("index.parquet")))
    runs = runs.rename(columns=SHOWN)
    columns = ["dataset", "category", "backbone", "size_px", "seed", "layers", "smoothing"]
    formats = dict.fromkeys(SHOWN.values(), "{:.1f}") | {"smoothing": "{:g}"}
    shown = runs[columns + list(SHOWN.values())].style.format(formats, na_rep="–")
    st.dataframe(shown, width="stretch", hide_index=True)
    st.caption(
        "Smoothing: standard deviation of the Gaussian in pixels. MVTec AD here is a copy of "
        "256 px; the paper's figures are those of WideResNet-50 on the originals."
    )
else:
    st.info(
        "No measured run yet. `rd4ad evaluate CHECKPOINT --data DIR --category NAME` stores one, "
        "`rd4ad results index` lists it here."
    )
