"""The live demo in Gradio: an image in, a heatmap and a verdict out.

`layout` says what a visitor sees, `Events` what happens, and `build` connects the two. There is one
inference per image; opacity and threshold draw the kept judgment again.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import gradio as gr
import numpy as np
from gradio.events import api
from numpy.typing import NDArray

from rd4ad.config import KEPT_SECONDS
from rd4ad.inference.overlay import overlaid
from rd4ad.web.explorer import index_cache
from rd4ad.web.explorer.charts import normal_scores
from rd4ad.web.live import batch, digit_pad, judgments, layout, taught
from rd4ad.web.live.card import card_of
from rd4ad.web.live.detectors import BusyError, Detectors, Judgment
from rd4ad.web.live.door import GuardedBlocks
from rd4ad.web.live.uploads import RefusedError, read_upload_file

EXAMPLES = Path(__file__).resolve().parent / "examples"
"""Pictures of generated parts that come with the package, named <part>_<what>.jpg."""
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_QUICK: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last"}


def build(detectors: Detectors, kept: judgments.Kept) -> gr.Blocks:
    """Return the demo.

    Args:
        detectors: to choose from.
        kept: where judgments wait to be drawn again.
    """
    digits = digit_pad.digits(detectors.files())
    names = [name for name in detectors.files() if name not in digits]
    events = Events(detectors, kept)
    with GuardedBlocks(
        title="RD4AD live",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(600, KEPT_SECONDS),
    ) as demo:
        chooser = gr.Dropdown(
            names,
            value=names[0] if names else None,
            label="Detector",
            info="Each detector knows one kind of part, the one that it was trained on.",
        )
        about = gr.HTML(events.about(names[0]) if names else "", elem_classes="about")
        chooser.change(events.about, chooser, about, **_PRIVATE, **_QUICK, queue=False)
        if not names:
            gr.Markdown("**No detector is installed.** Set RD4AD_DETECTORS to a folder of them.")
        examples = example_files(names)
        with gr.Tab("Image"):
            one = layout.one_image(examples)
        with gr.Tab("Batch"):
            several = layout.several_images()
        taught.add_camera_tab(detectors, chooser)
        defects = taught.add_defects_tab(chooser)
        burst, token = taught.add_burst_tab()
        if digits:
            digit_pad.add_tab(detectors, digits)
            demo.load(None, js=digit_pad.HOLD_BRUSH)
        demo.load(None, js=layout.NAME_BUTTONS)
        program = layout.program(names[0] if names else "NAME")
        _connect_one_image(demo, events, one, chooser, examples)
        demo.load(_choose_taught(names), None, [chooser, defects, burst, token], **_PRIVATE)
        several.button.click(
            events.judge_all,
            [several.files, several.folder, chooser, several.order],
            [several.judged, several.gallery, several.table, several.csv],
            **_PRIVATE,
        )
        several.order.input(
            batch.pictures, [several.judged, several.order], several.gallery, **_PRIVATE
        )
        program.button.click(
            events.predict,
            [one.photo, chooser, program.with_map],
            program.answer,
            api_name="predict",
        )
        api(events.list_detectors, api_name="list_detectors", queue=False)
    demo.queue(max_size=32, default_concurrency_limit=2)
    return demo


def _connect_one_image(
    demo: gr.Blocks,
    events: "Events",
    one: layout.OneImage,
    chooser: gr.Dropdown,
    examples: list[Path],
) -> None:
    token = gr.State("")
    drawn = [one.verdict, one.slider, one.files, one.regions]
    outputs = [token, one.threshold, *drawn, one.layers, one.distribution, one.opacity]
    one.photo.input(events.judge, [one.photo, chooser], outputs, **_PRIVATE)
    chooser.input(events.judge, [one.photo, chooser], outputs, **_PRIVATE)
    for control in (one.opacity, one.threshold):
        control.input(
            events.redraw, [token, one.threshold, one.opacity], drawn, **_PRIVATE, **_QUICK
        )
    if not examples:
        return
    one.examples.load_input_event.then(part_of, one.photo, chooser, **_PRIVATE).then(
        events.judge, [one.photo, chooser], outputs, **_PRIVATE
    )
    first = str(examples[0])

    def show_example(request: gr.Request | None) -> list[Any]:
        """Open with the first example, judged, unless a taught detector is asked for."""
        if taught.name_of(request):
            return [gr.skip()] * (2 + len(outputs))
        part = part_of(first)
        return [first, part, *events.judge(first, part)]

    with suppress(gr.Error):  # a rehearsal: what loads on first use is loaded
        show_example(None)
    demo.load(show_example, None, [one.photo, chooser, *outputs], **_PRIVATE)


@dataclass(frozen=True)
class Events:
    """What happens when a visitor, or a program, asks for something.

    Args:
        detectors: to choose from.
        kept: where judgments wait to be drawn again.
    """

    detectors: Detectors
    kept: judgments.Kept

    def judge(self, path: str | None, name: str | None) -> list[Any]:
        """Judge one image and fill the page."""
        judged = _judge(self.detectors, path, name)
        at = round(judged.starting_threshold(), 3)
        top = round(max(judged.scale()[1], judged.score) * 1.1, 3)
        token = self.kept.keep(judged)
        return [
            token,
            gr.update(maximum=top, value=at),
            *_view(judged, token, at, layout.OPACITY),
            _layer_pictures(judged),
            _distribution(judged),
            layout.OPACITY,
        ]

    def about(self, name: str | None) -> str:
        """Return what is known of a detector; empty where it cannot be loaded, as judging says."""
        try:
            return card_of(self.detectors.load(name), index_cache.RESULTS) if name else ""
        except (KeyError, ValueError, FileNotFoundError):
            return ""

    def redraw(self, token: str, at: float, opacity: float) -> list[Any]:
        """Draw the kept judgment with another opacity or threshold; no inference."""
        judged = self.kept.find(token)
        if judged is None:
            return [gr.skip()] * 4
        return _view(judged, token, at, opacity)

    def predict(self, image: str, detector: str, with_map: bool = True) -> dict[str, Any]:
        """Look for anomalies in a photo of a part, with a detector of that kind of part.

        Args:
            image: the photo: PNG, JPEG, WebP, AVIF, BMP, TIFF, GIF or PPM, at most 10 MB.
            detector: a name from list_detectors; each knows one kind of part and no other.
            with_map: whether the answer holds the anomaly map, float32 TIFF in base64 (90 KB).

        Returns:
            score (higher is more anomalous), threshold, verdict ("normal" or "defective"), and
            regions above the threshold as boxes in pixels, with area and peak.
        """
        judged = _judge(self.detectors, image, detector)
        answer = judgments.answer(judged, judged.starting_threshold())
        return judgments.with_map(answer, judged) if with_map else answer

    def list_detectors(self) -> list[str]:
        """List the detectors that predict knows, by the kind of part that each is for."""
        return list(self.detectors.files())

    def judge_all(
        self, paths: list[str] | None, folder: list[str] | None, name: str | None, order: str
    ) -> list[Any]:
        """Judge several images; one that is refused is named and stops nothing."""
        sent = [*(paths or []), *(folder or [])]
        if not sent:
            raise gr.Error("Expected at least one image: add files first.", print_exception=False)
        name = _known(self.detectors, name)
        rows = batch.judged(sent, lambda image: self.detectors.judge(name, image))
        return [rows, batch.pictures(rows, order), batch.table(rows), batch.csv_link(rows)]


def _choose_taught(names: list[str]) -> Callable[[gr.Request], list[Any]]:
    def choose(request: gr.Request) -> list[Any]:
        """Offer the detector of the job that the page's address names, and tabs for its photos."""
        name, token = taught.name_of(request), taught.token_of(request)
        choices = [("the part that you taught", name), *((one, one) for one in names)]
        return [
            gr.update(choices=choices, value=name) if name else gr.skip(),
            gr.update(visible=name is not None),
            gr.update(visible=bool(token)),
            token,
        ]

    return choose


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
    try:
        return detectors.judge(_known(detectors, name), read_upload_file(path))
    except (RefusedError, BusyError, ValueError, FileNotFoundError) as error:
        raise gr.Error(escape(str(error)), print_exception=False) from error


def _known(detectors: Detectors, name: str | None) -> str:
    if not name or detectors.find(name) is None:
        raise gr.Error("Expected a detector: choose one from the list.", print_exception=False)
    return name


def _view(judged: Judgment, token: str, threshold: float, opacity: float) -> list[Any]:
    verdict = judged.verdict(threshold)
    origin = (
        "the detector's" if threshold == round(judged.starting_threshold(), 3) else "set by you"
    )
    if judged.threshold is None:
        origin = "not calibrated: trained without held-out normal images"
    found = judged.regions(threshold)
    part = escape(judged.detector.split(":")[0])
    foreign = (
        f"<div class='verdict foreign'><b>This does not look like the part of the detector {part}."
        f"</b> {100 * judged.share_above_normal():.0f}% of the picture is unlike every held-out "
        "normal image. Choose the detector of your part, or teach one.</div>"
        if judged.is_foreign()
        else ""
    )
    beside = judgments.beside_normal(judged)
    said = foreign + (
        f"<div class='verdict {verdict}'><b>{'✗' if verdict == 'defective' else '✓'} {verdict}</b> "
        f"· score {judged.score:.3f}, threshold {threshold:.3f} ({origin})"
        f"<small>{beside + ' · ' if beside else ''}{len(found)} region{'s' * (len(found) != 1)} "
        f"above the threshold · detector {part}</small></div>"
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
        pictures.append((overlaid(dark, one, low, high, opacity=1.0), caption))
    return pictures


def _distribution(judged: Judgment) -> Any:
    if judged.threshold is None:
        return None
    return normal_scores(judged.normal_scores, judged.threshold, judged.score)
