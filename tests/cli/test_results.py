"""Metrics of maps from any program, and of stored runs: undefined, damaged or incomplete."""

import csv
import json
import os
import shutil

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.full((64, 64), np.nan, np.float32), "NaN or infinity"),
        (np.zeros((64, 64, 3), np.float32), "expected a 2-D map"),
        (np.zeros((64, 32), np.float32), "expected the same shape, or a square map"),
    ],
)
def test_maps_of_any_program_are_checked_one_by_one(
    run, refused, where, write_maps, tiny_data, tmp_path, content, message
):
    write_maps(tmp_path)
    options = ("score", "--maps", tmp_path, *where(tiny_data))
    assert run(*options)[0] == 0
    np.save(tmp_path / "spot/002.npy", content)
    refused(run(*options), message)
    (tmp_path / "spot/002.npy").unlink()
    refused(run(*options), "no map of test/spot/002.png")


def test_pickled_objects_in_a_map_file_are_refused(run, tiny_data, tmp_path):
    (tmp_path / "good").mkdir()
    np.save(tmp_path / "good/000.npy", np.array([{}], dtype=object), allow_pickle=True)
    code, _, errors = run("score", "--maps", tmp_path, "--data", tiny_data, "--category", "part")
    assert code == 1
    assert "000.npy is not a readable map" in errors


@pytest.mark.parametrize(
    ("removed", "reason"),
    [("spot", "the test set has no defect"), ("good", "the test set has no normal image")],
)
def test_undefined_metrics_are_empty_with_the_reason(
    run, where, write_maps, tiny_checkpoint, copied, tmp_path, removed, reason
):
    shutil.rmtree(copied / "part/test" / removed)
    write_maps(tmp_path / "maps")
    results = ("--results", tmp_path / "results")
    code, text, _ = run("evaluate", tiny_checkpoint, *where(copied), *results)
    assert code == 0
    assert f"- ({reason})" in text
    code, text, _ = run("score", "--maps", tmp_path / "maps", *where(copied), "--json")
    assert code == 0
    undefined = {row["reason"] for row in json.loads(text) if row["value"] is None}
    assert undefined == {reason}
    assert run("results", "index", *results)[0] == 0
    code, text, _ = run("results", "show", *results)
    assert code == 0
    shown = text.splitlines()[-1].split()
    assert shown[0] == os.listdir(tmp_path / "results/runs")[0]
    assert "-" in shown[1:]


def test_results_without_runs_say_what_stores_one(run, tmp_path):
    assert run("results", "index", "--results", tmp_path)[0] == 0
    code, text, _ = run("results", "show", "--results", tmp_path)
    assert code == 0
    assert "`rd4ad evaluate` stores one" in text
    assert run("results", "show", "--results", tmp_path, "--json")[1] == "[]\n"


def test_a_damaged_run_is_named_and_the_others_are_shown(
    run, where, tiny_checkpoint, tiny_data, tmp_path
):
    for name in ("one", "other"):
        options = (*where(tiny_data), "--results", tmp_path, "--dataset", name)
        assert run("evaluate", tiny_checkpoint, *options)[0] == 0
    (damaged,) = tmp_path.glob("runs/*-one-*")
    (damaged / "curves.parquet").unlink()
    code, text, errors = run("results", "index", "--results", tmp_path)
    assert code == 0
    assert "indexed 1 runs" in text
    assert f"skipped {damaged}" in errors
    assert "curves.parquet is missing" in errors
    assert damaged.name not in run("results", "show", "--results", tmp_path)[1]


def test_runs_without_intervals_gain_them_from_their_masks(
    run, refused, where, tiny_checkpoint, copied, tmp_path
):
    results = tmp_path / "results"
    run("evaluate", tiny_checkpoint, *where(copied), "--results", results)
    folder = next((results / "runs").iterdir())
    whole = (folder / "metrics.csv").read_text()
    with (folder / "metrics.csv").open() as file:
        rows = [row | {"ci_low": "", "ci_high": ""} for row in csv.DictReader(file)]
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    refused(run("results", "intervals", folder, "--data", tmp_path), "expected the masks")
    code, text, _ = run("results", "intervals", folder, "--data", copied)
    assert (code, (folder / "metrics.csv").read_text()) == (0, whole)
    assert "9 metrics have intervals" in text
