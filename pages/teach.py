"""From photos of good parts to a detector of one's own."""

import streamlit as st

from rd4ad.web.explorer import frame
from rd4ad.web.teach import collect, detector, evidence, judge, session, training

units = frame.open_page(
    "Teach",
    "How do I get a heatmap of my own part? Show photos of good ones: a detector in seconds, what "
    "it would find, and files to take along. No defect is needed.",
)
room = session.open_room()
job = session.current(room)
session.show_told()
if job is None:
    collect.begin(room)
    evidence.show(units)
    st.stop()

st.subheader("1. Good parts")
collect.show(room, job)
lesson = job.state()["lesson"]
if lesson["state"] != "none":
    st.subheader("2. First detector")
if lesson["state"] == "failed":
    st.error(lesson["error"], icon=":material/error:")
if lesson["state"] in ("queued", "working"):
    detector.wait(room, job)
if lesson["state"] == "ready":
    detector.show(room, job)
    st.subheader("3. What would it find?")
    detector.appraise(job, units)
    detector.real_defects(room, job, units)
    st.subheader("4. Reverse distillation")
    training.step(room, job, units)
    st.subheader("5. Judge")
    judge.step(job)
    st.subheader("6. Take it along")
    judge.take_along(job)
    if room.quota.may_publish:
        judge.publish(job)
