"""A digit drawn with the mouse, and whether a one-class detector of MNIST takes it for its own."""

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rd4ad.inference.overlay import common_range, overlaid
from rd4ad.web.explorer.charts import normal_scores
from rd4ad.web.live.detectors import BusyError, Detectors, Judgment
from rd4ad.web.live.door import guard_pad

CANVAS_PX = 280
BRUSH_PX = 22  # about 2 px of 28, as pens in MNIST are
_SIDE_PX, _BOX_PX = 28, 20
_FAINT = 16  # of 255: what the eye takes for paper
_NAME = re.compile(r"mnist_([0-9])")
HOLD_BRUSH = """() => {
    setInterval(() => {
        const pad = document.querySelector("#sketch");
        const brush = pad && pad.querySelector("button[aria-label='Brush']");
        if (brush && pad.innerText.includes("to start")) brush.click();
    }, 200);
}"""
"""To be run when the demo has loaded: a pad that was hidden at first, or is cleared, has no tool
chosen, and nobody expects that. Its own events come too early on a slow machine, so it is watched.
"""


def digits(names: Iterable[str]) -> dict[str, str]:
    """Return the digit of every detector that `rd4ad novelty` keeps of MNIST, by its name.

    >>> digits(["bottle", "mnist_3"])
    {'mnist_3': '3'}
    """
    matches = {name: _NAME.fullmatch(name) for name in names}
    return {name: match[1] for name, match in matches.items() if match}


def as_digit(drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a drawing (H, W), dark on light, as MNIST has its digits: (28, 28), light on dark.

    >>> paper = np.full((280, 280), 255, np.uint8)
    >>> paper[20:160, 30:60] = 0
    >>> digit = as_digit(paper)
    >>> np.argwhere(digit > 128).min(axis=0).tolist(), np.argwhere(digit > 128).max(axis=0).tolist()
    ([4, 12], [23, 15])

    Raises:
        ValueError: nothing is drawn.

    Source: the MNIST data base's description: the digit in a box of 20 x 20 pixels with its
    proportions kept, its center of mass in the middle of 28 x 28.
    """
    ink = 255 - drawn
    rows, columns = (np.flatnonzero((ink > _FAINT).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        raise ValueError("Nothing is drawn yet: draw a digit first.")
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = _BOX_PX / max(cut.shape)
    height, width = (max(1, round(side * scale)) for side in cut.shape)
    small = np.asarray(Image.fromarray(cut).resize((width, height), Image.Resampling.BOX))
    digit = np.zeros((_SIDE_PX, _SIDE_PX), np.uint8)
    top, left = (
        int(np.clip(round((_SIDE_PX - 1) / 2 - center), 0, _SIDE_PX - side))
        for center, side in zip(_center_of_mass(small), small.shape, strict=True)
    )
    digit[top : top + height, left : left + width] = small
    return digit


def _center_of_mass(ink: NDArray[np.uint8]) -> tuple[float, float]:
    weight = ink.astype(float)
    down, across = (weight.sum(axis=axis) for axis in (1, 0))
    total = weight.sum()
    return (
        float(down @ np.arange(len(down)) / total),
        float(across @ np.arange(len(across)) / total),
    )


def add_tab(detectors: Detectors, known: Mapping[str, str]) -> None:
    """Add the tab to the demo that is being built.

    Args:
        detectors: that hold those of `known`.
        known: the digit of every detector, by its name; see `digits`.
    """
    with gr.Tab("Digit"):
        gr.Markdown(
            "A detector that saw one digit alone, of MNIST, judges what you draw: is it that digit?"
        )
        with gr.Row():
            with gr.Column(min_width=300):
                chooser = gr.Dropdown(
                    [(f"only ever saw the digit {digit}", name) for name, digit in known.items()],
                    value=next(iter(known)),
                    label="Digit detector",
                )
                pad = gr.Sketchpad(
                    elem_id="sketch",
                    type="numpy",
                    image_mode="L",
                    label="Draw here, large and in the middle",
                    canvas_size=(CANVAS_PX, CANVAS_PX),
                    height=CANVAS_PX + 120,
                    fixed_canvas=True,
                    layers=False,
                    transforms=(),
                    brush=gr.Brush(default_size=BRUSH_PX, colors=["#000000"], color_mode="fixed"),
                    buttons=[],
                )
                guard_pad(pad)
                go = gr.Button("Judge the digit", variant="primary")
            with gr.Column(min_width=300):
                verdict = gr.HTML("<div class='verdict'>Draw a digit, then let it be judged.</div>")
                seen = gr.Gallery(
                    label="What the detector sees, and where it is surprised",
                    columns=2, height=CANVAS_PX + 60, object_fit="contain", format="png",
                    buttons=[],
                )  # fmt: skip
                distribution = gr.Plot(label="Score and those of held-out images of the digit")

        def judge(drawn: dict[str, Any] | None, name: str) -> list[Any]:
            """Judge a drawing."""
            judged = judged_drawing(detectors, drawn, name)
            chart = None
            if judged.threshold is not None:
                chart = normal_scores(judged.normal_scores, judged.threshold, judged.score)
            return [_verdict(judged, known[name]), _pictures(judged), chart]

        go.click(
            judge, [pad, chooser], [verdict, seen, distribution],
            api_visibility="private", show_progress="hidden",
        )  # fmt: skip


def judged_drawing(detectors: Detectors, drawn: Mapping[str, Any] | None, name: str) -> Judgment:
    """Return what a detector says of the drawing on a sketchpad.

    Raises:
        gr.Error: nothing is drawn, no such detector, or the server is too busy.
    """
    if name not in digits(detectors.files()):
        raise gr.Error("Choose a detector from the list first.", print_exception=False)
    try:
        if drawn is None or drawn["composite"] is None:
            raise ValueError("Nothing is drawn yet: draw a digit first.")
        digit = as_digit(drawn["composite"])
        return detectors.judge(name, np.repeat(digit[..., None], 3, axis=2))
    except (BusyError, ValueError, FileNotFoundError) as error:
        raise gr.Error(escape(str(error)), print_exception=False) from error


def _verdict(judged: Judgment, digit: str) -> str:
    if judged.threshold is None:
        return f"<div class='verdict'>score {judged.score:.1f}; no threshold was calibrated</div>"
    is_novel = judged.score > judged.threshold
    said = f"✗ no {digit} that it knows" if is_novel else f"✓ passes for a {digit}"
    return (
        f"<div class='verdict {'defective' if is_novel else 'normal'}'><b>{said}</b> · score "
        f"{judged.score:.1f}, threshold {judged.threshold:.1f}"
        "<small>The score is the sum of the map; the threshold comes from held-out images of its "
        "digit.</small></div>"
    )


def _pictures(judged: Judgment) -> list[tuple[NDArray[np.uint8], str]]:
    times = CANVAS_PX // _SIDE_PX
    digit = judged.picture.repeat(times, axis=0).repeat(times, axis=1)
    low, high = common_range([judged.anomaly_map])
    return [
        (digit, "in 28 x 28 pixels"),
        (overlaid(digit, judged.anomaly_map, low, high, opacity=0.75), "surprise"),
    ]
