"""Results for the pages to read, and a way to open them."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from rd4ad.web.explorer import index_cache

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the published metrics without any run, which the pages read."""
    shutil.copytree(REPOSITORY / "results/published", tmp_path / "published")
    monkeypatch.setattr(index_cache, "RESULTS", tmp_path)
    monkeypatch.setattr(index_cache, "DATA", tmp_path / "nowhere")
    return tmp_path


@pytest.fixture
def measured(part_results: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`part_results`, which the pages read; no dataset is on disk."""
    monkeypatch.setattr(index_cache, "RESULTS", part_results)
    monkeypatch.setattr(index_cache, "DATA", part_results / "nowhere")
    return part_results


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Opens a page of the explorer without a browser; no exception may be on it."""
    # AppTest makes the page the process's main module; processes spawned later would run it again.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])

    def open_page(page: str = "app.py") -> AppTest:
        explorer = AppTest.from_file(str(REPOSITORY / "app.py"), default_timeout=60).run()
        if page != "app.py":
            explorer = explorer.switch_page(page).run()
        assert not explorer.exception, explorer.exception[0]
        return explorer

    return open_page
