import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from rd4ad import metrics
from rd4ad.metrics.category import DEFINITIONS
from rd4ad.runs import rescoring
from rd4ad.runs.store import read_run
from rd4ad.scoring import Scoring, anomaly_maps
from rd4ad.web.explorer.screens.limitations import (
    default_metrics,
    fill_undefined,
    stored_metrics,
)


@pytest.fixture(scope="module")
def run(part_results):
    return read_run(next((part_results / "runs").iterdir()))


def rescored(run, scoring, masks=True):
    labels = run.images()["label"].to_numpy()
    return rescoring.rescore(run.distances(), scoring, 64, labels, run.masks() if masks else None)


def test_scoring_again_gives_the_stored_metrics(run):
    found = rescored(run, rescoring.own_scoring(run)).metrics
    assert found == pytest.approx(default_metrics(run), abs=1e-12)
    assert set(found) == set(DEFINITIONS)


@pytest.mark.parametrize("fusion", ["sum", "product"])
@pytest.mark.parametrize("layers", [(3,), (2, 3), (1, 2, 3)])
def test_any_scoring_of_the_grid_gives_its_stored_metrics(run, layers, fusion):
    found = rescored(run, Scoring(layers=layers, fusion=fusion, sigma_px=4.0)).metrics
    assert found == pytest.approx(stored_metrics(run, layers, fusion, 4.0), abs=1e-6)


def test_without_masks_image_metrics_stand_and_the_reason_is_told(run):
    found = rescored(run, rescoring.own_scoring(run), masks=False)
    assert found.metrics["image_auroc"] == default_metrics(run)["image_auroc"]
    assert np.isnan(found.metrics["pixel_auroc"])
    assert found.reason == "the category has no masks"
    assert fill_undefined(found.metrics, default_metrics(run)) == default_metrics(run)


def test_a_scoring_outside_the_grid_has_no_stored_metrics(run):
    assert stored_metrics(run, (1, 2, 3), "sum", 3.3) == {}


@pytest.mark.parametrize("threshold", [0.0, 0.35, 0.5, 2.0])
def test_counts_are_those_of_the_definitions(threshold):
    rng = np.random.default_rng(1)
    images = pd.DataFrame({"label": rng.integers(0, 2, 50), "score": rng.random(50).round(2)})
    counts = rescoring.confusion(images, threshold)
    called = images["score"] >= threshold
    assert counts["found"] == int((called & (images["label"] == 1)).sum())
    assert counts["false alarm"] == int((called & (images["label"] == 0)).sum())
    assert sum(counts.values()) == 50


def test_wrong_images_come_first_the_worst_on_top():
    images = pd.DataFrame({"label": [0, 0, 1, 1, 0], "score": [0.1, 0.9, 0.2, 0.8, 0.55]})
    ordered = rescoring.by_error(images, 0.5)
    assert ordered["outcome"].tolist()[:3] == ["false alarm", "missed defect", "false alarm"]
    assert ordered["score"].tolist()[:3] == [0.9, 0.2, 0.55]


def test_every_definition_of_pro_is_the_metrics_own(run):
    scored = rescored(run, rescoring.own_scoring(run))
    maps = anomaly_maps(run.distances(), rescoring.own_scoring(run), 64)
    found = rescoring.pro_by_definition(run.masks(), maps)
    assert found["MVTec, limit 0.3"] == pytest.approx(scored.metrics["aupro"])
    assert found["MVTec, limit 0.05"] == pytest.approx(scored.metrics["aupro_0.05"])
    assert found[rescoring.PER_IMAGE] == pytest.approx(scored.metrics["aupro_per_image"])
    whole = rescoring.pro_curve(run.masks(), maps)
    assert found["no limit (1.0)"] == pytest.approx(rescoring.area(whole), abs=1e-4)
    assert found["no limit (1.0)"] == pytest.approx(metrics.aupro(run.masks(), maps, fpr_limit=1.0))


def test_the_curve_of_single_images_is_the_mean_of_their_own():
    masks = np.zeros((2, 4, 4), bool)
    masks[0, 0, :2] = True  # the second image is normal and plays no part
    maps = np.arange(32, dtype=np.float32).reshape(2, 4, 4)
    maps[0, 0, :2] = 100
    assert rescoring.per_image_curve(masks, maps)["y"].tolist() == pytest.approx([1.0] * 121)


def test_halves_of_the_mask_are_ranked_against_the_same_normal_pixels():
    rng = np.random.default_rng(0)
    maps = rng.random((6, 16, 16)).astype(np.float32).round(2)
    masks = np.zeros((6, 16, 16), bool)
    masks[:3, 2:10, 2:10] = True
    masks[3, 12:, 12:] = True  # another defect: neither positive nor normal
    nominal = np.zeros((16, 16), bool)
    nominal[2:10, 2:6] = True
    of_them = np.array([True, True, True, False, False, False])
    found = rescoring.split_auroc(maps, masks, nominal, of_them)
    normal = maps[~masks]
    for name, half in {
        "whole mask": masks & of_them[:, None, None],
        "where it should be": masks & of_them[:, None, None] & nominal,
        "where the part is": masks & of_them[:, None, None] & ~nominal,
    }.items():
        positives = maps[half]
        labels = np.r_[np.zeros(len(normal)), np.ones(len(positives))]
        assert found[name] == pytest.approx(roc_auc_score(labels, np.r_[normal, positives]))


def test_an_empty_half_is_undefined():
    masks = np.zeros((2, 4, 4), bool)
    masks[0, 0, 0] = True
    maps = np.random.default_rng(0).random((2, 4, 4))
    found = rescoring.split_auroc(maps, masks, np.zeros((4, 4), bool), np.array([True, False]))
    assert np.isnan(found["where it should be"])
