import shutil

import pandas as pd
import pytest

from rd4ad.cli.parser import main
from rd4ad.runs.index import scan_runs
from rd4ad.runs.merge_runs import merge


@pytest.fixture
def source(part_results, tmp_path):
    shutil.copytree(part_results / "runs", tmp_path / "source/runs")
    return tmp_path / "source"


def name_of(results) -> str:
    (path,) = [path for path in (results / "runs").iterdir() if not path.name.startswith(".")]
    return path.name


def test_a_run_is_copied_whole_and_only_once(source, tmp_path):
    into = tmp_path / "into"
    assert merge([source, source], into).added == [name_of(source)]
    assert merge([source], into).identical == [name_of(source)]
    files = sorted(path.name for path in (source / "runs" / name_of(source)).iterdir())
    assert sorted(path.name for path in (into / "runs" / name_of(source)).iterdir()) == files
    assert scan_runs(into)[1] == []


def test_other_metrics_under_the_same_id_are_refused_with_both_named(source, tmp_path, capsys):
    into = tmp_path / "into"
    merge([source], into)
    path = source / "runs" / name_of(source) / "metrics.csv"
    table = pd.read_csv(path)
    table.loc[0, "value"] = 0.123
    table.to_csv(path, index=False)
    before = (into / "runs" / name_of(source) / "metrics.csv").read_bytes()
    assert main(["results", "merge", str(source), "--into", str(into)]) == 1
    errors = capsys.readouterr().err
    assert str(source) in errors
    assert str(into) in errors
    assert (into / "runs" / name_of(source) / "metrics.csv").read_bytes() == before


def test_a_damaged_run_is_named_and_left(source, tmp_path, capsys):
    (source / "runs" / name_of(source) / "curves.parquet").write_bytes(b"torn")
    assert main(["results", "merge", str(source), "--into", str(tmp_path / "into")]) == 1
    assert "curves.parquet" in capsys.readouterr().err
    assert not (tmp_path / "into/runs").exists()


def test_a_source_that_is_not_there_is_named(tmp_path, capsys):
    assert main(["results", "merge", str(tmp_path / "none"), "--into", str(tmp_path)]) == 1
    assert "no folder of results at" in capsys.readouterr().err
