import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from rd4ad.index import rebuild_index
from rd4ad.web import frame

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A copy of the published figures without any run."""
    shutil.copytree(REPOSITORY / "results/published", tmp_path / "published")
    monkeypatch.setattr(frame, "RESULTS", tmp_path)
    return tmp_path


def opened() -> AppTest:
    page = AppTest.from_file(str(REPOSITORY / "app.py"), default_timeout=60).run()
    assert not page.exception
    return page


def test_the_page_opens_on_the_papers_table_with_the_inconsistent_average_named(results):
    page = opened()
    table = page.dataframe[0].value
    assert table.loc["Transistor", "RD4AD 256"] == pytest.approx(92.5)
    assert table.loc["Total", "SPADE 256"] == pytest.approx(96.03, abs=0.005)
    assert "SPADE at 256 px: the paper states 96.5" in page.info[0].value


def test_another_figure_shows_its_own_methods(results):
    page = opened()
    page.segmented_control[0].set_value("pro").run()
    assert not page.exception
    table = page.dataframe[0].value
    assert table.loc["Transistor", "MF 256"] == pytest.approx(92.6)
    assert "RIAD 256" not in table.columns


def test_without_a_run_the_page_says_which_command_stores_one(results):
    assert any("rd4ad evaluate" in info.value for info in opened().info)


def test_measured_runs_are_shown_and_a_broken_one_is_reported(results, tiny_checkpoint, tiny_data):
    from rd4ad import Detector, evaluate

    run = evaluate(Detector.load(tiny_checkpoint), tiny_data, "part", results=results)
    rebuild_index(results)
    (results / "runs/rd-broken").mkdir()
    page = opened()
    table = page.dataframe[1].value
    assert table["Category"].tolist() == ["part"]
    auroc = run.metrics.query("is_default and metric == 'image_auroc'").value.item()
    assert table["Image AUROC"].item() == pytest.approx(100 * auroc)
    assert "rd-broken" in page.warning[0].value


def test_a_run_that_is_not_in_the_index_yet_is_announced(results, tiny_checkpoint, tiny_data):
    from rd4ad import Detector, evaluate

    evaluate(Detector.load(tiny_checkpoint), tiny_data, "part", results=results)
    assert any("not listed yet: 1" in info.value for info in opened().info)


def test_an_index_of_no_runs_is_the_empty_state(results):
    rebuild_index(results)
    assert any("No measured run yet" in info.value for info in opened().info)


def test_a_damaged_index_is_reported_with_the_command_that_mends_it(results):
    (results / "index.parquet").write_bytes(b"PAR1")
    page = opened()
    assert "rd4ad results index" in page.warning[0].value
    assert len(page.dataframe) == 1


def test_taking_the_choice_back_shows_the_default_figure(results):
    page = opened()
    page.segmented_control[0].set_value(None).run()
    assert not page.exception
    assert page.dataframe[0].value.loc["Transistor", "RD4AD 256"] == pytest.approx(92.5)
    assert "SPADE at 256 px" in page.info[0].value


def test_image_auroc_shows_no_column_without_a_cell(results):
    page = opened()
    page.segmented_control[0].set_value("image_auroc").run()
    assert page.dataframe[0].value.columns.tolist() == ["RD4AD 256"]


def test_the_repositorys_own_results_open():
    page = opened()
    assert not page.warning
