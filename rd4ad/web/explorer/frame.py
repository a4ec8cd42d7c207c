"""The frame of every page: title, menu, units, and where the metrics come from."""

import os
from collections.abc import Sequence
from urllib.parse import urlencode, urlsplit

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

import rd4ad
from rd4ad.home import commit
from rd4ad.web.explorer import downloads, glossary, index_cache
from rd4ad.web.explorer.units import UNITS, Units

NAME = "RD4AD Explorer"
STATIC = os.environ.get("RD4AD_STATIC", "")
"""Address of the same explorer without a server, if there is one."""
HEAD = commit()  # once a server: what runs does not change under it
STYLE = """
.stMainBlockContainer {padding-top: 3rem}
[data-testid=stCaptionContainer] {opacity: .8}
.st-key-chips {gap: .3rem}
.st-key-chips button {min-height: 0; padding: .15rem .35rem}
.st-key-chips button p {font-size: .875rem}
.st-key-findings {display: grid; grid-template-columns: repeat(auto-fill, minmax(290px, 1fr))}
.st-key-findings > *, .st-key-findings > * > .stVerticalBlock {height: 100%}
.st-key-findings .number {font-size: 2rem; font-weight: 600; line-height: 1.1;
  font-variant-numeric: tabular-nums}
"""
"""What Streamlit's theme cannot say."""
RENAMED = {"Training besides": "Training configuration", "usual": "default"}
"""Choices of earlier permalinks by their present names."""
RENAMED_COLUMNS = {
    f"○ {method} {size}": f"○ {method} WR50 {size}"
    for method, size in (("RD4AD", 256), ("RD4AD", 128), ("PaDiM", 256), ("SPADE", 256))
}
"""Columns of the leaderboard in earlier permalinks by their present names."""
MENU = {
    "Results": (
        ("app.py", "Overview", ":material/home:"),
        ("pages/leaderboard.py", "Leaderboard", ":material/leaderboard:"),
        ("pages/category.py", "Category", ":material/category:"),
        ("pages/ablations.py", "Ablations", ":material/grid_on:"),
        ("pages/complexity.py", "Complexity", ":material/speed:"),
        ("pages/novelty.py", "Novelty", ":material/fiber_new:"),
    ),
    "Why": (
        ("pages/threshold.py", "Threshold", ":material/tune:"),
        ("pages/limitations.py", "Limitations", ":material/science:"),
        ("pages/pro_auditor.py", "PRO auditor", ":material/rule:"),
    ),
    "Try": (
        ("pages/teach.py", "Teach", ":material/school:"),
        ("pages/compare.py", "Compare yours", ":material/compare:"),
        ("pages/demo.py", "Live", ":material/photo_camera:"),
        ("pages/about.py", "About", ":material/info:"),
    ),
}


def open_page(title: str, answer: str, *, headline: str = "", terms: Sequence[str] = ()) -> Units:
    """Set up the page, draw menu and title; the first call of every page.

    Args:
        title: as in `MENU`; also the tab's.
        answer: the question that the page answers, in a sentence or two.
        headline: of the page, if it is not the title.
        terms: keys of `rd4ad.web.explorer.glossary.TERMS` that the page uses.
    """
    st.set_page_config(page_title=f"{title} - {NAME}", page_icon="🔎", layout="wide")
    _follow_renamed()
    with st.sidebar:
        st.markdown(f"### {NAME}")
        menu = st.container()
        st.divider()
        chosen = st.segmented_control(
            "Units",
            list(UNITS),
            default="percent",
            required=True,
            key="units",
            bind="query-params",
            help="Prints every value as a percentage or as a fraction of one, in exports too.",
        )
        st.caption(_sources())
    kept = kept_query()
    for group, pages in MENU.items():
        menu.caption(group)
        for file, label, icon in pages:
            menu.page_link(file, label=label, icon=icon, query_params=kept)
    st.html(f"<style>{STYLE}</style>")
    if STATIC:
        st.sidebar.link_button(
            "Without a server", STATIC, icon=":material/offline_bolt:", width="stretch",
            help="The same explorer as static pages: detectors run in your browser, photos stay "
            "on your device.",
        )  # fmt: skip
    with st.sidebar.popover("Cite this view", width="stretch", icon=":material/format_quote:"):
        _cite()
    st.title(headline or title)
    st.markdown(answer)
    if terms:
        glossary.show_terms(terms)
    return UNITS[chosen]


def _cite() -> None:
    """Offer what a text needs to point at this view: its address, the code's commit, the paper."""
    # Behind a proxy the server does not know the host, so it gives what follows it.
    query = urlencode(st.query_params.to_dict())
    path = urlsplit(st.context.url or "").path or "/"
    st.markdown("Address of this view, after the host's name")
    st.code(f"{path}?{query}" if query else path, language=None, wrap_lines=True)
    st.markdown("Version of code and results")
    st.code(f"RD4AD Explorer {rd4ad.__version__}" + (f", commit {HEAD[:12]}" if HEAD else ""),
            language=None, wrap_lines=True)  # fmt: skip
    st.markdown("The method")
    st.code(downloads.BIBTEX, language="latex", wrap_lines=True)


def kept_query() -> dict[str, str]:
    """Return what a link to another page takes along: the units."""
    chosen = st.session_state.get("units", "percent")
    return {"units": chosen} if chosen != "percent" else {}


def _follow_renamed() -> None:
    """Replace what an earlier permalink chose by its present name, and start again."""
    new = {key: _present_name(key, value) for key, value in st.query_params.items()}
    if new != st.query_params.to_dict():
        st.query_params.update(new)
        st.rerun()


def _present_name(key: str, value: str) -> str:
    if key in ("first", "second", "at"):
        row, bar, column = value.rpartition("|")
        for old, new in RENAMED_COLUMNS.items():  # PRO's definition may follow
            if column == old or column.startswith(f"{old} ·"):
                return f"{row}{bar}{new}{column.removeprefix(old)}"
    return RENAMED.get(value, value)


def _sources() -> str:
    found = ", ".join(index_cache.categories_on_disk())
    images = found or "not on disk; set RD4AD_DATA to the folder of its categories"
    n_runs = index_cache.n_stored()
    return f"**Data** · stored runs: {n_runs} · images of MVTec AD: {images}"


def under_streamlit() -> bool:
    """Return whether Streamlit runs the script, and not plain Python."""
    return get_script_run_ctx(suppress_warning=True) is not None
