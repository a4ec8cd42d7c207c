"""Cached reading of results/ for the pages; what is missing or broken is said on the page."""

import json
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from rd4ad.data.one_class import TITLES
from rd4ad.home import HOME
from rd4ad.runs.comparison import seed_spread
from rd4ad.runs.index import broken_runs, metric_rows, read_index, run_folders
from rd4ad.runs.published import averages, read_published
from rd4ad.web.explorer.screens import complexity as costs
from rd4ad.web.explorer.screens.finding import Finding
from rd4ad.web.explorer.screens.findings import read_evidence, supported_findings
from rd4ad.web.explorer.screens.metric_cells import measured_cells, published_cells
from rd4ad.web.explorer.tables import in_order, of_category
from rd4ad.web.explorer.units import Units
from rd4ad.web.explorer.widgets import empty

# It warns of every cached function made before Streamlit runs, as `rd4ad serve` makes them.
logging.getLogger("streamlit.runtime.caching.cache_data_api").setLevel(logging.ERROR)

RESULTS = Path(os.environ.get("RD4AD_RESULTS", HOME / "results"))
DATA = Path(os.environ.get("RD4AD_DATA", HOME / "data"))
"""Folder of categories in MVTec layout, from which the pages show images where it is there."""


def categories_on_disk() -> list[str]:
    """Return the names of the categories below `DATA`."""
    folders = DATA.iterdir() if DATA.is_dir() else ()
    return sorted(path.name for path in folders if (path / "test").is_dir())


def published() -> pd.DataFrame:
    """Return the cells of the published metrics; see `rd4ad.web.explorer.screens.metric_cells`."""
    names = ("published/mvtec.csv", "published/mvtec_later.csv")
    return _published(RESULTS, [modified_at(RESULTS / name) for name in names])


def studies() -> pd.DataFrame:
    """Return results/published/rd4ad_studies.csv."""
    return _table(RESULTS / "published/rd4ad_studies.csv", 0.0)


def complexity() -> pd.DataFrame:
    """Return results/published/complexity.csv."""
    return _table(RESULTS / "published/complexity.csv", 0.0)


def measured() -> pd.DataFrame | None:
    """Return one row a measured run, with its metrics at its own scoring; None where there is none.

    Says on the page what is missing or broken, and which command mends it; no run is opened for
    that. Runs of one-class novelty have a page of their own, see `novelty_runs`.
    """
    found = _listed()
    if found is None and (RESULTS / "index.parquet").exists():
        return None  # damaged, as was said
    for name, reason in ({} if found is None else found.broken).items():
        st.warning(f"A run was skipped: {name}. {reason}", icon=":material/warning:")
    if unlisted := _stored() - (frozenset() if found is None else found.known):
        st.info(f"Stored runs that are not listed yet: {len(unlisted)}. `rd4ad results index`")
    elif found is None or found.runs.empty:
        empty(
            "No measured run yet. The first command stores one, the second lists it here.",
            "rd4ad evaluate CHECKPOINT --data DIR --category NAME\nrd4ad results index",
        )
    return None if found is None or found.runs.empty else found.runs


@dataclass(frozen=True)
class Listed:
    """What the index lists.

    Args:
        runs: one row a run at its own scoring, in the pages' order; novelty's left out.
        novelty: names of the runs of one-class novelty.
        broken: names of the runs that it left out, and why.
        known: names of all of them.
    """

    runs: pd.DataFrame
    novelty: tuple[str, ...]
    broken: dict[str, str]
    known: frozenset[str]


def n_stored() -> int:
    """Return how many run folders there are, listed or not."""
    return len(_stored())


def _stored() -> frozenset[str]:
    return _folders(RESULTS, modified_at(RESULTS / "runs"))


def _listed() -> Listed | None:
    try:
        return _index(RESULTS, modified_at(RESULTS / "index.parquet"))
    except FileNotFoundError:
        return None  # as on a fresh results folder; the page says which command stores a run
    except ValueError as error:
        st.warning(f"The measured runs cannot be shown. {error}", icon=":material/warning:")
        return None


def scorings_of(dataset: str, category: str) -> pd.DataFrame:
    """Return the index's rows of a category, one a run and scoring; there must be an index."""
    return _scorings(RESULTS, modified_at(RESULTS / "index.parquet"), dataset, category)


def spread_of(dataset: str, category: str) -> pd.DataFrame:
    """Return how the runs of a category spread over their seeds; there must be an index."""
    return _spread(RESULTS, modified_at(RESULTS / "index.parquet"), dataset, category)


def cells_of(dataset: str, metric: str) -> pd.DataFrame:
    """Return the leaderboard's cells of one metric of a dataset's runs; there must be an index."""
    return _measured_cells(RESULTS, modified_at(RESULTS / "index.parquet"), dataset, metric)


def on_the_hub(run_id: str) -> str:
    """Return the address that `rd4ad push` noted of a run's detector on the Hub; empty without."""
    file = RESULTS / "hub.json"
    return _addresses(file, modified_at(file)).get(run_id, "")


def novelty_names() -> tuple[str, ...]:
    """Return the names of the listed runs of one-class novelty."""
    found = _listed()
    return () if found is None else found.novelty


def method_drawing() -> str:
    """Return the path of the drawing of the method."""
    return str(HOME / "docs/method.svg")


def measured_costs() -> list[dict[str, Any]]:
    """Return the rows that `rd4ad bench` stored, each with its host and how it was measured.

    A case that several records hold is taken from the first by name. Quality is that of the runs.
    """
    rows: list[dict[str, Any]] = []
    for path in costs.records(RESULTS):
        try:
            rows += _costs(path, modified_at(path))
        except ValueError as error:
            st.warning(f"A benchmark was skipped. {error}", icon=":material/warning:")
    found = _listed()
    return costs.with_quality(costs.first_of_each(rows), None if found is None else found.runs)


def findings(units: Units) -> list[Finding]:
    """Return what the stored results show; see `rd4ad.web.explorer.screens.findings`."""
    names = ("index.parquet", "bench/agreement.json", "bench/methods.json")
    try:
        return _findings(RESULTS, [modified_at(RESULTS / name) for name in names], units)
    except ValueError as error:
        st.warning(f"The findings cannot be shown. {error}", icon=":material/warning:")
        return []


@st.cache_resource(show_spinner=False, max_entries=4)
def _findings(results: Path, modified: list[float], units: Units) -> list[Finding]:
    return supported_findings(read_evidence(results), units)


def modified_at(path: Path) -> float:
    """Return when a file changed, 0 if it is not there: a key under which its contents are kept."""
    return path.stat().st_mtime if path.exists() else 0.0


@st.cache_data(show_spinner=False, max_entries=2)
def _published(results: Path, modified: list[float]) -> pd.DataFrame:
    table = read_published(results)
    return published_cells(table, averages(table))


@st.cache_data(show_spinner=False, max_entries=8)
def _table(path: Path, modified: float) -> pd.DataFrame:
    return pd.read_csv(path)


@st.cache_resource(show_spinner=False, max_entries=2)  # never changed, so never copied
def _index(results: Path, modified: float) -> Listed:
    rows = read_index(results, is_default=True)
    is_novelty = rows["dataset"].isin(TITLES)
    names, broken = rows["run_id"], broken_runs(results)
    return Listed(
        in_order(rows[~is_novelty]),
        tuple(names[is_novelty]),
        broken,
        frozenset(names) | set(broken),
    )


@st.cache_resource(show_spinner=False, max_entries=4)
def _folders(results: Path, modified: float) -> frozenset[str]:
    return frozenset(run_folders(results))


@st.cache_resource(show_spinner=False, max_entries=4)
def _scorings(results: Path, modified: float, dataset: str, category: str) -> pd.DataFrame:
    return read_index(results, dataset=dataset, category=category)


@st.cache_resource(show_spinner=False, max_entries=32)
def _spread(results: Path, modified: float, dataset: str, category: str) -> pd.DataFrame:
    return seed_spread(metric_rows(of_category(_index(results, modified).runs, dataset, category)))


@st.cache_resource(show_spinner=False, max_entries=4)
def _measured_cells(results: Path, modified: float, dataset: str, metric: str) -> pd.DataFrame:
    return measured_cells(_index(results, modified).runs, dataset, [metric])


@st.cache_data(show_spinner=False, max_entries=8)
def _costs(path: Path, modified: float) -> list[dict[str, Any]]:
    return costs.read_record(path)


@st.cache_resource(show_spinner=False, max_entries=2)
def _addresses(file: Path, modified: float) -> dict[str, str]:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        st.warning(f"{file.name} cannot be read: {error}", icon=":material/warning:")
        return {}
    is_address = re.compile(r"https?://[\w./:-]+").fullmatch
    return {str(key): value for key, value in dict(known).items() if is_address(str(value))}
