"""Overview: what the method does, what the stored results show, and where to go from here."""

import os
import sys

import streamlit as st

from rd4ad.web.explorer import frame, index_cache
from rd4ad.web.explorer.components import comparison_slider
from rd4ad.web.explorer.panels import overview, showcase

if __name__ == "__main__" and not frame.under_streamlit():  # as a Gradio Space runs it
    from rd4ad.web.serve import run_server

    run_server(host="0.0.0.0", port=int(os.environ.get("PORT", "7860")))
    sys.exit()

overview.follow_earlier_link()
units = frame.open_page(
    "Overview",
    "RD4AD learns from images of good parts alone: a student network learns to repeat what a "
    "frozen teacher sees in them, and where the two disagree on a new image, the image is "
    "anomalous.",
    headline="Find defects after seeing only good parts",
)
shown = showcase.pair()
if shown is not None:
    normal, defect = shown
    said, left, right = st.columns([3, 4, 4], vertical_alignment="center", gap="medium")
    with said:
        st.markdown(
            "**Drag the line.** Left of it the photo, right of it the heatmap of the detector. It "
            "was trained on generated images of good bottles and has seen neither image."
        )
        st.caption(
            f"The score of an image is the highest value of its anomaly map. From "
            f"{defect.threshold:.2f} on, this detector calls an image defective: a threshold "
            "from good images that were held out of training."
        )
        st.page_link("pages/about.py", label="How it works", icon=":material/arrow_forward:")
    for column, one, name in ((left, normal, "normal part"), (right, defect, "defective part")):
        with column:
            comparison_slider.show(
                one.image,
                one.heatmap,
                alt=f"A {name}, score {one.score:.2f}, and its heatmap",
                label=f"Share of the photo shown, {name}",
                key=name.replace(" ", "_"),
            )
            st.caption(f"A {name}: score {one.score:.2f}, threshold {one.threshold:.2f}")

found = index_cache.findings(units)
if found:
    st.header("What the results show", anchor="findings")
    overview.show_cards(found)
st.header("Where to go from here", anchor="doors")
overview.show_doors()
