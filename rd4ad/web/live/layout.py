"""The live demo's components: what a visitor sees."""

from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.helpers import Examples

from rd4ad.web.live.uploads import MAX_BYTES

BATCH = 16
"""Images judged at once at most."""
THEME = gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=["system-ui", "sans-serif"])
CSS = """
.gradio-container {padding: 0 !important}
.verdict {font-size: 1.3rem; padding: .6rem .9rem; border-radius: 8px; border: 2px solid}
.verdict.defective {border-color: #D55E00} .verdict.normal {border-color: #009E73}
.verdict small {display: block; font-size: .85rem; opacity: .8}
.files a {margin-right: 1.2rem}
"""
OPACITY = 0.75
_SNIPPET = """from gradio_client import Client, handle_file

client = Client("http://localhost:7860/live/")
answer = client.predict(handle_file("part.png"), "{detector}", api_name="/predict")
print(answer["verdict"], answer["score"], answer["regions"])
"""
_CURL = """curl -F image=@part.png "http://localhost:7860/api/v1/predict?detector={detector}"
"""


@dataclass(frozen=True, kw_only=True)
class OneImage:
    """The tab that judges one image."""

    photo: gr.Image
    examples: Examples
    verdict: gr.HTML
    slider: gr.ImageSlider
    opacity: gr.Slider
    threshold: gr.Slider
    files: gr.HTML
    layers: gr.Gallery
    distribution: gr.Plot
    regions: gr.Dataframe


@dataclass(frozen=True, kw_only=True)
class SeveralImages:
    """The tab that judges several images."""

    files: gr.Files
    button: gr.Button
    gallery: gr.Gallery
    table: gr.Dataframe


@dataclass(frozen=True, kw_only=True)
class Program:
    """The panel for programs, and the hidden components behind the endpoint `predict`."""

    button: gr.Button
    with_map: gr.Checkbox
    answer: gr.JSON


def one_image(examples: list[Path]) -> OneImage:
    """Lay out the tab that judges one image.

    Args:
        examples: pictures that a click judges.
    """
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            photo = gr.Image(
                sources=["upload", "webcam", "clipboard"],
                type="filepath",
                image_mode=None,  # the file as it came: `read_upload_file` decodes it
                label=f"Image, at most {MAX_BYTES // 2**20} MB; deleted within an hour",
                height=280,
            )
            clickable = gr.Examples(
                [str(path) for path in examples],
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
                opacity = gr.Slider(0, 1, OPACITY, step=0.05, label="Opacity of the heatmap")
                threshold = gr.Slider(0, 1, 0.5, step=0.001, label="Threshold")
            files = gr.HTML()
    with gr.Row():
        layers = gr.Gallery(
            label="Distance map per layer, with its share of the score at the peak",
            columns=3, height=230, object_fit="contain", format="jpeg", buttons=[],
            min_width=420,
        )  # fmt: skip
        distribution = gr.Plot(label="Score and those of held-out normal images", min_width=420)
    regions = gr.Dataframe(
        headers=["x", "y", "width", "height", "area, %", "peak"],
        label="Regions above the threshold, in pixels of the picture shown",
        interactive=False,
    )
    return OneImage(
        photo=photo, examples=clickable, verdict=verdict, slider=slider, opacity=opacity,
        threshold=threshold, files=files, layers=layers, distribution=distribution,
        regions=regions,
    )  # fmt: skip


def several_images() -> SeveralImages:
    """Lay out the tab that judges several images."""
    return SeveralImages(
        files=gr.Files(label=f"Up to {BATCH} images", file_types=["image"]),
        button=gr.Button("Judge all", variant="primary"),
        gallery=gr.Gallery(label="Heatmaps", columns=4, format="jpeg", buttons=[]),
        table=gr.Dataframe(
            headers=["file", "score", "verdict", "problem"], label="Scores", interactive=False
        ),
    )


def program(detector: str) -> Program:
    """Lay out the panel for programs.

    Args:
        detector: that the snippets name.
    """
    with gr.Accordion("Use it from a program", open=False):
        gr.Code(_SNIPPET.format(detector=detector), language="python", interactive=False)
        gr.Code(_CURL.format(detector=detector), language="shell", interactive=False)
        return Program(
            button=gr.Button("Ask", visible=False),
            with_map=gr.Checkbox(True, visible=False),
            answer=gr.JSON(visible=False),
        )
