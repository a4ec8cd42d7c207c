"""Pieces of the first screen: the cards of findings and the doors to the other pages."""

from collections.abc import Sequence

import streamlit as st

from rd4ad.web.explorer import charts, frame, widgets
from rd4ad.web.explorer.screens.finding import Finding

OF_THE_LEADERBOARD = {
    "dataset", "metric", "size", "by", "method", "setting", "definition", "heat", "at", "first",
    "second",
}  # fmt: skip
"""What addresses of the first screen chose when it was the leaderboard."""
DOORS = (
    (
        "Compare methods",
        "Values of the papers and of this project, by category, each with its source and its "
        "definition.",
        (
            ("pages/leaderboard.py", "All methods by category"),
            ("pages/ablations.py", "Layers and resolutions"),
            ("pages/complexity.py", "Time and memory"),
        ),
    ),
    (
        "Understand a failure",
        "Why transistor is hard, what a threshold costs, and which definition of PRO a value "
        "follows.",
        (
            ("pages/limitations.py", "Why transistor fails"),
            ("pages/threshold.py", "What a threshold costs"),
            ("pages/pro_auditor.py", "Which PRO was that?"),
        ),
    ),
    (
        "Try your own images",
        "Thirty photos of good parts make a detector in seconds; a single photo becomes a heatmap.",
        (
            ("pages/teach.py", "Teach your own part"),
            ("pages/demo.py", "Live heatmap"),
        ),
    ),
)


def follow_earlier_link() -> None:
    """Open the leaderboard if the address was made when the leaderboard was the first screen."""
    if OF_THE_LEADERBOARD & set(st.query_params):
        st.switch_page("pages/leaderboard.py", query_params=st.query_params.to_dict())


def show_cards(found: Sequence[Finding]) -> None:
    """Show the findings, as many beside each other as fit."""
    with st.container(key="findings"):
        for one in found:
            with st.container(border=True, key=f"finding-{one.key}"):
                st.markdown(f"**{one.claim}**")
                st.markdown(f"<span class='number'>{one.number}</span>", unsafe_allow_html=True)
                st.caption(one.about)
                chart = charts.evidence(one)
                said = "; ".join(f"{mark.label} {mark.value:.4g}" for mark in one.marks)
                st.plotly_chart(
                    chart,
                    width="stretch",
                    key=f"evidence-{one.key}",
                    alt=f"{one.axis}: {said}",
                    config={"staticPlot": True},
                )
                with st.container(
                    horizontal=True,
                    horizontal_alignment="distribute",
                    vertical_alignment="center",
                ):
                    st.page_link(
                        one.page,
                        label="See the evidence",
                        icon=":material/arrow_forward:",
                        query_params=one.query | frame.kept_query(),
                    )
                    widgets.offer_data(chart, one.key)


def show_doors() -> None:
    """Show where the visitor may go, by what he or she wants to know."""
    for column, (title, sentence, links) in zip(st.columns(3), DOORS, strict=True):
        with column.container(border=True, height="stretch"):
            st.subheader(title)
            st.markdown(sentence)
            for page, label in links:
                st.page_link(
                    page,
                    label=label,
                    icon=":material/arrow_forward:",
                    query_params=frame.kept_query(),
                )
