"""The live demo with a detector that its visitor taught, and a camera as a stream for any."""

import time
from html import escape
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rd4ad.teach.jobs import work
from rd4ad.teach.jobs.classroom import server_classroom
from rd4ad.teach.jobs.folder import Job
from rd4ad.teach.jobs.quota import QuotaError
from rd4ad.teach.photos import photo_of
from rd4ad.teach.report import REAL
from rd4ad.web.live import judgments
from rd4ad.web.live.detectors import TAUGHT, BusyError, Detectors
from rd4ad.web.live.door import guard_pad

STREAM_SECONDS = 0.15  # between two frames at least; a slower server takes the latest one
BURST_SECONDS = 1.5  # between two photos of a burst: time to change the part
_SESSION_SECONDS = 120  # after which a stream waits for another click
_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def name_of(request: gr.Request | None) -> str | None:
    """Return the name of the taught detector that a page's address asks for, if it is there."""
    token = token_of(request)
    job = server_classroom().find(token) if token else None
    return f"{TAUGHT}{job.token}" if job and job.detector() else None


def token_of(request: gr.Request | None) -> str:
    """Return the token of the job that a page's address names; empty where there is none."""
    return str(dict(request.query_params).get("job", "")) if request else ""


def _job(name: str | None) -> Job | None:
    if name is None or not name.startswith(TAUGHT):
        return None
    return server_classroom().find(name.removeprefix(TAUGHT))


def _camera(label: str) -> gr.Image:
    return gr.Image(
        sources=["webcam"], streaming=True, type="numpy", height=420, buttons=[], label=label,
        webcam_options=gr.WebcamOptions(mirror=False),
    )  # fmt: skip


def add_burst_tab() -> tuple[gr.Tab, gr.State]:
    """Add a tab, hidden at first, that takes a photo of a good part every second or so.

    Returns:
        the tab, and the token of the job that gets the photos.
    """
    with gr.Tab("Good parts", visible=False) as tab, gr.Row():
        token = gr.State("")
        camera = _camera("Camera: click to start, change the part between photos, click to stop")
        with gr.Column():
            said = gr.HTML("<div class='verdict'>Start the camera.</div>")
    camera.stream(
        add_good, [camera, token], said,
        stream_every=BURST_SECONDS, time_limit=_SESSION_SECONDS, concurrency_limit=2, **_PRIVATE,
    )  # fmt: skip
    return tab, token


def add_good(image: NDArray[np.uint8] | None, token: str) -> Any:
    """Keep a picture of the camera as a photo of a good part."""
    job = server_classroom().find(token) if token else None
    if image is None or job is None:
        return gr.skip()
    n_photos = len(job.state()["photos"]) + 1
    try:
        server_classroom().add_photos(job, [photo_of(f"camera {n_photos:03d}.png", image)])
    except (QuotaError, OSError) as error:
        raise gr.Error(escape(str(error)), print_exception=False) from error
    return (
        f"<div class='verdict'>{n_photos} photos<small>Enough? Stop the camera, go back to the "
        "page Teach, and reload it.</small></div>"
    )


def add_camera_tab(detectors: Detectors, chooser: gr.Dropdown) -> None:
    """Add a tab that judges a webcam's pictures as fast as they can be judged.

    Args:
        detectors: to judge with.
        chooser: names one.
    """
    with gr.Tab("Camera"), gr.Row():
        camera = _camera("Camera: click to start, click again to stop")
        with gr.Column():
            verdict = gr.HTML("<div class='verdict'>Start the camera.</div>")
            heatmap = gr.Image(
                interactive=False, format="jpeg", height=360, buttons=[], label="Heatmap"
            )
        last = gr.State(0.0)

    def judge(image: NDArray[np.uint8] | None, name: str | None, at: float) -> list[Any]:
        """Judge one picture of the stream."""
        if image is None:
            return [gr.skip()] * 3
        now = time.monotonic()
        try:
            if not name or detectors.find(name) is None:
                raise ValueError("Choose a detector first.")
            judged = detectors.judge(name, image)
        except (BusyError, ValueError, FileNotFoundError) as error:
            raise gr.Error(escape(str(error)), print_exception=False) from error
        threshold = judged.starting_threshold()
        is_bad = judged.verdict(threshold) == "defective"
        rate = f" · {1 / (now - at):.1f} images per second" if at else ""
        said = (
            f"<div class='verdict {judged.verdict(threshold)}'><b>"
            f"{'✗ defective' if is_bad else '✓ normal'}</b> · score {judged.score:.3f}, "
            f"threshold {threshold:.3f}<small>{escape(judged.detector.split(':')[0])}{rate}</small>"
            "</div>"
        )
        return [judgments.drawn(judged, threshold, 0.75), said, now]

    camera.stream(
        judge, [camera, chooser, last], [heatmap, verdict, last],
        stream_every=STREAM_SECONDS, time_limit=_SESSION_SECONDS, concurrency_limit=1, **_PRIVATE,
    )  # fmt: skip


def add_defects_tab(chooser: gr.Dropdown) -> gr.Tab:
    """Add a tab, hidden at first, that takes photos of real defects with masks drawn over them.

    Args:
        chooser: names the taught detector whose job gets them.
    """
    with gr.Tab("Real defects", visible=False) as tab:
        gr.Markdown(
            "A photo of a defective part: paint over the defect, or leave it unpainted. It is kept "
            "with your photos, measures the detector, and is deleted with them."
        )
        pad = gr.ImageEditor(
            sources=["upload", "clipboard", "webcam"], type="numpy", layers=False, transforms=(),
            brush=gr.Brush(default_size=12, colors=["#D55E00"], color_mode="fixed"),
            label="Photo of a defect", height=480, buttons=[], elem_id="defect",
        )  # fmt: skip
        guard_pad(pad)
        go = gr.Button("Add this defect", variant="primary")
        said = gr.HTML()
    go.click(add_defect, [pad, chooser], said, **_PRIVATE)
    return tab


def add_defect(drawn: dict[str, Any] | None, name: str | None) -> str:
    """Keep a photo of a defect with what was painted over it, and say what was measured."""
    job = _job(name)
    if job is None:
        raise gr.Error("This takes a detector that you taught.", print_exception=False)
    if drawn is None or drawn["background"] is None:
        raise gr.Error("Add a photo first.", print_exception=False)
    photo = photo_of(f"defect {len(job.state()['defects']) + 1}.png", drawn["background"][..., :3])
    try:
        server_classroom().check_room(job, 1)
        job.add_defect(photo, _mask(drawn["layers"], len(photo.image)))
        work.write_report(job)
    except (QuotaError, OSError) as error:
        raise gr.Error(escape(str(error)), print_exception=False) from error
    real = (job.read_json("lesson.json") or {})["real"]
    values = ", ".join(f"{REAL[key]} {100 * value:.1f}%" for key, value in real.items())
    n_defects = len(job.state()["defects"])
    plural = "s" * (n_defects != 1)
    return f"<div class='verdict'>{n_defects} defect{plural}: {values}</div>"


def _mask(layers: list[NDArray[np.uint8]], side_px: int) -> NDArray[np.bool_] | None:
    """Return what is painted, (S, S); None where nothing is."""
    painted = [layer[..., 3] > 0 for layer in layers if layer.ndim == 3 and layer.shape[2] == 4]
    if not any(one.any() for one in painted):
        return None
    whole = Image.fromarray(np.any(painted, axis=0))
    return np.asarray(whole.resize((side_px, side_px), Image.Resampling.NEAREST))
