"""Step 4 of Teach: reverse distillation in the background."""

import time

import pandas as pd
import streamlit as st

from rd4ad.teach.jobs.classroom import Classroom, can_train
from rd4ad.teach.jobs.folder import Job
from rd4ad.teach.jobs.quota import QuotaError
from rd4ad.web.explorer import charts, widgets
from rd4ad.web.explorer.units import Units
from rd4ad.web.teach import session


def step(room: Classroom, job: Job, units: Units) -> None:
    """Offer a training, show where it stands, or show how it ended."""
    student = job.state()["student"]
    if student["state"] in ("queued", "working"):
        _watch(room, job)
        return
    if student["state"] == "failed":
        st.error(f"The training failed: {student['error']}", icon=":material/error:")
    _show_comparison(job, units)
    if not can_train():
        st.info("This needs torch, which is not installed here. On your own machine:")
        st.code("pip install -r requirements.txt", language="bash", wrap_lines=True)
        return
    choices = [minutes for minutes in (1.0, 3.0, 10.0) if minutes <= room.quota.minutes]
    minutes = st.segmented_control(
        "Minutes", choices or [room.quota.minutes], default=(choices or [room.quota.minutes])[0],
        required=True, key="teach_minutes", format_func="{:g}".format,
        help="A third of them goes into images of 128 px and two thirds into 256 px; painted "
        "defects in held-out photos then say which size, and whether it beats the memory.",
    )  # fmt: skip
    record = job.read_json("lesson.json") or {}
    watched = st.selectbox(
        "Photo to watch", dict.fromkeys([*record["least_alike"], *record["photos"]]),
        help="Its heatmap is drawn again every few seconds while the training goes on.",
    )  # fmt: skip
    if st.button("Train reverse distillation", icon=":material/model_training:"):
        try:
            room.train(job, float(minutes), watched)
        except QuotaError as error:
            st.error(str(error))
            return
        st.rerun()


@st.fragment(run_every="2s")
def _watch(room: Classroom, job: Job) -> None:
    student = session.still_waiting(job, "student")
    before = room.place(job, "student")
    if student["state"] == "queued" and before:
        st.info(f"Waiting for {before} other trainings. This page can be closed meanwhile.")
    progress = job.read_json("progress.json") if student["state"] == "working" else None
    left, right = st.columns([3, 2])
    if progress:
        spent = (time.time() - student["asked"]) / 60
        share = min(1.0, spent / student["minutes"])
        epochs = len(progress["losses"])
        is_training = progress["step"] == "training"
        rate = f", {progress['images_per_second']:.0f} images per second" if is_training else ""
        to_go = max(0.0, student["minutes"] - spent)
        left.progress(
            share, f"{progress['size_px']} px, epoch {epochs + 1}{rate}, {60 * to_go:.0f} s left"
        )
        if epochs > 1:
            losses = pd.DataFrame(progress["losses"], columns=["epoch", "loss"]).set_index("epoch")
            with left:
                widgets.show(
                    charts.lines(losses, losses * 0, x_title="Epoch", y_title="Loss", factor=1),
                    "Loss by epoch",
                    "losses",
                )
    elif student["state"] == "working":
        left.info("Starting ...")
    picture = job.folder / "student.jpg"
    if picture.exists():
        right.image(picture.read_bytes(), width="stretch",
                    caption="Photo and heatmap as of now; no threshold yet")  # fmt: skip
    if st.button("Stop, and keep what it has", icon=":material/stop_circle:"):
        room.stop(job)


def _show_comparison(job: Job, units: Units) -> None:
    record = job.read_json("lesson.json") or {}
    if "compared" not in record:
        st.markdown(
            "A student network learns to reproduce the teacher's features of good parts, and fails "
            "on defects. With enough photos and minutes it can find more than the memory; painted "
            "defects decide. It runs in the background: this page can be closed meanwhile."
        )
        return
    names = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "PRO"}
    table = pd.DataFrame(record["compared"])
    for key, name in names.items():
        table[f"{name}, {units.name}"] = (table.pop(key) * units.factor).round(units.digits)
    st.markdown(f"**Recommended: {record['recommended']}.** {record['advice']}")
    st.dataframe(table, hide_index=True, width="stretch", placeholder="–")
    st.caption("On defects painted into held-out photos: synthetic.")
