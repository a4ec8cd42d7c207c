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
    with Image.open(out / "spot/000_overlay.png") as picture:
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
