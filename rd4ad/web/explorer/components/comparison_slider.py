"""Two pictures of the same thing over each other, with a line to drag: by mouse, touch or keys."""

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

_HTML = """<div class="pair">
  <img class="first"><img class="second">
  <div class="line"></div>
  <input type="range" min="0" max="100" step="1" value="50">
</div>"""
_CSS = """
.pair {position: relative; border-radius: 8px; overflow: hidden; line-height: 0; --at: 50%;
  max-width: 100%}
.pair img {width: 100%; display: block; user-select: none}
.pair img.second {position: absolute; inset: 0; height: 100%;
  clip-path: inset(0 0 0 var(--at))}
.pair .line {position: absolute; top: 0; bottom: 0; left: var(--at); width: 3px;
  transform: translateX(-50%); background: #fff; box-shadow: 0 0 4px rgba(0, 0, 0, .6);
  pointer-events: none}
.pair .line::after {content: "\\2194"; position: absolute; top: 50%; left: 50%; width: 34px;
  height: 34px; line-height: 34px; text-align: center; transform: translate(-50%, -50%);
  border-radius: 50%; background: #fff; color: #1c1f23; font-size: 20px;
  box-shadow: 0 0 4px rgba(0, 0, 0, .6)}
.pair input {position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0;
  cursor: ew-resize; touch-action: pan-y}
.pair:has(input:focus-visible) {outline: 3px solid var(--st-primary-color); outline-offset: 2px}
"""
_JS = """export default function ({ parentElement, data }) {
  const pair = parentElement.querySelector(".pair");
  const [first, second] = pair.querySelectorAll("img");
  const range = pair.querySelector("input");
  first.src = data.first;
  second.src = data.second;
  first.alt = data.alt;
  second.alt = "";
  range.setAttribute("aria-label", data.label);
  const move = () => pair.style.setProperty("--at", `${range.value}%`);
  range.addEventListener("input", move);
  move();
  return () => range.removeEventListener("input", move);
}"""


@st.cache_resource(show_spinner=False)
def _component() -> Callable[..., Any]:
    return st.components.v2.component("comparison_slider", html=_HTML, css=_CSS, js=_JS)


def show(
    first: NDArray[np.uint8], second: NDArray[np.uint8], *, alt: str, label: str, key: str
) -> None:
    """Show the first picture left of a line and the second one right of it.

    Args:
        first: (H, W, 3).
        second: (H, W, 3).
        alt: what the pictures show, in words.
        label: of the slider that moves the line.
        key: name of this place on the page.
    """
    data = {"first": _url(first), "second": _url(second), "alt": alt, "label": label}
    _component()(data=data, key=key)


def _url(picture: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
