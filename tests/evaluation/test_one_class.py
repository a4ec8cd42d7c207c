import json
import shutil
from functools import partial

import numpy as np
import pytest

from rd4ad.cli.parser import main
from rd4ad.data.one_class import NOVELTY_SETS, read_split
from rd4ad.evaluation.one_class import OF_MAX, Protocol, layer_means, measure
from rd4ad.inference.detector import Detector
from rd4ad.runs.store import read_run
from rd4ad.scoring import Scoring, fused_maps, scores

FASHION = NOVELTY_SETS["fashion_mnist"]
CLASSES = FASHION.classes[:2]


@pytest.fixture
def protocol(novelty_config):
    return partial(Protocol, dataset="fashion_mnist", config=novelty_config)


@pytest.fixture(scope="module")
def run(novelty_results):
    return read_run(next((novelty_results / "runs").glob("*-trouser-*")))


def test_a_class_is_tested_against_all_others(run):
    images = run.images()
    assert len(images) == 30
    assert images["defect_type"].value_counts().tolist() == [3] * 10
    assert set(images.loc[images["label"] == 0, "defect_type"]) == {"trouser"}


def test_pixel_metrics_are_empty_with_the_reason(run):
    own = run.metrics[run.metrics["is_default"]].set_index("metric")
    assert np.isnan(own.loc["pixel_auroc", "value"])
    assert own.loc["pixel_auroc", "reason"] == "the category has no masks"
    assert own.loc["image_auroc", ["value", "ci_low", "ci_high"]].notna().all()


def test_the_stored_means_give_the_runs_own_scores_again(run):
    assert run.record["scoring"]["score"] == "sum"
    scoring = Scoring(score="sum", sigma_px=0)
    again = scores(run.distances(), scoring, run.record["size_px"])
    np.testing.assert_array_equal(again, run.images()["score"])


def test_every_layer_subset_is_there_by_sum_and_by_maximum(run):
    table = run.metrics
    assert table["layers"].nunique() == 7
    of_max = table[table["metric"] == "image_auroc_of_max"]
    assert set(of_max["definition"]) == {OF_MAX}
    assert sorted(of_max["smoothing"].unique()) == [0, 0.5, 4]


def test_means_of_layers_have_the_sum_of_their_fused_map():
    rng = np.random.default_rng(0)
    maps = {k: rng.random((5, n, n)).astype(np.float32) for k, n in ((1, 8), (2, 4), (3, 2))}
    means = {layer: layer_means(stack, layer, 32) for layer, stack in maps.items()}
    slow = fused_maps(maps, Scoring(), 32).reshape(5, -1).astype(float).sum(axis=1)
    np.testing.assert_allclose(scores(means, Scoring(score="sum"), 32), slow, rtol=1e-6)


def test_what_is_stored_is_not_measured_again(protocol, novelty_results, novelty_data):
    seen = []
    measure(
        protocol(), CLASSES, data=novelty_data, results=novelty_results,
        on_run=lambda run, is_new: seen.append((run.record["category"], is_new)),
    )  # fmt: skip
    assert seen == [("t_shirt", False), ("trouser", False)]


def test_a_stopped_measurement_goes_on_to_the_same_result(protocol, novelty_data, tmp_path, run):
    class StoppedError(Exception):
        pass

    def stop(progress):
        if progress.stage == "trouser: testing":
            raise StoppedError

    arguments = {"data": novelty_data, "results": tmp_path}
    with pytest.raises(StoppedError):
        measure(protocol(), CLASSES, **arguments, on_progress=stop)
    assert any((tmp_path / ".novelty").iterdir())
    seen = []
    measure(protocol(), CLASSES, **arguments, on_run=lambda run, is_new: seen.append(is_new))
    assert seen == [False, True]
    assert not (tmp_path / ".novelty").exists()
    again = read_run(tmp_path / "runs" / run.path.name)
    np.testing.assert_array_equal(again.images()["score"], run.images()["score"])


def test_normalization_changes_the_metrics_and_the_run(protocol, novelty_data, tmp_path, run):
    other = measure(
        protocol(normalization="imagenet"), ["trouser"], data=novelty_data, results=tmp_path
    )[0]
    assert other.record["run_id"] != run.record["run_id"]
    assert not np.allclose(other.images()["score"], run.images()["score"])


def test_a_kept_detector_gives_the_scores_of_its_run(protocol, novelty_data, tmp_path):
    kept = measure(
        protocol(normalization="imagenet"), ["bag"], data=novelty_data, results=tmp_path,
        detectors=tmp_path / "detectors",
    )[0]  # fmt: skip
    detector = Detector.load(tmp_path / "detectors/fashion_mnist_bag.safetensors")
    images = read_split(novelty_data, FASHION, "test", 32).images
    found = [one.score for one in detector.judge(detector.distances(images))]
    np.testing.assert_allclose(found, kept.images()["score"], rtol=2e-4)


def test_a_detector_without_normalization_is_not_kept(protocol, novelty_data, tmp_path):
    with pytest.raises(ValueError, match="--normalization imagenet"):
        measure(
            protocol(), ["bag"], data=novelty_data, results=tmp_path, detectors=tmp_path / "kept"
        )


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"normalization": "own"}, "imagenet, none"), ({"n_test": -1}, "0 for all")],
)
def test_a_protocol_refuses_nonsense(protocol, changes, said):
    with pytest.raises(ValueError, match=said):
        protocol(**changes)


def command(data, results, *more):
    return [
        "novelty", "--dataset", "fashion_mnist", "--data", str(data), "--results", str(results),
        "--backbone", "compact", "--epochs", "1", "--batch-size", "4", *more,
    ]  # fmt: skip


def test_the_command_says_every_classs_metric_and_the_mean(novelty_data, novelty_results, capsys):
    assert main(command(novelty_data, novelty_results, "--normal", "all")) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("t_shirt: image AUROC")
    assert "stored before" in said[0]
    assert said[-1].startswith("mean over 10 classes:")
    assert main(command(novelty_data, novelty_results, "--normal", "bag", "--json")) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["class"] for row in rows} == {"bag"}


def test_the_command_names_classes_and_files_that_are_not_there(novelty_data, tmp_path, capsys):
    assert main(command(novelty_data, tmp_path, "--normal", "3")) == 1
    assert "ankle_boot; got '3'" in capsys.readouterr().err
    shutil.copytree(novelty_data, tmp_path / "data")
    (tmp_path / "data/FashionMNIST/raw/train-labels-idx1-ubyte").unlink()
    assert main(command(tmp_path / "data", tmp_path, "--normal", "bag")) == 1
    assert "train-labels-idx1-ubyte" in capsys.readouterr().err


def test_cifar10_that_is_not_there_is_an_error_that_says_what_to_do(tmp_path, capsys):
    arguments = ["--dataset", "cifar10", "--normal", "cat", "--data", str(tmp_path)]
    assert main(["novelty", *arguments, "--backbone", "compact"]) == 1
    assert "--download" in capsys.readouterr().err
