"""What the method is, what is and is not reproduced, how to cite it, and whose data is shown."""

import streamlit as st

from rd4ad.data.one_class import NOVELTY_SETS
from rd4ad.web.explorer import downloads, frame, index_cache, tables

frame.open_page(
    "About",
    "What is RD4AD, what is reproduced here, and whose data is it? The method compares a frozen "
    "teacher network with a student that learned to reproduce its features on normal images only.",
)
st.image(
    index_cache.method_drawing(),
    width="stretch",
    alt="The teacher's three feature maps go through a bottleneck to the student, which rebuilds "
    "them; the anomaly map shows where they differ",
)
left, right = st.columns(2)
with left:
    st.subheader("How it works")
    st.markdown(
        "1. A **teacher**, a residual network trained on ImageNet and never changed, turns an "
        "image into three feature maps, fine to coarse.\n"
        "2. A **one-class bottleneck** squeezes all three into one small embedding: anomalous "
        "content does not survive it.\n"
        "3. A **student** decodes the embedding back into the three feature maps. It learned this "
        "on normal images alone.\n"
        "4. Where teacher and student **disagree** (one minus the cosine of their features), the "
        "image is anomalous. The three distance maps are upsampled, added and smoothed."
    )
    st.caption("Hanqiu Deng and Xingyu Li, CVPR 2022. Equations and definitions: docs/METHOD.md.")
with right:
    st.subheader("What is reproduced, and what is not")
    st.markdown(
        "- The networks match the released code on reference tensors: distance maps to 1e-5, "
        "scores to 1e-4.\n- The metrics match MVTec's own evaluation (PRO to 1e-6) and "
        "scikit-learn (1e-9).\n- The runs stored here use smaller teachers than the paper's "
        "WideResNet-50 and images downsized to 256 px; they show the method and its limits, not "
        "the paper's exact table.\n- Categories of MVTec AD without a stored run were not "
        "measured here; their values are the paper's.\n- One-class novelty detection is measured "
        "where the Novelty page shows a reproduced value; FashionMNIST is not.\n- The other "
        "methods are implementations of this project after their papers; each run names its "
        "backbone and where it differs.\n"
    )
    runs = index_cache.measured()
    if runs is not None:
        st.dataframe(
            tables.runs_count(runs),
            hide_index=True,
            width="stretch",
            placeholder="–",
            alt="Runs by dataset",
        )
st.subheader("Cite")
st.code(downloads.BIBTEX, language="latex")
st.subheader("Data and licenses")
st.markdown(
    "- **MVTec AD** (Bergmann et al., 2019; © MVTec Software GmbH) is CC BY-NC-SA 4.0. None of its "
    "images or masks is part of this project; only metrics, scores, curves and distance maps that "
    "were computed from them are.\n"
    + "".join(
        f"- **{one.title}**: license {one.license}; its images are "
        + ("shown where they are on the server's disk.\n" if one.is_shown else "never shown.\n")
        for one in NOVELTY_SETS.values()
    )
    + "- **Generated parts** are drawn by this project; they and its code are Apache-2.0.\n"
    "- Every published value names its source: click it on the leaderboard."
)
