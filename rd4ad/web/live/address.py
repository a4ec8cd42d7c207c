"""Where the live demo is, for the page that shows it."""

import streamlit as st

PATH = "/live/"
_served = False


def announce() -> None:
    """Say that this process serves the live demo beside the explorer."""
    global _served
    _served = True


def find() -> str | None:
    """Return the demo's address in the page's theme; None where the explorer runs alone."""
    if not _served:
        return None
    theme = st.context.theme.type or "light"
    return f"{PATH}?__theme={theme}"
