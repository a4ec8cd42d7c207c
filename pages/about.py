"""What the method is, what is and is not reproduced, how to cite it, and whose data is shown."""

import pandas as pd
import streamlit as st

from rd4ad.data.one_class import NOVELTY_SETS
from rd4ad.web.explorer import downloads, frame, index_cache, run_cache, run_text, tables, widgets

COMMANDS = (
    ("Values of papers (hollow marks): transcribed, with their sources", "rd4ad results show"),
    ("Index, means over seeds, averages, findings of the first screen", "rd4ad results index"),
    ("Reproduced values: train and measure one category", "rd4ad train … && rd4ad evaluate …"),
    ("Every stored metric, from the stored distance maps", "rd4ad results verify --data DATA"),
    ("95% intervals over test images, of a run that lacks them", "rd4ad results intervals"),
    ("Definitions of PRO, for maps of any program", "rd4ad score --maps DIR --data DATA …"),
    ("One-class novelty, ten classes", "rd4ad novelty --data DIR --dataset mnist --normal all"),
    ("Time and memory of every method on this host", "rd4ad bench"),
    ("Agreement with released code and MVTec's evaluation", "benchmarks/agreement.py REFERENCE"),
    ("Teach: quality by number of photos", "benchmarks/teach.py photos"),
    ("Generated parts and their masks, bit for bit", "rd4ad data make DIR"),
    ("A grid of trainings, as on Ablations", "rd4ad sweep results/grids/short.yaml --data DIR"),
)
frame.open_page(
    "About",
    "What is RD4AD, what is reproduced here, and whose data is it? The method compares a frozen "
    "teacher network with a student that learned to reproduce its features on normal images only.",
)
st.image(
    index_cache.method_drawing(),
    width=960,
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
st.subheader("Reproduce every number")
st.dataframe(
    pd.DataFrame(COMMANDS, columns=["Numbers", "Command"]),
    hide_index=True,
    width="stretch",
    height=35 * (len(COMMANDS) + 1) + 3,
    alt="Which command computes which numbers",
)
if runs is not None:
    st.markdown("Any one run, with the settings that determine it:")
    with widgets.controls():
        run = run_cache.run_named(
            widgets.choose_run(runs, "Shows the commands that train and measure another run.")
        )
    if run is not None:
        st.code(run_text.commands(run), language="bash", wrap_lines=True)
st.subheader("Cite")
st.code(downloads.BIBTEX, language="latex", wrap_lines=True)
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
