import re

import pytest

from rd4ad.cli.parser import main
from rd4ad.web.report.pages import write_report


def test_the_report_needs_no_server_and_loads_nothing_from_elsewhere(part_results, tmp_path):
    pages = write_report(part_results, tmp_path / "site")
    assert [page.name for page in pages] == ["index.html", "Generated_parts-transistor.html"]
    for page in pages:
        text = page.read_text()
        loaded = re.findall(r"""(?:src|href)=['"]([^'"]+)""", text)
        assert not [address for address in loaded if "//" in address]
        assert "plotly.min.js" in text
    assert (tmp_path / "site/plotly.min.js").stat().st_size > 10**6


def test_the_first_page_holds_the_tables_and_names_what_does_not_add_up(part_results, tmp_path):
    text = write_report(part_results, tmp_path)[0].read_text()
    assert "96.03" in text
    assert "RD4AD WR50 256" in text
    assert "Transistor, Generated parts" in text


def test_names_are_escaped(part_results, tmp_path, monkeypatch):
    from rd4ad.web.explorer import tables

    monkeypatch.setattr(tables, "run_label", lambda row: "<script>alert(1)</script>")
    for page in write_report(part_results, tmp_path):
        assert "<script>alert(1)" not in page.read_text()


def test_without_a_run_the_published_metrics_stand_alone(results, tmp_path):
    pages = write_report(results, tmp_path / "site")
    assert len(pages) == 1
    assert "No run is stored yet" in pages[0].read_text()


def test_the_command_writes_it(part_results, tmp_path, capsys):
    assert main(["report", "--results", str(part_results), "--out", str(tmp_path / "a")]) == 0
    assert "index.html" in capsys.readouterr().out


def test_a_folder_without_results_is_a_clear_error(tmp_path, capsys):
    assert main(["report", "--results", str(tmp_path), "--out", str(tmp_path / "a")]) == 1
    assert "published" in capsys.readouterr().err


@pytest.mark.parametrize("blocked", ["file"])
def test_a_target_that_cannot_be_written_is_a_clear_error(part_results, tmp_path, capsys, blocked):
    (tmp_path / blocked).write_text("")
    assert main(
        ["report", "--results", str(part_results), "--out", str(tmp_path / blocked / "x")]
    ) == 1  # fmt: skip
    assert blocked in capsys.readouterr().err
