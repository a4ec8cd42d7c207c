from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rd4ad.cli.parser import build_parser
from rd4ad.metrics import image_auroc
from rd4ad.runs.index import scan_runs
from rd4ad.web.explorer import run_text
from rd4ad.web.explorer.screens import novelty
from rd4ad.web.explorer.units import PERCENT


@pytest.fixture(scope="module")
def study(novelty_results):
    found = novelty.studies(scan_runs(novelty_results)[0])
    assert len(found) == 1
    return found[0]


def without(study, name):
    return novelty.Study(
        study.dataset, study.setting, {k: v for k, v in study.runs.items() if k != name}
    )


def test_a_setting_says_what_sets_runs_apart(study):
    assert study.setting == (
        "RD4AD compact, layers 1+2+3, 1 epochs, not normalized, seed 0, batches of 4"
    )
    assert study.is_whole
    assert not without(study, "bag").is_whole
    run = study.runs["bag"]
    halved = run.record | {"config": run.record["config"] | {"precision": "bfloat16"}}
    assert novelty.setting_of(replace(run, record=halved)) == f"{study.setting}, bfloat16"


def test_classes_stand_in_the_order_of_their_labels(study):
    assert list(study.runs)[:3] == ["t_shirt", "trouser", "pullover"]


def test_the_mean_is_over_all_classes_or_refused(study):
    values = [float(novelty.metric(run, "image_auroc")["value"]) for run in study.runs.values()]
    mean = novelty.mean_of(study)
    assert mean.value == pytest.approx(np.mean(values))
    assert mean.sd == pytest.approx(np.std(values, ddof=1))
    refused = novelty.mean_of(without(study, "bag"))
    assert np.isnan(refused.value)
    assert "known: 9 of 10" in refused.reason


def test_the_overview_leaves_empty_what_is_not_known(study):
    told = pd.DataFrame(
        {"study": ["novelty"], "metric": ["image_auroc"], "dataset": ["FashionMNIST"],
         "value": [0.95]}
    )  # fmt: skip
    rows = novelty.overview([study], told, PERCENT.text).set_index("Dataset")
    assert rows["○ Paper"].tolist() == ["–", "95.0", "–", "–"]
    assert rows.loc["MNIST", "● Ours"] == "–"
    assert "could not be confirmed" in rows.loc["MNIST", "Note"]
    assert "lossy" not in rows.loc["CIFAR-10", "Note"]
    assert "JPEG" in rows.loc["CIFAR-10 (JPEG)", "Note"]


def test_the_class_that_looks_most_normal_is_distinguished_worst():
    images = pd.DataFrame(
        {"defect_type": list("aabbcc"), "label": [0, 0, 1, 1, 1, 1],
         "score": [1.0, 2.0, 1.5, 3.0, 5.0, 6.0]}
    )  # fmt: skip
    pairs = novelty.pairwise("a", images)
    assert pairs == {"b": image_auroc([0, 0, 1, 1], [1, 2, 1.5, 3]), "c": 1.0}


def test_the_matrix_has_no_metric_of_a_class_against_itself(study):
    images = {name: run.images() for name, run in study.runs.items()}
    table = novelty.matrix(images)
    assert table.shape == (10, 10)
    assert all(np.isnan(table.loc[name, name]) for name in table.index)
    classes = novelty.class_table(study, images)
    assert classes.loc["bag", "against_nearest"] == table.loc["bag"].min()


def test_the_worth_of_layers_and_scores_is_a_mean_over_classes(study):
    table = novelty.by_score(study)
    assert list(table.index) == ["1", "2", "3", "1+2", "1+3", "2+3", "1+2+3"]
    assert list(table.columns) == ["sum", "max, 0 px", "max, 0.5 px", "max, 4 px"]
    assert table.loc["1+2+3", "sum"] == pytest.approx(novelty.mean_of(study).value)


def test_images_that_fool_it_come_worst_first():
    images = pd.DataFrame({"label": [0, 0, 1, 1], "score": [1.0, 9.0, 2.0, 8.0]})
    found = novelty.fooled(images, at_most=1)
    assert found.normals["score"].tolist() == [9.0]
    assert found.others["score"].tolist() == [2.0]


def test_a_run_is_measured_again_by_the_command_that_is_shown(study):
    run = study.runs["bag"]
    arguments = run_text.commands(run).split()
    options = build_parser().parse_args(arguments[1:])
    assert arguments[0] == "rd4ad"
    assert (options.dataset, options.normal, options.normalization) == (
        "fashion_mnist", "bag", "none",
    )  # fmt: skip
    names = ("backbone", "layers", "size_px", "epochs", "batch_size", "holdout", "seed")
    stored = run.record["config"] | {"layers": tuple(run.record["config"]["layers"])}
    assert {name: getattr(options, name) for name in names} == {n: stored[n] for n in names}
