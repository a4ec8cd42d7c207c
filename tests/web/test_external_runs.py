"""Runs of other programs' maps on the pages."""

import shutil
from pathlib import Path

from rd4ad.runs.index import read_index, update_index
from rd4ad.web.explorer import index_cache
from rd4ad.web.explorer.screens import metric_cells
from tests.evaluation.test_external import samples, stack, stored  # noqa: F401

REPOSITORY = Path(__file__).resolve().parents[2]


def test_every_page_shows_it_as_external(stored, tmp_path, monkeypatch, opened):  # noqa: F811
    results = tmp_path / "results"
    shutil.copytree(REPOSITORY / "results/published", results / "published")
    update_index(results)
    monkeypatch.setattr(index_cache, "RESULTS", results)
    monkeypatch.setattr(index_cache, "DATA", tmp_path / "nowhere")
    dataset = stored.run.record["dataset"]
    cells = metric_cells.measured_cells(read_index(results, is_default=True), dataset)
    assert set(cells["kind"]) == {"external"}
    for page in sorted((REPOSITORY / "pages").glob("*.py")):
        shown = opened(f"pages/{page.name}")
        assert not shown.error
    board = opened("pages/leaderboard.py")
    board.selectbox("dataset").set_value(dataset).run()
    assert any("◇ My_method vit_b 256" in column for column in board.dataframe[0].value.columns)
