"""The live demo inside a page: as wide as the page, as high as its content."""

from collections.abc import Callable
from typing import Any

import streamlit as st

_HTML = '<iframe title="Live demo: image in, heatmap out" allow="camera; clipboard-read"></iframe>'
_CSS = "iframe {width: 100%; height: 900px; border: 0; display: block; color-scheme: normal}"
# The demo is of the same origin, so its height can be read; what it holds is measured, and not its
# page, which is never lower than the frame.
_JS = """export default function ({ parentElement, data }) {
  const frame = parentElement.querySelector("iframe");
  if (frame.getAttribute("src") !== data.address) frame.setAttribute("src", data.address);
  const fit = () => {
    const main = frame.contentDocument && frame.contentDocument.querySelector("main");
    if (main && main.scrollHeight > 200) frame.style.height = `${main.scrollHeight + 16}px`;
  };
  const timer = setInterval(fit, 400);
  return () => clearInterval(timer);
}"""


@st.cache_resource(show_spinner=False)
def _component() -> Callable[..., Any]:
    return st.components.v2.component("live_frame", html=_HTML, css=_CSS, js=_JS)


def show(address: str) -> None:
    """Show the demo at an address of this server."""
    _component()(data={"address": address}, key="live")
