"""The live demo's components: what a visitor sees."""

from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import streamlit
from gradio.helpers import Examples

from rd4ad.web.live.uploads import MAX_BYTES

BATCH = 50
"""Images judged at once at most."""
_GRAPHITE = gr.themes.Color(
    c50="#F5F6F7", c100="#ECEEF0", c200="#DDE0E4", c300="#C3C8CE", c400="#9AA1A9", c500="#646B74",
    c600="#4E555D", c700="#353B42", c800="#262B31", c900="#1C2025", c950="#121417", name="graphite",
)  # fmt: skip
_BLUE = gr.themes.Color(
    c50="#E8F3FA", c100="#CFE6F4", c200="#A0CDE9", c300="#70B4DD", c400="#56B4E9", c500="#0072B2",
    c600="#0072B2", c700="#005A8D", c800="#004468", c900="#003049", c950="#00202F", name="blue",
)  # fmt: skip
THEME = gr.themes.Default(
    primary_hue=_BLUE,
    secondary_hue=_BLUE,
    neutral_hue=_GRAPHITE,
    font=["Source Sans", "system-ui", "sans-serif"],
).set(
    body_background_fill="#FFFFFF",
    body_background_fill_dark="#121417",
    block_background_fill_dark="#121417",
    body_text_color="#1C1F23",
    body_text_color_dark="#E8EAED",
    block_label_text_color="*neutral_600",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
)
"""The explorer's colors (.streamlit/config.toml), so that both look like one program."""


def font_face() -> str:
    """Return the CSS that takes the explorer's font from where it serves it; empty without it."""
    media = Path(streamlit.__file__).parent / "static/static/media"
    found = sorted(media.glob("SourceSansVF-Upright*.woff2"))
    if not found:
        return ""
    return (
        "@font-face {font-family: 'Source Sans'; font-weight: 200 900; "
        f"src: url('/static/media/{found[0].name}') format('woff2')}}"
    )


CSS = (
    font_face()
    + """
.gradio-container, .gradio-container .main {padding: 0 !important; max-width: none !important}
.gradio-container {font-size: 16px}
.verdict {font-size: 1.3rem; padding: .6rem .9rem; border-radius: 8px; border: 2px solid}
.verdict.defective {border-color: #D55E00} .verdict.normal {border-color: #009E73}
.verdict.foreign {border-color: #E69F00; font-size: 1.05rem; margin-bottom: .5rem}
.verdict small {display: block; font-size: .9rem; opacity: .85}
.files a {margin-right: 1.2rem}
.about {font-size: .95rem}
.gradio-container .html-container {padding: 0 !important}
.dark .gradio-container, .gradio-container.dark {--color-accent: #56B4E9;
  --link-text-color: #56B4E9; --link-text-color-hover: #A0CDE9}
.dark .files a {color: #56B4E9}
.gradio-container .min_value, .gradio-container .max_value {color: #646B74 !important}
.dark .gradio-container .min_value, .dark .gradio-container .max_value {color: #9AA1A9 !important}
.gradio-container .above {font-size: .9rem}
@media (max-width: 500px) {.tab-container button {padding: 0 .6rem !important}}
"""
)
NAME_BUTTONS = """() => {
    const name = (button, said) => {
        if (said && button.getAttribute("aria-label") !== said)
            button.setAttribute("aria-label", said);
    };
    setInterval(() => {
        for (const button of document.querySelectorAll("button.gallery-item")) {
            const image = button.querySelector("img");
            const file = image && decodeURI(image.src).split("/").pop().replace(/[.].*/, "");
            name(button, file && `Example: ${file.replace(/_/g, " ")}`);
        }
        for (const button of document.querySelectorAll("button.thumbnail-item")) {
            const caption = button.querySelector(".caption-label");
            name(button, caption && caption.innerText);
        }
        for (const empty of document.querySelectorAll("div.empty[aria-label]:not([role])"))
            empty.setAttribute("role", "img");
    }, 500);
}"""
"""To be run when the demo has loaded: examples and thumbnails have no names that say what they are,
and a screen reader says nothing else; what is empty has a name and no role that may have one."""
OPACITY = 0.75
BATCH_COLUMNS = ("file", "score", "verdict", "problem")
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
    folder: gr.File
    button: gr.Button
    order: gr.Radio
    csv: gr.HTML
    gallery: gr.Gallery
    table: gr.Dataframe
    judged: gr.State


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
                label="Image",
                height=300,
            )
            limit = f"At most {MAX_BYTES // 2**20} MB; deleted within an hour."
            gr.HTML(f"<div class='above'>{limit}</div>")
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
            gr.HTML("<div class='above'>Image and heatmap: drag the line to compare</div>")
            slider = gr.ImageSlider(
                show_label=False,
                label="Image and heatmap",
                format="jpeg",
                interactive=False,
                max_height=620,
                buttons=[],
            )
            with gr.Row():
                opacity = gr.Slider(0, 1, OPACITY, step=0.05, label="Opacity of the heatmap")
                threshold = gr.Slider(0, 1, 0.5, step=0.001, label="Threshold")
            files = gr.HTML()
    gr.HTML("<div class='above'>Distance map per layer, with its share of the score at the peak"
            "</div>")  # fmt: skip
    layers = gr.Gallery(
        show_label=False, label="Distance maps", columns=3, rows=1, height="auto",
        object_fit="contain", format="jpeg", buttons=[],
    )  # fmt: skip
    with gr.Row():
        with gr.Column(min_width=300):
            gr.HTML("<div class='above'>Score and those of held-out normal images</div>")
            distribution = gr.Plot(show_label=False, label="Scores")
        with gr.Column(min_width=300):
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
    with gr.Row():
        files = gr.Files(
            label=f"Images, or ZIP files of images: {BATCH} at once",
            file_types=["image", ".zip"],
            height=160,
        )
        folder = gr.File(
            label="Or a folder of images", file_count="directory", file_types=["image"], height=160
        )
    button = gr.Button("Judge all", variant="primary")
    with gr.Row():
        order = gr.Radio(
            [("most anomalous first", "score"), ("by name", "file")],
            value="score",
            label="Order of the pictures",
        )
        csv = gr.HTML()
    return SeveralImages(
        files=files,
        folder=folder,
        button=button,
        order=order,
        csv=csv,
        gallery=gr.Gallery(
            show_label=False, label="Heatmaps", columns=4, format="jpeg", buttons=[]
        ),
        table=gr.Dataframe(
            headers=list(BATCH_COLUMNS), label="Scores: click a header to sort", interactive=False
        ),
        judged=gr.State([]),
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
