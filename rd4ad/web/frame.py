"""What every page of the explorer shares: its settings, and cached reading of results."""

import os
from pathlib import Path

import pandas as pd
import streamlit as st

from rd4ad.published import read_published
from rd4ad.store import BrokenRun, read_index, scan_runs

RESULTS = Path(os.environ.get("RD4AD_RESULTS", Path(__file__).resolve().parents[2] / "results"))


def open_page(title: str) -> None:
    """Set up the page; the first call of every page."""
    st.set_page_config(
        page_title=f"{title} - RD4AD Explorer", page_icon="🔎", layout="wide"
    )
    st.title(title)


@st.cache_data
def published(modified: float) -> pd.DataFrame:
    """Return the published figures; `modified` is the file's time, so a new file is read anew."""
    return read_published(RESULTS)


@st.cache_data
def index(modified: float) -> pd.DataFrame:
    """Return the index of measured runs; `modified` as in `published`."""
    return read_index(RESULTS)


@st.cache_data(ttl=60)
def broken_runs() -> list[BrokenRun]:
    """Return the run folders that cannot be read, looked for at most once a minute."""
    return scan_runs(RESULTS)[1]


def modified(name: str) -> float:
    """Return the modification time of a file below the results folder, 0 if it is not there."""
    path = RESULTS / name
    return path.stat().st_mtime if path.exists() else 0.0
