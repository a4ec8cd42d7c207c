"""The live demo in Gradio: an image in, a heatmap and a verdict out.

One inference an image; opacity and threshold draw the kept judgment again.
"""

from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import gradio as gr
import numpy as np
import pandas as pd
from gradio.events import api
from numpy.typing import NDArray

from rd4ad.inference.overlay import overlay
from rd4ad.web.explorer.charts import normal_scores
from rd4ad.web.live import digit_pad, judgments
from rd4ad.web.live.detectors import BusyError, Detectors, Judgment
from rd4ad.web.live.door import GuardedBlocks
from rd4ad.web.live.uploads import MAX_BYTES, RefusedError, read_upload_file

EXAMPLES = Path(__file__).resolve().parent / "examples"
"""Pictures of generated parts that come with the package, named <part>_<what>.jpg."""
KEPT_SECONDS = 3600
BATCH = 16
THEME = gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=["system-ui", "sans-serif"])
CSS = """
.gradio-container {padding: 0 !important}
.verdict {font-size: 1.3rem; padding: .6rem .9rem; border-radius: 8px; border: 2px solid}
.verdict.defective {border-color: #D55E00} .verdict.normal {border-color: #009E73}
.verdict small {display: block; font-size: .85rem; opacity: .8}
.files a {margin-right: 1.2rem}
"""
_SNIPPET = """from gradio_client import Client, handle_file

client = Client("http://localhost:7860/live/")
answer = client.predict(handle_file("part.png"), "{detector}", api_name="/predict")
print(answer["verdict"], answer["score"], answer["regions"])
"""
_CURL = """curl -F image=@part.png "http://localhost:7860/api/v1/predict?detector={detector}"
"""


def build(detectors: Detectors, kept: judgments.Kept) -> gr.Blocks:
    """Return the demo.

    Args:
        detectors: to choose from.
        kept: where judgments wait to be drawn again.
    """
    digits = digit_pad.digits(detectors.files())
    names = [name for name in detectors.files() if name not in digits]
    first = names[0] if names else None
    with GuardedBlocks(
        title="RD4AD live", analytics_enabled=False, delete_cache=(600, KEPT_SECONDS)
    ) as demo:
        token = gr.State("")
        chooser = gr.Dropdown(
            names,
            value=first,
            label="Detector",
            info="Each detector knows one kind of part, the one that it was trained on.",
        )
        if not names:
            gr.Markdown(
                "**No detector is installed.** Set RD4AD_DETECTORS to a folder of checkpoints."
            )
        with gr.Tab("One image"):
            with gr.Row():
                with gr.Column(scale=2, min_width=300):
                    photo = gr.Image(
                        sources=["upload", "webcam", "clipboard"],
                        type="filepath",
                        image_mode=None,  # the file as it came: `read_upload_file` decodes it
                        label=f"Image, at most {MAX_BYTES // 2**20} MB; deleted within an hour",
                        height=280,
                    )
                    examples = [str(path) for path in example_files(names)]
                    picked = gr.Examples(
                        examples,
                        photo,
                        label="Examples: click one",
                        cache_examples=False,
                        examples_per_page=8,
                        api_visibility="private",
                    )
                with gr.Column(scale=3, min_width=300):
                    verdict = gr.HTML("<div class='verdict'>Choose an example or an image.</div>")
                    slider = gr.ImageSlider(
                        label="Image and heatmap: drag the line to compare",
                        format="jpeg",
                        interactive=False,
                        height=430,
                        buttons=[],
                    )
                    with gr.Row():
                        opacity = gr.Slider(0, 1, 0.75, step=0.05, label="Opacity of the heatmap")
                        threshold = gr.Slider(0, 1, 0.5, step=0.001, label="Threshold")
                    files = gr.HTML()
            with gr.Row():
                layers = gr.Gallery(
                    label="Distance map per layer, with its share of the score at the peak",
                    columns=3, height=230, object_fit="contain", format="jpeg", buttons=[],
                    min_width=420,
                )  # fmt: skip
                distribution = gr.Plot(label="Score against held-out normal images", min_width=420)
            regions = gr.Dataframe(
                headers=["x", "y", "width", "height", "area, %", "peak"],
                label="Regions above the threshold, in pixels of the picture shown",
                interactive=False,
            )
        with gr.Tab("Several images"):
            several = gr.Files(label=f"Up to {BATCH} images", file_types=["image"])
            go = gr.Button("Judge all", variant="primary")
            gallery = gr.Gallery(label="Heatmaps", columns=4, format="jpeg", buttons=[])
            table = gr.Dataframe(
                headers=["file", "score", "verdict", "problem"], label="Scores", interactive=False
            )
        if digits:
            digit_pad.add_tab(detectors, digits)
            demo.load(None, js=digit_pad.HOLD_BRUSH)
        with gr.Accordion("Use it from a program", open=False):
            gr.Code(_SNIPPET.format(detector=first or "NAME"), language="python", interactive=False)
            gr.Code(_CURL.format(detector=first or "NAME"), language="shell", interactive=False)
            asked = gr.Button("Ask", visible=False)
            with_map = gr.Checkbox(True, visible=False)
            said = gr.JSON(visible=False)

        shown = [verdict, slider, files, regions]

        def judge(path: str | None, name: str | None) -> list[Any]:
            """Judge one image and fill the page."""
            judged = _judge(detectors, path, name)
            at = round(judged.starting_threshold(), 3)
            top = round(max(judged.scale()[1], judged.score) * 1.1, 3)
            new = kept.keep(judged)
            return [
                new,
                gr.update(maximum=top, value=at),
                *_view(judged, new, at, 0.75),
                _layer_pictures(judged),
                _distribution(judged),
                0.75,
            ]

        def redraw(new: str, at: float, alpha: float) -> list[Any]:
            """Draw the kept judgment with another opacity or threshold; no inference."""
            judged = kept.find(new)
            if judged is None:
                return [gr.skip()] * len(shown)
            return _view(judged, new, at, alpha)

        def predict(image: str, detector: str, with_map: bool = True) -> dict[str, Any]:
            """Look for anomalies in a photo of a part, with a detector of that kind of part.

            Args:
                image: the photo: PNG, JPEG, WebP, AVIF, BMP, TIFF, GIF or PPM, at most 10 MB.
                detector: a name from list_detectors; each knows one kind of part and no other.
                with_map: whether the answer holds the anomaly map, float32 TIFF in base64 (90 KB).

            Returns:
                score (higher is more anomalous), threshold, verdict ("normal" or "defective"), and
                regions above the threshold as boxes in pixels, with area and peak.
            """
            judged = _judge(detectors, image, detector)
            answer = judgments.answer(judged, judged.starting_threshold())
            return judgments.with_map(answer, judged) if with_map else answer

        def list_detectors() -> list[str]:
            """List the detectors that predict knows, by the kind of part that each is for."""
            return list(detectors.files())

        def judge_all(paths: list[str] | None, name: str | None) -> tuple[list[Any], pd.DataFrame]:
            """Judge several images; one that is refused is named and stops nothing."""
            return _judge_all(detectors, paths or [], name)

        outputs = [token, threshold, *shown, layers, distribution, opacity]
        hidden: dict[str, Any] = {"api_visibility": "private"}
        photo.input(judge, [photo, chooser], outputs, **hidden)
        chooser.input(judge, [photo, chooser], outputs, **hidden)
        if examples:
            picked.load_input_event.then(part_of, photo, chooser, **hidden).then(
                judge, [photo, chooser], outputs, **hidden
            )
        quick: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last"}
        for control in (opacity, threshold):
            control.input(redraw, [token, threshold, opacity], shown, **hidden, **quick)
        go.click(judge_all, [several, chooser], [gallery, table], **hidden)
        asked.click(predict, [photo, chooser, with_map], said, api_name="predict")
        api(list_detectors, api_name="list_detectors", queue=False)
        if examples:

            def show_example() -> list[Any]:
                """Open with the first example, judged."""
                part = part_of(examples[0])
                return [examples[0], part, *judge(examples[0], part)]

            with suppress(gr.Error):  # a rehearsal: what loads on first use is loaded
                show_example()
            demo.load(show_example, None, [photo, chooser, *outputs], **hidden)
    demo.queue(max_size=32, default_concurrency_limit=2)
    return demo


def part_of(path: str) -> str:
    """Return the detector that an example is for; its file's name says it.

    >>> part_of("examples/bottle_contamination.jpg")
    'bottle'
    """
    return Path(path).stem.split("_")[0]


def example_files(names: list[str]) -> list[Path]:
    """Return the bundled examples of the parts that have a detector."""
    return sorted(path for path in EXAMPLES.glob("*.jpg") if part_of(str(path)) in names)


def _judge(detectors: Detectors, path: str | None, name: str | None) -> Judgment:
    if path is None:
        raise gr.Error("Expected an image: upload one or click an example.", print_exception=False)
    if name not in detectors.files():
        raise gr.Error("Expected a detector: choose one from the list.", print_exception=False)
    try:
        return detectors.judge(str(name), read_upload_file(path))
    except (RefusedError, BusyError, ValueError, FileNotFoundError) as error:
        raise gr.Error(escape(str(error)), print_exception=False) from error


def _view(judged: Judgment, token: str, threshold: float, opacity: float) -> list[Any]:
    verdict = judged.verdict(threshold)
    origin = "its own" if threshold == round(judged.starting_threshold(), 3) else "yours"
    if judged.threshold is None:
        origin = "not calibrated: trained without held-out normal images"
    found = judged.regions(threshold)
    said = (
        f"<div class='verdict {verdict}'><b>{'✗' if verdict == 'defective' else '✓'} {verdict}</b> "
        f"· score {judged.score:.3f}, threshold {threshold:.3f} ({origin})"
        f"<small>{len(found)} region{'s' * (len(found) != 1)} above the threshold, detector "
        f"{escape(judged.detector)}</small></div>"
    )
    query = urlencode({"threshold": threshold, "opacity": opacity})
    links = "".join(
        f"<a href='/api/v1/judgments/{token}/{name}?{query}' download>{label}</a>"
        for name, label in (
            ("overlay.png", "Overlay PNG"),
            ("map.tiff", "Raw map TIFF"),
            ("answer.json", "Answer JSON"),
        )
    )
    rows = [[r.x, r.y, r.width, r.height, round(100 * r.area, 2), round(r.peak, 3)] for r in found]
    pictures = (judged.picture, judgments.drawn(judged, threshold, opacity))
    return [said, pictures, f"<div class='files'>Keep: {links}</div>", rows]


def _layer_pictures(judged: Judgment) -> list[tuple[NDArray[np.uint8], str]]:
    dark = np.full((*judged.anomaly_map.shape, 3), 24, np.uint8)
    pictures = []
    for layer, one in judged.layer_maps.items():
        low, high = float(np.median(one)), max(float(one.max()), float(np.median(one)) + 1e-6)
        caption = f"{layer}: {100 * judged.shares[layer]:.0f}%"  # short: on a phone it is cut off
        pictures.append((overlay(dark, one, low, high, opacity=1.0), caption))
    return pictures


def _distribution(judged: Judgment) -> Any:
    if judged.threshold is None:
        return None
    return normal_scores(judged.normal_scores, judged.threshold, judged.score)


def _judge_all(
    detectors: Detectors, paths: list[str], name: str | None
) -> tuple[list[Any], pd.DataFrame]:
    if not paths:
        raise gr.Error("Expected at least one image: add files first.", print_exception=False)
    pictures, rows = [], []
    for path in paths[:BATCH]:
        file = Path(path).name
        try:
            judged = _judge(detectors, path, name)
        except gr.Error as error:
            rows.append([file, None, "", error.message])
            continue
        at = judged.starting_threshold()
        caption = f"{file}: {judged.verdict(at)}, {judged.score:.3f}"
        pictures.append((judgments.drawn(judged, at, 0.75), caption))
        rows.append([file, round(judged.score, 4), judged.verdict(at), ""])
    for path in paths[BATCH:]:
        rows.append([Path(path).name, None, "", f"not judged: at most {BATCH} images at once"])
    return pictures, pd.DataFrame(rows, columns=["file", "score", "verdict", "problem"])
