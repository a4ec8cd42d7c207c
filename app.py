"""The explorer's first screen: what the paper reports, and what was measured here."""

import streamlit as st

from rd4ad.web import frame
from rd4ad.web.tables import marked, published_table, runs_table

METRICS = {
    "pixel_auroc": "Pixel AUROC",
    "pro": "PRO (definition not stated)",
    "image_auroc": "Image AUROC",
}
SETTINGS = {
    "dataset": "Data set",
    "category": "Category",
    "backbone": "Backbone",
    "size_px": "Size, px",
    "seed": "Seed",
    "layers": "Layers",
    "smoothing": "Smoothing, px",
}
FIGURES = {
    "image_auroc": "Image AUROC",
    "pixel_auroc": "Pixel AUROC",
    "aupro": "PRO, MVTec at 0.3",
    "aupro_per_image": "PRO, released code",
}

frame.open_page(frame.NAME)
st.caption(
    "Anomaly detection by reverse distillation (Deng & Li, CVPR 2022): the figures that papers "
    "report for MVTec AD, and the figures that this code measured. The two are never averaged "
    "together."
)

st.subheader("Reported by the paper, percent")
metric = st.segmented_control(
    "Figure",
    list(METRICS),
    default="pixel_auroc",
    format_func=METRICS.get,
    help="Pixel AUROC pools all pixels of a category. How PRO was computed, the paper does not "
    "say; the released code averages over images. Image AUROC is known for RD4AD at 256 px alone.",
)
metric = metric or "pixel_auroc"  # a second click takes the choice back
published, averages = (table[table["by"] == "RD4AD paper"] for table in frame.published())
table = published_table(published, averages, metric)
st.dataframe(
    marked(table),
    width="stretch",
    height=35 * (len(table) + 1) + 3,
    column_config={"_index": st.column_config.TextColumn("Category", width=100)},
)
st.caption(
    "MVTec AD, Tables 1 and 2. Number after a method: image size in pixels. Bold on a tint: best "
    "of its row, computed. The last three rows are means of the rows above, computed here."
)
for row in averages[(averages["metric"] == metric) & ~averages["agrees"]].itertuples():
    st.info(
        f"{row.method} at {row.size_px} px: the paper states {100 * row.stated:.1f} as the total "
        f"average; its rows give {100 * row.computed:.2f}.",
        icon=":material/rule:",
    )

st.subheader("Reproduced by this code, percent")
index = frame.measured()
if index is not None:
    runs = runs_table(index).rename(columns=SETTINGS | FIGURES)
    formats = dict.fromkeys(FIGURES.values(), "{:.1f}") | {"Smoothing, px": "{:g}"}
    shown = runs[[*SETTINGS.values(), *FIGURES.values()]].style.format(formats, na_rep="–")
    st.dataframe(shown, width="stretch", hide_index=True)
    st.caption(
        "Smoothing: standard deviation of the Gaussian in pixels. The runs on MVTec AD that come "
        "with this project used images downsized to 256 px; the paper's figures are those of "
        "WideResNet-50 on the originals."
    )
