"""Steps 2 and 3 of Teach: the first detector, and what it would find."""

from typing import Any

import pandas as pd
import streamlit as st

from rd4ad.data.folders import IMAGE_SUFFIXES
from rd4ad.teach.jobs import work
from rd4ad.teach.jobs.classroom import Classroom
from rd4ad.teach.jobs.folder import Job
from rd4ad.teach.pictures import N_SHOWN
from rd4ad.teach.report import REAL
from rd4ad.web.explorer import charts, widgets
from rd4ad.web.explorer.held_uploads import forget
from rd4ad.web.explorer.units import Units
from rd4ad.web.teach import session
from rd4ad.web.teach.session import plain
from rd4ad.web.teach.uploads import receive_defects

_POLL = "0.5s"
_SYNTHETIC = (
    "Synthetic: the defects are painted into photos that the detector was not fitted on. They "
    "compare detectors and thresholds, and promise nothing about real ones."
)


@st.fragment(run_every=_POLL)
def wait(room: Classroom, job: Job) -> None:
    """Show where the first detector stands, and its first heatmap as soon as there is one."""
    lesson = session.still_waiting(job, "lesson")
    before = room.place(job, "lesson")
    step = lesson.get("step", "waiting")
    st.info(f"Waiting for {before} others." if before else f"{step.capitalize()} ...")
    _show_least_alike(job, None)


def show(room: Classroom, job: Job) -> None:
    """Show the fitted detector: its threshold, and the photos that look least like the others."""
    record = job.read_json("lesson.json")
    if record is None:
        return
    threshold = record["threshold"]
    seconds = job.state()["lesson"].get("seconds")
    took = f" It took {seconds:.1f} s." if seconds else ""
    st.markdown(
        f"A memory of patches of {record['n_photos']} photos.{took} Its threshold is "
        f"**{threshold['value']:.3f}**. {threshold['text']}"
    )
    for one in record["augmentations"]:
        st.markdown(one["text"])
    (st.success if record["growth"]["is_enough"] else st.info)(record["growth"]["text"])
    st.markdown(
        "**Least like the others.** Each photo was judged by a memory of the others; outlined is "
        "what lies above the threshold. Is one of them no good part? Take it out."
    )
    out = [one["name"] for one in job.state()["photos"] if one["is_left_out"]]
    for rank, column in enumerate(_show_least_alike(job, record)):
        name = record["least_alike"][rank]
        if column.button("Take it out", key=f"out_{rank}", icon=":material/remove_circle:"):
            _refit(room, job, [*out, name])
    if out and st.button(f"Put back: {', '.join(map(plain, out[:5]))}", icon=":material/undo:"):
        _refit(room, job, [])


def _show_least_alike(job: Job, record: dict[str, Any] | None) -> list[Any]:
    """Show the pictures that are there already, and return their columns."""
    paths = [job.folder / f"least-{rank}.jpg" for rank in range(N_SHOWN)]
    columns = list(st.columns(N_SHOWN))
    shown = [(path, column) for path, column in zip(paths, columns, strict=True) if path.exists()]
    for rank, (path, column) in enumerate(shown):
        name = plain(record["least_alike"][rank]) if record else None
        column.image(path.read_bytes(), caption=name, width="stretch")
    return [column for _, column in shown]


def _refit(room: Classroom, job: Job, left_out: list[str]) -> None:
    job.leave_out(left_out)
    room.learn(job)
    st.rerun()


def appraise(job: Job, units: Units) -> None:
    """Show which painted defects are found, examples of both kinds, and real ones if any."""
    record = job.read_json("lesson.json")
    if record is None:
        return
    own = record["student"] if record.get("is_student_kept") else record
    smallest = own["smallest_found_px"]
    st.markdown(
        f"At this threshold at least nine in ten painted defects of **{smallest} px** and more are "
        "found, in photos of 256 px."
        if smallest
        else "At this threshold no size of painted defects is found nine times in ten."
    )
    st.caption(_SYNTHETIC)
    table = pd.DataFrame(own["painted"])
    share = table.pivot_table(index="size_px", columns="kind", values="is_found", aggfunc="mean")
    left, right = st.columns(2)
    with left:
        widgets.show(
            charts.lines(
                share, share * 0, x_title="Size of the painted defect, px of 256",
                y_title=f"Found, {units.name}", factor=units.factor,
            ),
            "Share of painted defects found, by size and kind",
            "found",
        )  # fmt: skip
    with right:
        shown = (share * units.factor).T.round(0).rename(columns="{} px".format)
        st.dataframe(
            shown.rename_axis(f"found, {units.name}").reset_index(),
            hide_index=True, width="stretch", placeholder="–",
        )  # fmt: skip
        st.caption(
            f"Image AUROC {units.text(own['painted_image_auroc'])}, pixel AUROC "
            f"{units.text(own['painted_pixel_auroc'])}, PRO {units.text(own['painted_aupro'])}, "
            "all synthetic."
        )
    for kind, text in (("found", "Found, though faint"), ("missed", "Missed")):
        paths = [job.folder / f"{kind}-{rank}.jpg" for rank in range(N_SHOWN)]
        if paths[0].exists():
            st.markdown(f"**{text}**")
            for path, column in zip(paths, st.columns(N_SHOWN), strict=True):
                if path.exists():
                    column.image(path.read_bytes(), width="stretch")


def real_defects(room: Classroom, job: Job, units: Units) -> None:
    """Take photos of real defects, with masks if there are any, and show what was measured."""
    record = job.read_json("lesson.json")
    if record is None:
        return
    if record.get("real"):
        n_defects = len(job.state()["defects"])
        st.markdown(f"**Real defects**: {n_defects} photos that you added.")
        for column, (key, value) in zip(st.columns(4), record["real"].items(), strict=False):
            column.metric(f"{REAL[key]}, {units.name}", units.text(value))
    with st.expander("Add photos of real defects", icon=":material/broken_image:"):
        turn = st.session_state.setdefault("defects_turn", 0)
        files = st.file_uploader(
            "Photos of defective parts, and their masks if you have them",
            [suffix.removeprefix(".") for suffix in sorted(IMAGE_SUFFIXES)],
            accept_multiple_files=True,
            key=f"defects_{turn}",
            help="A mask is an image named like its photo with _mask at the end: scratch.png and "
            "scratch_mask.png. White is defective. Masks can also be drawn in the live demo.",
        )
        if files:
            received = receive_defects(room, job, [(one.name, one.getvalue()) for one in files])
            forget(files)
            work.write_report(job)
            st.session_state["defects_turn"] += 1
            session.tell(received.problems)
            st.rerun()
