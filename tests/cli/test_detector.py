"""From a folder of images to a detector, its heatmaps and its metrics."""

import csv
import json

import numpy as np
import pytest
import tifffile
from PIL import Image


def test_from_a_folder_of_images_to_heatmaps_and_metrics(run, where, training, tiny_data, tmp_path):
    checkpoint, out, results = tmp_path / "part.safetensors", tmp_path / "out", tmp_path / "results"
    code, text, _ = run(*training(tiny_data), "--holdout", 0.2, "--out", checkpoint)
    assert code == 0
    assert "threshold" in text

    code, text, _ = run("evaluate", checkpoint, *where(tiny_data), "--results", results, "--json")
    assert code == 0
    metrics = {row["metric"]: row["value"] for row in json.loads(text)}
    assert 0 <= metrics["aupro"] <= 1

    code, _, _ = run("predict", checkpoint, tiny_data / "part/test", "--out", out)
    assert code == 0
    with (out / "scores.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert len(rows) == 8
    anomaly_map = tifffile.imread(out / "spot/000.tiff")
    assert anomaly_map.dtype == np.float32
    assert float(rows["spot/000"]["score"]) == pytest.approx(anomaly_map.max(), rel=1e-6)
    with Image.open(out / "spot/000_overlay.jpg") as picture:
        assert picture.width == 64

    code, text, _ = run("score", "--maps", out, *where(tiny_data), "--json")
    assert code == 0
    again = {row["metric"]: row["value"] for row in json.loads(text)}
    for metric, value in metrics.items():  # the run is scored from float16 distances
        assert again[metric] == pytest.approx(value, abs=2e-3), metric

    assert run("results", "index", "--results", results)[0] == 0
    code, text, _ = run("results", "show", "--results", results)
    assert code == 0
    assert "aupro" in text


def overlays_in(out):
    return {path.relative_to(out).as_posix() for path in out.rglob("*_overlay.*")}


def test_overlays_are_written_as_asked_and_no_larger(run, training, tiny_data, tmp_path):
    checkpoint = tmp_path / "part.safetensors"
    assert run(*training(tiny_data), "--holdout", 0.2, "--out", checkpoint)[0] == 0
    tables = {}
    for kind in ("jpeg", "png", "defective", "none"):
        out = tmp_path / kind
        options = ("--overlays", kind, "--overlay-px", 48, "--json")
        code, text, _ = run("predict", checkpoint, tiny_data / "part/test", "--out", out, *options)
        assert code == 0
        tables[kind] = json.loads(text)
    names = {row["name"] for row in tables["png"]}
    defective = {row["name"] for row in tables["png"] if row["is_anomalous"]}
    assert overlays_in(tmp_path / "jpeg") == {f"{name}_overlay.jpg" for name in names}
    assert overlays_in(tmp_path / "png") == {f"{name}_overlay.png" for name in names}
    assert overlays_in(tmp_path / "defective") == {f"{name}_overlay.jpg" for name in defective}
    assert overlays_in(tmp_path / "none") == set()
    assert len({json.dumps([row["score"] for row in table]) for table in tables.values()}) == 1
    with Image.open(tmp_path / "png" / "spot/000_overlay.png") as picture:
        assert picture.width == 48


def test_overlays_of_defective_images_take_a_threshold(run, training, tiny_data, tmp_path):
    checkpoint = tmp_path / "part.safetensors"
    assert run(*training(tiny_data), "--holdout", 0, "--out", checkpoint)[0] == 0
    command = ("predict", checkpoint, tiny_data / "part/test", "--out", tmp_path / "out")
    code, _, problem = run(*command, "--overlays", "defective")
    assert code == 1
    assert "no threshold" in problem
    assert run(*command, "--overlay-px", 8)[0] == 2
    assert run(*command)[0] == 0  # without a threshold the scale is common to all
    assert len(overlays_in(tmp_path / "out")) == 8


def test_a_threshold_is_refused_by_nothing_and_said_to_be_absent(
    run, training, tiny_data, tmp_path
):
    out = tmp_path / "part.safetensors"
    options = (*training(tiny_data), "--holdout", 0, "--out", out)
    code, text, _ = run(*options)
    assert code == 0
    assert "no threshold: every normal image was trained on" in text


def test_either_engine_predicts_the_same_and_one_that_cannot_is_refused(
    run, tiny_checkpoint, tiny_data, tmp_path
):
    command = ("predict", tiny_checkpoint, tiny_data / "part/test", "--json", "--out")
    scores = []
    for engine in ("onnx", "torch"):
        code, text, _ = run(*command, tmp_path / engine, "--engine", engine)
        assert code == 0
        scores.append([row["score"] for row in json.loads(text)])
    np.testing.assert_allclose(*scores, atol=1e-5)
    code, _, errors = run(*command, tmp_path, "--engine", "onnx", "--device", "cuda")
    assert (code, "--engine onnx runs on the cpu" in errors) == (2, True)
