"""Step 1 of Teach: photos of good parts come in, are shown, and are looked at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image
from streamlit.runtime.uploaded_file_manager import UploadedFile

from rd4ad.data.folders import IMAGE_SUFFIXES
from rd4ad.data.parts import PARTS, render
from rd4ad.teach.jobs.classroom import Classroom
from rd4ad.teach.jobs.folder import Job
from rd4ad.teach.jobs.quota import QuotaError
from rd4ad.teach.photos import AT_LEAST, Photo, findings, photo_of
from rd4ad.web.explorer.held_uploads import forget
from rd4ad.web.live import address
from rd4ad.web.live.uploads import MAX_BYTES
from rd4ad.web.teach import session
from rd4ad.web.teach.uploads import MAX_ZIP_BYTES, Received, receive

WAYS = ("Files or ZIP", "Folder", "Camera", "Our examples")
RATES = {0.001: "1 in 1,000", 0.01: "1 in 100", 0.05: "1 in 20", 0.1: "1 in 10"}
N_EXAMPLES = 30
_SHOWN = 40  # thumbnails
_THUMBNAIL_PX = 96
_PICTURE_PX = 130
_MIB = 2**20


def begin(room: Classroom) -> None:
    """Ask for photos; the first detector is fitted as soon as there are enough."""
    asking = st.container()
    rate = st.select_slider(
        "Accepted false alarms",
        list(RATES),
        value=0.01,
        format_func=RATES.__getitem__,
        help="How many good parts may be called defective. The threshold follows from it; fewer "
        "false alarms mean that faint defects are missed.",
    )
    with asking:
        given = _ask(room, None)
    if given is None:
        return
    name, files = given
    job = session.new_job(room, rate, name)
    if job:
        _take(room, job, files)


def add(room: Classroom, job: Job) -> None:
    """Ask for more photos."""
    given = _ask(room, job)
    if given:
        _take(room, job, given[1])


def _ask(
    room: Classroom, job: Job | None
) -> tuple[str, Sequence[UploadedFile] | Sequence[Photo]] | None:
    """Return a name for the part and what was given; None while nothing is."""
    ways = WAYS if job is None else WAYS[:-1]
    way = st.segmented_control(
        "From", ways, default=ways[0], required=True, key="teach_from",
        help="Between 5 and 500 photos of parts without a defect; 20 or more is better.",
    )  # fmt: skip
    turn = st.session_state.setdefault("teach_turn", 0)  # a new widget once its files are taken
    if way == "Our examples":
        return _examples()
    if way == "Camera":
        _offer_burst(room, job)
        photo = st.camera_input(
            "Take a photo, move or change the part, take the next",
            key=f"teach_camera_{turn}",
            help="Each photo is added at once. Fix the camera, and keep the light as it will be.",
        )
        return ("part", [photo]) if photo else None
    is_folder = way == "Folder"
    files = st.file_uploader(
        "Photos of good parts" + (": choose their folder" if is_folder else ", or ZIP files"),
        [suffix.removeprefix(".") for suffix in sorted(IMAGE_SUFFIXES)] + ["zip"],
        accept_multiple_files="directory" if is_folder else True,
        key=f"teach_files_{turn}_{way}",
        max_upload_size=MAX_ZIP_BYTES // _MIB,
        help=f"At most {room.quota.photos:g} photos, {MAX_BYTES // _MIB} MB each, or a ZIP of "
        f"{MAX_ZIP_BYTES // _MIB} MB. They are kept at 256 px, on this server, for "
        f"{room.quota.hours:g} hours after your last change.",
    )
    return ("part", files) if files else None


def _offer_burst(room: Classroom, job: Job | None) -> None:
    """Offer a photo every second or so, which takes the live demo's camera and a job to add to."""
    served = address.find()
    if served is None:
        return
    if job is not None:
        st.link_button(
            "Open the burst", f"{served}&job={job.token}", icon=":material/burst_mode:",
            help="Its tab Good parts takes a photo every 1.5 seconds. Come back and reload then.",
        )  # fmt: skip
    elif st.button(
        "Take a burst instead", icon=":material/burst_mode:",
        help="A photo every 1.5 seconds, while you change the parts.",
    ):  # fmt: skip
        made = session.new_job(room, 0.01, "part")
        if made:
            session.enter(made)
            st.rerun()


def _examples() -> tuple[str, Sequence[Photo]] | None:
    part = st.selectbox(
        "Generated part", sorted(PARTS),
        help="Parts drawn by this project, to try the whole way without photos of your own.",
    )  # fmt: skip
    st.image(_strip(part), caption="Four of the photos")
    if not st.button(f"Use {N_EXAMPLES} of these", type="primary", icon=":material/school:"):
        return None
    photos = [
        photo_of(f"{part}_{i:03d}.png", render(part, "good", i, split="train")[0])
        for i in range(N_EXAMPLES)
    ]
    return part, photos


@st.cache_data(max_entries=8, show_spinner=False)
def _strip(part: str) -> NDArray[np.uint8]:
    return np.concatenate(
        [render(part, "good", i, split="train")[0][::2, ::2] for i in range(4)], 1
    )


def _take(room: Classroom, job: Job, given: Sequence[UploadedFile] | Sequence[Photo]) -> None:
    """Add what was given, start the first detector if it came at once, and run the page again."""
    with st.spinner(f"Reading {len(given)} photos ..."):
        received = _received(room, job, given)
        problems = list(received.problems)
        if received.n_photos > 1:  # at once: Streamlit ends the next call where the page is closed
            try:
                room.learn(job)
            except QuotaError as error:
                problems.append(str(error))
    session.enter(job)
    st.session_state["teach_turn"] += 1
    session.tell(problems)
    st.rerun()


def _received(
    room: Classroom, job: Job, given: Sequence[UploadedFile] | Sequence[Photo]
) -> Received:
    photos = [one for one in given if isinstance(one, Photo)]
    uploads = [one for one in given if not isinstance(one, Photo)]
    if uploads:
        received = receive(room, job, ((one.name, one.getvalue()) for one in uploads))
        forget(uploads)
        return received
    try:
        room.add_photos(job, photos)
    except QuotaError as error:
        return Received(problems=[str(error)])
    return Received(n_photos=len(photos))


def show(room: Classroom, job: Job) -> None:
    """Show the photos, what was found about them, and how to add or delete."""
    state = job.state()
    kept = [one for one in state["photos"] if not one["is_left_out"]]
    n_out = len(state["photos"]) - len(kept)
    left_out = f", {n_out} left out" if n_out else ""
    said, gone = st.columns([3, 1], vertical_alignment="center")
    said.markdown(
        f"**{len(kept)} photos**{_sizes(kept)}{left_out}. They are deleted at "
        f"{session.clock(room.expires(state))}, or later if you change something. This page's "
        "address leads back to them; whoever has it can see and delete them."
    )
    if gone.button("Delete all now", icon=":material/delete:", width="stretch"):
        room.delete(job)
        _findings.clear()
        session.leave()
        st.rerun()
    lesson = job.read_json("lesson.json")
    is_new = lesson is None or set(lesson["photos"]) != {one["name"] for one in kept}
    if kept:
        st.image(_sheet(job), alt=f"The first {_SHOWN} photos")
        _show_findings(job, tuple(one["file"] for one in kept))
    is_idle = state["lesson"]["state"] not in ("queued", "working")
    if is_new and is_idle and len(kept) >= AT_LEAST:
        text = "Teach it these photos" if lesson is None else "Teach it again with these photos"
        if st.button(text, type="primary", icon=":material/school:"):
            room.learn(job)
            st.rerun()
    with st.expander("Add photos", expanded=len(kept) < AT_LEAST, icon=":material/add_a_photo:"):
        add(room, job)


def _sizes(kept: list[dict[str, Any]]) -> str:
    """Return the smallest and largest size of photos as they came, in words."""
    ordered = sorted((one["size"] for one in kept), key=lambda size: size[0] * size[1])
    words = dict.fromkeys(f"{width} x {height}" for width, height in (ordered[:1] + ordered[-1:]))
    return f" of {' to '.join(words)} px" if words else ""


def _show_findings(job: Job, files: tuple[str, ...]) -> None:
    left, right = st.columns([3, 2])
    with left:
        found = _findings(str(job.folder), files) if len(files) >= AT_LEAST else []
        for kind, text, photos in found:
            more = " ..." if len(photos) > 4 else ""
            names = f" ({', '.join(map(session.plain, photos[:4]))}{more})" if photos else ""
            first = photos[0] if len(photos) == 1 else ""
            text = text.replace(first, session.plain(first)) if first else text
            st.warning(f"**{kind.capitalize()}.** {text}{names}")
        if not found:
            st.success("Sharp, of one aspect ratio, no duplicates: nothing stands in the way.")
    if (job.folder / "spread.jpg").exists():
        pictures = right.container(horizontal=True)
        for name, caption in (("mean", "Mean of all"), ("spread", "Where they differ")):
            pictures.image(str(job.folder / f"{name}.jpg"), caption=caption, width=_PICTURE_PX)


@st.cache_data(max_entries=8, show_spinner="Looking at the photos ...")
def _findings(folder: str, files: tuple[str, ...]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.kind, one.text, one.photos) for one in findings(Job(Path(folder)).photos())]


def _sheet(job: Job) -> Image.Image:
    """Return the first photos as one picture, ten across; the rest of the last row is clear."""
    kept = [one for one in job.state()["photos"] if not one["is_left_out"]][:_SHOWN]
    across = min(10, len(kept))
    size = (across * _THUMBNAIL_PX, -(-len(kept) // across) * _THUMBNAIL_PX)
    sheet = Image.new("RGBA" if len(kept) % across else "RGB", size)
    for number, one in enumerate(kept):
        with Image.open(job.folder / one["file"]) as image:
            small = image.resize((_THUMBNAIL_PX, _THUMBNAIL_PX))
        place = (number % across * _THUMBNAIL_PX, number // across * _THUMBNAIL_PX)
        sheet.paste(small, place)
    return sheet
