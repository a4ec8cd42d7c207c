import dataclasses

import pytest

from rd4ad.cli.parser import main
from rd4ad.home import commit, has_commit
from rd4ad.runs.store import read_run
from rd4ad.runs.verification import verify


@pytest.fixture
def run(part_results):
    return read_run(next((part_results / "runs").iterdir()))


def test_a_run_is_what_its_maps_give_at_every_scoring(run, tmp_path):
    own = verify(run, tmp_path)
    every = verify(run, tmp_path, whole_grid=True)
    assert own.is_sound
    assert every.is_sound
    assert every.n_checked > 10 * (own.n_checked - len(run.images()))
    assert own.not_checked == ""
    assert own.has_commit is not False


def changed(run, **columns):
    table = run.metrics.copy()
    for metric, value in columns.items():
        table.loc[table["is_default"] & (table["metric"] == metric), "value"] = value
    return dataclasses.replace(run, metrics=table)


def test_a_metric_that_somebody_changed_is_named_with_both_values(run, tmp_path):
    told = verify(changed(run, pixel_auroc=0.99999), tmp_path)
    assert not told.is_sound
    (one,) = told.differences
    assert one.name.startswith("pixel_auroc at layers 1+2+3, sum")
    assert one.stored == 0.99999
    assert one.found == pytest.approx(run.metrics.query("is_default and metric == 'pixel_auroc'")
                                      ["value"].item())  # fmt: skip


def test_a_score_that_somebody_changed_is_named(run, tmp_path, monkeypatch):
    images = run.images()
    images.loc[3, "score"] += 0.01
    monkeypatch.setattr(type(run), "images", lambda self: images)
    told = verify(run, tmp_path)
    assert [one.name for one in told.differences] == [f"score of {images['image'][3]}"]


def test_without_masks_pixel_metrics_are_said_to_be_unchecked(run, tmp_path, monkeypatch):
    monkeypatch.setattr(type(run), "masks", lambda self: None)
    told = verify(run, tmp_path)
    assert told.is_sound
    assert "masks are not here" in told.not_checked


def test_a_commit_that_is_gone_is_known(run):
    if not commit():
        pytest.skip("not a checkout")
    assert has_commit(commit())
    assert has_commit("0" * 40) is False
    assert has_commit("--help") is False


def test_the_command_names_what_differs_and_fails(part_results, capsys, tmp_path, monkeypatch):
    name = next((part_results / "runs").iterdir()).name
    command = ["results", "verify", "--results", str(part_results), "--data", str(tmp_path)]
    assert main(command) == 0
    assert f"sound    {name}" in capsys.readouterr().out
    assert main([*command, "../elsewhere"]) == 2
    assert "no run ../elsewhere" in capsys.readouterr().err
    monkeypatch.setattr("rd4ad.runs.verification.TOLERANCE", -1.0)
    assert main(command) == 1
    out = capsys.readouterr().out
    assert "differs" in out
    assert "stored" in out


def test_the_repositorys_generated_runs_are_sound(tmp_path):
    from rd4ad.home import HOME

    runs = sorted((HOME / "results/runs").glob("rd-Generated_parts-*"))
    assert runs
    told = verify(read_run(runs[0]), tmp_path)
    assert told.is_sound
    assert told.not_checked == ""
