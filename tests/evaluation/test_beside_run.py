"""Maps beside a stored run: the same metrics as everywhere else, and nothing stored."""

import numpy as np
import pytest

from rd4ad.evaluation.beside_run import BY_TYPE, beside
from rd4ad.metrics.category import category_metrics
from rd4ad.runs.rescoring import own_scoring
from rd4ad.runs.store import read_run
from rd4ad.scoring import anomaly_maps


@pytest.fixture(scope="module")
def own(stored_tile):
    return anomaly_maps(
        stored_tile.distances(), own_scoring(stored_tile), stored_tile.record["size_px"]
    )


def test_a_run_of_this_machine_beside_itself_differs_in_nothing(part_results):
    run = read_run(next((part_results / "runs").glob("rd-Generated_parts-transistor-*")))
    maps = anomaly_maps(run.distances(), own_scoring(run), run.record["size_px"])
    for metric, one in beside(run, maps, run.masks()).differences.items():
        assert one.difference == pytest.approx(0, abs=1e-9), metric
        assert not one.is_distinguishable, metric


@pytest.mark.parametrize("n_last_bits", [0, 1, -1])
def test_a_run_of_another_machine_beside_itself_is_not_told_apart(stored_tile, own, n_last_bits):
    """Its maps come again to the last bit of float32: a processor's products have their order."""
    moved = own.copy()
    moved.view(np.int32)[:, ::3] += n_last_bits
    for metric, one in beside(stored_tile, moved, stored_tile.masks()).differences.items():
        assert one.difference == pytest.approx(0, abs=1e-6), metric
        assert not one.is_distinguishable, metric


def test_a_run_beside_itself_has_its_metrics(stored_tile, own):
    found = beside(stored_tile, own, stored_tile.masks())
    stored = stored_tile.metrics[stored_tile.metrics["is_default"]].set_index("metric")
    for row in found.metrics.to_dict("records"):
        if row["metric"] in stored.index:
            expected = stored.loc[row["metric"], ["value", "ci_low", "ci_high"]].tolist()
            assert [row[k] for k in ("value", "ci_low", "ci_high")] == pytest.approx(
                expected, abs=1e-6
            )
    for metric in BY_TYPE:
        np.testing.assert_allclose(found.by_type[metric], found.by_type[f"{metric}_run"])
    assert (found.images["score"] - found.images["score_run"]).abs().max() < 1e-5


def test_metrics_are_those_of_the_resized_maps_and_of_the_maxima_as_they_came(stored_tile, own):
    rng = np.random.default_rng(0)
    masks, labels = stored_tile.masks(), stored_tile.images()["label"].to_numpy()
    worse = own + rng.random(own.shape).astype(np.float32) * own.max()
    large = worse.repeat(2, 1).repeat(2, 2)  # its cells' means are the map again
    large[:, 0, 0] += rng.random(len(large)) * 5
    found = beside(stored_tile, large, masks)
    small = large.reshape(len(large), 256, 2, 256, 2).mean((2, 4))
    expected = category_metrics(small, large.max((1, 2)).astype(float), labels, masks)
    for row in expected:
        value = found.metrics.set_index("metric").loc[row["metric"], "value"]
        assert value == pytest.approx(row["value"], abs=1e-6), row["metric"]
    assert found.differences["aupro"].difference < 0
    assert found.differences["aupro"].is_distinguishable


def test_without_masks_there_are_the_metrics_of_images_alone(stored_tile, own):
    found = beside(stored_tile, own, None)
    known = found.metrics.dropna(subset="value")["metric"].tolist()
    assert known == ["image_auroc", "image_ap", "image_f1_max"]
    assert found.differences["pixel_auroc"].reason


def test_maps_to_look_at_hold_together_and_any_range_of_values_will_do(stored_tile, own):
    found = beside(stored_tile, own * 1e30, stored_tile.masks())
    assert found.maps.dtype == np.float16
    assert (float(found.maps.min()), float(found.maps.max())) == (0.0, 1.0)
    flat = beside(stored_tile, np.zeros_like(own), stored_tile.masks())
    assert np.isfinite(flat.maps).all()
