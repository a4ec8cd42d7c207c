"""Steps 5 and 6 of Teach: judge photos beside the most similar good one, and take it along."""

from functools import partial

import numpy as np
import streamlit as st

from rd4ad.data.folders import IMAGE_SUFFIXES
from rd4ad.data.images import resize_image
from rd4ad.inference.detector import Detector
from rd4ad.inference.hub import HubError
from rd4ad.teach.jobs.classroom import server_classroom
from rd4ad.teach.jobs.folder import Job
from rd4ad.teach.memory import Recipe
from rd4ad.web.live import address, judgments
from rd4ad.web.live.detectors import TAUGHT, BusyError, Detectors, Judgment
from rd4ad.web.live.uploads import MAX_BYTES, RefusedError, read_upload
from rd4ad.web.teach.job_files import file_bytes
from rd4ad.web.teach.session import plain

_MOST = 12  # photos at once
_OPACITY = 0.75
_MIB = 2**20


@st.cache_resource(show_spinner=False)
def _detectors() -> Detectors:
    return Detectors([], taught=lambda token: server_classroom().detector(token))


def step(job: Job) -> None:
    """Take photos, and show each verdict beside the most similar good photo."""
    way = st.segmented_control(
        "Judge", ["Photos", "Camera"], default="Photos", required=True, key="judge_from",
        help="Photos are judged one by one, held in memory, and forgotten with this page.",
    )  # fmt: skip
    if way == "Camera":
        photo = st.camera_input("Photo to judge", key="judge_camera")
        files = [photo] if photo else []
    else:
        files = st.file_uploader(
            "Photos to judge",
            [suffix.removeprefix(".") for suffix in sorted(IMAGE_SUFFIXES)],
            accept_multiple_files=True,
            key="judge_files",
            max_upload_size=MAX_BYTES // _MIB,
            help=f"At most {_MOST} at once.",
        )
    for file in files[:_MOST]:
        try:
            image = read_upload(file.getvalue())
            judged = _detectors().judge(f"{TAUGHT}{job.token}", image)
        except (RefusedError, BusyError, ValueError, FileNotFoundError, KeyError) as error:
            st.error(plain(f"{file.name}: {error}"), icon=":material/error:")
            continue
        _show(job, file.name, judged)
    if len(files) > _MOST:
        st.caption(f"{len(files) - _MOST} photos were not judged: at most {_MOST} at once.")
    served = address.find()
    if served:
        st.link_button(
            "Judge by camera stream, and see every view", f"{served}&job={job.token}",
            icon=":material/videocam:",
            help="Opens the live demo with this detector: stream of a webcam, threshold and "
            "opacity, regions, maps by layer, masks to draw.",
        )  # fmt: skip


def _show(job: Job, name: str, judged: Judgment) -> None:
    threshold = judged.starting_threshold()
    verdict = judged.verdict(threshold)
    mark = ":material/cancel:" if verdict == "defective" else ":material/check_circle:"
    above = sum(score < judged.score for score in judged.normal_scores)
    st.markdown(
        f"{mark} **{plain(name)}: {verdict}**, score {judged.score:.3f}, threshold "
        f"{threshold:.3f}. Higher than {above} of {len(judged.normal_scores)} held-out good photos."
    )
    photo, heat, good = st.columns(3)
    photo.image(judged.picture, caption="The photo", width="stretch")
    heat.image(judgments.drawn(judged, threshold, _OPACITY), caption="Heatmap", width="stretch")
    good.image(
        str(job.folder / _most_similar(job, judged)),
        caption="The most similar good photo", width="stretch",
    )  # fmt: skip


def _most_similar(job: Job, judged: Judgment) -> str:
    record = job.read_json("lesson.json") or {}
    recipe = Recipe.from_record(record["recipe"])
    means = np.load(job.folder / "means.npy")
    small = resize_image(judged.picture, recipe.size_px)
    nearest = record["photos"][recipe.most_similar(means, small)]
    return next(one["file"] for one in job.state()["photos"] if one["name"] == nearest)


def take_along(job: Job) -> None:
    """Offer everything as files."""
    named = (
        ("detector.safetensors", "Checkpoint", "For rd4ad: Detector.load, predict, serve."),
        ("detector.onnx", "ONNX model", "Photo in, map and score out, in any ONNX runtime."),
        ("judge.py", "Script", "Judges photos with the ONNX model; needs no rd4ad."),
        ("report.html", "Report", "Photos, settings, threshold, rates and heatmaps on one page."),
    )
    for column, (name, label, text) in zip(st.columns(len(named)), named, strict=True):
        column.download_button(
            label, partial(_content, job, name), name, help=text, on_click="ignore",
            icon=":material/download:", width="stretch", key=f"take_{name}",
        )  # fmt: skip
    st.code(
        "python judge.py detector.onnx PHOTO                  # numpy, pillow, onnxruntime\n"
        "rd4ad predict detector.safetensors PHOTOS --out OUT  # heatmaps and scores.csv\n"
        "rd4ad push detector.safetensors USER/NAME            # to the Hugging Face Hub",
        language="bash",
        wrap_lines=True,
    )


def publish(job: Job) -> None:
    """Offer to put the detector on the Hugging Face Hub, by the login of this server."""
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    name = left.text_input("Name on the Hugging Face Hub", placeholder="user/part", key="hub_name")
    path = job.detector()
    if not right.button("Publish", icon=":material/cloud_upload:", width="stretch") or not path:
        return
    try:
        st.success(f"It is at {Detector.load(path).push_to_hub(name, private=True)}, private.")
    except (HubError, ValueError) as error:
        st.error(str(error), icon=":material/error:")


def _content(job: Job, name: str) -> bytes:
    return file_bytes(job, name) or b""
