"""One model of several categories: what is shared, and what stays a category's own."""

import csv
import json

import numpy as np
import pytest

from rd4ad.cli.parser import main
from rd4ad.config import TrainingConfig
from rd4ad.data.folders import open_category
from rd4ad.data.images import read_images
from rd4ad.data.parts import write_parts
from rd4ad.evaluation.category import evaluate
from rd4ad.inference.detector import Detector
from rd4ad.runs.index import variant
from rd4ad.training.category import train

CONFIG = TrainingConfig(backbone="compact", size_px=64, epochs=1, batch_size=4, holdout=0.25)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    write_parts(folder, categories=("nut", "tile", "wood"), n_train=8, n_good=2, n_per_defect=1)
    return folder


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "both.safetensors"
    train(data, ("tile", "nut"), CONFIG, out=out)
    return out


def test_it_learns_all_and_calibrates_each(data, checkpoint):
    detector = Detector.load(checkpoint)
    assert detector.config["categories"] == ["nut", "tile"]
    assert (detector.config["n_images"], detector.config["n_held_out"]) == (12, 4)
    assert detector.calibration is None
    normal = [sample.path for sample in open_category(data, "tile").train]
    every = sorted(p.score for p in detector.predict(list(read_images(normal, 64).images)))
    own = detector.of_category("tile").calibration
    assert len(own.scores) == 2
    np.testing.assert_allclose([min(abs(np.array(every) - s)) for s in own.scores], 0, atol=1e-5)
    assert own.scores != detector.of_category("nut").calibration.scores


def test_a_category_saved_by_itself_is_a_checkpoint_like_any(checkpoint, tmp_path):
    tile = Detector.load(checkpoint).of_category("tile")
    tile.save(tmp_path / "tile.safetensors")
    again = Detector.load(tmp_path / "tile.safetensors")
    assert again.calibration == tile.calibration
    assert again.config["category"] == "tile"
    black = np.zeros((64, 64, 3), np.uint8)
    assert again.predict(black)[0].is_anomalous is not None
    assert Detector.load(checkpoint).predict(black)[0].is_anomalous is None


def test_a_category_that_it_never_saw_is_refused(data, checkpoint, tmp_path):
    detector = Detector.load(checkpoint)
    with pytest.raises(ValueError, match="trained on nut, tile, not on 'wood'"):
        detector.of_category("wood")
    with pytest.raises(ValueError, match="not on 'wood'"):
        evaluate(detector, data, "wood", results=tmp_path)
    assert not list(tmp_path.iterdir())


def test_runs_say_multi_class_and_differ_by_category(data, checkpoint, tmp_path):
    detector = Detector.load(checkpoint)
    runs = {c: evaluate(detector, data, c, dataset="p", results=tmp_path) for c in ("nut", "tile")}
    for name, run in runs.items():
        assert run.record["category"] == name
        assert variant(run.record).startswith("multi-class of 2")
        assert run.record["threshold"] == detector.calibrations[name].threshold
    assert runs["nut"].record["run_id"] != runs["tile"].record["run_id"]


def test_the_command_takes_a_list_or_all_and_predicts_by_a_category(
    data, checkpoint, tmp_path, capsys
):
    out = tmp_path / "all.safetensors"
    base = ["train", "--data", str(data), "--backbone", "compact", "--size-px", "64"]
    base += ["--epochs", "1", "--holdout", "0.25", "--out", str(out), "--json"]
    assert main([*base, "--category", "all"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["categories"] == ["nut", "tile", "wood"]
    assert set(told["thresholds"]) == set(told["categories"])
    image = str(data / "tile" / "test" / "good")
    command = ["predict", str(checkpoint), image, "--out", str(tmp_path / "found")]
    assert main([*command, "--category", "tile"]) == 0
    with (tmp_path / "found" / "scores.csv").open() as file:
        assert all(
            row["is_anomalous"] in ("True", "False", "0", "1") for row in csv.DictReader(file)
        )
    assert main([*command, "--category", "bolt"]) == 1
    assert "not on 'bolt'" in capsys.readouterr().err


@pytest.mark.parametrize("category", ["tile,bolt", ",", "tile,,../tile"])
def test_a_list_with_what_is_no_category_is_refused(data, category, tmp_path, capsys):
    out = tmp_path / "a.safetensors"
    command = ["train", "--data", str(data), "--category", category, "--out", str(out)]
    assert main(command) in (1, 2)
    assert not out.exists()
    assert category.split(",")[-1] in capsys.readouterr().err
