"""What every page of the explorer shares: its settings, and cached reading of results."""

import os
from pathlib import Path

import pandas as pd
import streamlit as st

from rd4ad.index import read_index, scan_runs
from rd4ad.published import averages, read_published

NAME = "RD4AD Explorer"
RESULTS = Path(os.environ.get("RD4AD_RESULTS", Path(__file__).resolve().parents[2] / "results"))


def open_page(title: str) -> None:
    """Set up the page; the first call of every page."""
    name = title if title == NAME else f"{title} - {NAME}"
    st.set_page_config(page_title=name, page_icon="🔎", layout="wide")
    st.title(title)


def published() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the published figures and their averages (see `rd4ad.published`)."""
    names = ("published/mvtec.csv", "published/mvtec_later.csv")
    return _published(RESULTS, [_modified(RESULTS / name) for name in names])


def measured() -> pd.DataFrame | None:
    """Return the index of measured runs; None where there is none.

    Says on the page what is missing or broken, and which command mends it.
    """
    whole, broken = _scan(RESULTS)
    for name, reason in broken:
        st.warning(f"A run was skipped: {name}. {reason}", icon=":material/warning:")
    index = None
    try:
        index = _index(RESULTS, _modified(RESULTS / "index.parquet"))
    except FileNotFoundError:
        pass  # as on a fresh results folder; said below
    except ValueError as error:
        st.warning(f"The measured runs cannot be shown. {error}", icon=":material/warning:")
        return None
    listed = set() if index is None else set(index["run_id"])
    if unlisted := set(whole) - listed:
        st.info(f"Stored runs that are not listed yet: {len(unlisted)}. `rd4ad results index`")
    elif not listed:
        st.info(
            "No measured run yet. `rd4ad evaluate CHECKPOINT --data DIR --category NAME` stores "
            "one, `rd4ad results index` lists it here."
        )
    return index if listed else None


def _modified(path: Path) -> float:
    """Return when a file changed, 0 if it is not there: a key under which its contents are kept."""
    return path.stat().st_mtime if path.exists() else 0.0


@st.cache_data(show_spinner=False, max_entries=2)
def _published(results: Path, modified: list[float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = read_published(results)
    return table, averages(table)


@st.cache_data(show_spinner=False, max_entries=2)
def _index(results: Path, modified: float) -> pd.DataFrame:
    return read_index(results)


@st.cache_data(show_spinner=False, ttl=60, max_entries=2)
def _scan(results: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the names of whole runs, and name and reason of broken ones; once a minute at most."""
    runs, broken = scan_runs(results)
    return [run.path.name for run in runs], [(run.path.name, run.reason) for run in broken]
