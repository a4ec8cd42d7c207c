import numpy as np
import pandas as pd
import pytest

from rd4ad import metrics
from rd4ad.metrics.category import DEFINITIONS, category_metrics
from rd4ad.runs.comparison import (
    NOT_STORED,
    SETTING,
    add_intervals,
    differences,
    mean_of,
    resample,
    seed_spread,
)
from rd4ad.runs.run import METRIC_COLUMNS
from rd4ad.runs.store import RECORD_KEYS, read_run, write_run

N_IMAGES, SIZE_PX = 12, 32
SCORING = {"layers": "1", "fusion": "sum", "sigma_px": 0.0}


def maps_and_masks(noise, seed=0):
    """Maps of one test set, the more noise the worse; half of the images have a defect."""
    rng = np.random.default_rng(5)
    masks = np.zeros((N_IMAGES, SIZE_PX, SIZE_PX), bool)
    for i in range(N_IMAGES // 2):
        y, x = rng.integers(2, 22, 2)
        masks[i, y : y + 8, x : x + 8] = True
    wobble = np.random.default_rng(seed).random(masks.shape)
    return (masks + noise * wobble).astype(np.float32), masks


def stored(results, noise, name, *, with_statistics=True, category="nut", order=None, names=None):
    """A stored run of such maps; its distance maps are the anomaly maps."""
    maps, masks = maps_and_masks(noise)
    order = np.arange(N_IMAGES) if order is None else order
    maps, masks = maps[order], masks[order]
    labels, scores = masks.any((1, 2)).astype(int), maps.max((1, 2)).astype(float)
    identity = {"run_id": name, "dataset": "parts", "category": category, "scoring": SCORING}
    record = dict.fromkeys(RECORD_KEYS, "") | identity | {"config": {}, "versions": {}}
    where = {"layers": "1", "fusion": "sum", "smoothing": 0.0}
    rows = [where | row for row in category_metrics(maps, scores, labels, masks)]
    names = [f"test/all/{i:03d}.png" for i in order] if names is None else names
    images = {"image": names, "defect_type": "all", "label": labels, "score": scores}
    run = write_run(
        results,
        record,
        pd.DataFrame(rows)[list(METRIC_COLUMNS)],
        pd.DataFrame(images),
        pd.DataFrame([("image_roc", 0.0, 0.0, 1.0)], columns=["curve", "x", "y", "threshold"]),
        {1: maps},
    )
    return add_intervals(run, maps, masks) if with_statistics else run


def test_every_metric_of_a_run_gains_its_interval_and_keeps_its_value(tmp_path):
    bare = stored(tmp_path / "bare", 1.5, "rd-a", with_statistics=False)
    run = stored(tmp_path, 1.5, "rd-a")
    table = run.metrics.set_index("metric")
    pd.testing.assert_series_equal(table["value"], bare.metrics.set_index("metric")["value"])
    assert set(table.index) == set(DEFINITIONS)
    assert (table["ci_low"] <= table["value"]).all()
    assert (table["value"] <= table["ci_high"]).all()
    assert table.loc["pixel_ap", "ci_low"] < table.loc["pixel_ap", "ci_high"]


def test_intervals_from_other_masks_or_none_are_refused(tmp_path):
    run = stored(tmp_path, 1.5, "rd-a", with_statistics=False)
    maps, masks = maps_and_masks(1.5)
    with pytest.raises(ValueError, match="expected the masks that it was measured with"):
        add_intervals(run, maps, masks[::-1])
    with pytest.raises(ValueError, match="nan by the masks at hand"):
        add_intervals(run, maps, None)
    assert read_run(run.path).metrics["ci_low"].isna().all()


def test_a_run_against_itself_differs_by_exactly_nothing(tmp_path):
    run = stored(tmp_path, 1.5, "rd-a")
    found = differences(resample(run), resample(run))
    assert set(found) == set(DEFINITIONS)
    for one in found.values():
        assert (one.difference, one.ci_low, one.ci_high, one.reason) == (0.0, 0.0, 0.0, "")
        assert not one.is_distinguishable


def test_a_clear_difference_is_told_from_chance_and_its_sign_is_first_minus_second(tmp_path):
    good, bad = (resample(stored(tmp_path, noise, f"rd-{noise}")) for noise in (1.1, 3.0))
    better, worse = differences(good, bad)["pixel_ap"], differences(bad, good)["pixel_ap"]
    assert better.is_distinguishable
    assert worse.is_distinguishable
    assert better.difference > 0
    assert (worse.ci_low, worse.ci_high) == pytest.approx((-better.ci_high, -better.ci_low))
    assert better.ci_low < better.difference < better.ci_high


def test_pairing_makes_the_interval_narrower_than_two_intervals_apart(tmp_path):
    one, other = (resample(stored(tmp_path, noise, f"rd-{noise}")) for noise in (2.0, 2.2))
    paired = differences(one, other)["pixel_ap"]
    widths = [np.subtract(*metrics.interval(run.values["pixel_ap"])[::-1]) for run in (one, other)]
    assert paired.ci_high - paired.ci_low < np.hypot(*widths)


def test_images_are_paired_by_name_and_not_by_position(tmp_path):
    there = resample(stored(tmp_path, 1.5, "rd-a"))
    order = np.random.default_rng(0).permutation(N_IMAGES)
    moved = resample(stored(tmp_path, 1.5, "rd-b", order=order))
    for one in differences(there, moved).values():
        assert one.difference == pytest.approx(0, abs=1e-9)
        assert (one.ci_low, one.ci_high) == pytest.approx((0, 0), abs=1e-9)


def test_runs_of_other_test_images_are_refused_by_name(tmp_path):
    run = resample(stored(tmp_path, 1.5, "rd-a"))
    other = resample(stored(tmp_path, 1.5, "rd-b", category="tile"))
    with pytest.raises(ValueError, match="not the same test images: parts / nut and parts / tile"):
        differences(run, other)
    names = [f"test/all/{i + 1:03d}.png" for i in range(N_IMAGES)]
    renamed = resample(stored(tmp_path, 1.5, "rd-c", names=names))
    with pytest.raises(ValueError, match=r"2 are in one run alone, such as test/all/000\.png"):
        differences(run, renamed)


def test_pixel_metrics_without_stored_statistics_say_so_and_image_metrics_are_told(tmp_path):
    with_them = resample(stored(tmp_path, 1.5, "rd-a"))
    without = resample(stored(tmp_path, 1.5, "rd-b", with_statistics=False))
    for pair in ((with_them, without), (without, with_them)):
        found = differences(*pair)
        assert found["aupro"].reason == NOT_STORED
        assert not found["aupro"].is_distinguishable
        assert found["image_auroc"].reason == ""


def test_an_undefined_metric_has_the_reason_of_the_run(tmp_path):
    run = stored(tmp_path, 1.5, "rd-a", with_statistics=False)
    text = (run.path / "metrics.csv").read_text()
    line = next(line for line in text.splitlines() if ",aupro," in line)
    emptied = '1,sum,0.0,aupro,"MVTec, limit 0.3",,,,the category has no masks'
    (run.path / "metrics.csv").write_text(text.replace(line, emptied))
    found = resample(read_run(run.path))
    assert found.reasons["aupro"] == "the category has no masks"


def test_the_mean_of_seeds_is_compared_like_a_run(tmp_path):
    runs = [resample(stored(tmp_path, noise, f"rd-{noise}")) for noise in (1.5, 1.7)]
    mean = mean_of(runs)
    values = [run.exact["pixel_ap"] for run in runs]
    assert mean.exact["pixel_ap"] == pytest.approx(np.mean(values))
    found = differences(mean, runs[1])["pixel_ap"]
    assert found.difference == pytest.approx((values[0] - values[1]) / 2)
    assert mean_of([runs[0]]).exact == runs[0].exact


def test_a_mean_with_a_run_without_statistics_has_its_reason(tmp_path):
    runs = [
        resample(stored(tmp_path, 1.5, "rd-a")),
        resample(stored(tmp_path, 1.5, "rd-b", with_statistics=False)),
    ]
    mean = mean_of(runs)
    assert mean.reasons["aupro"] == NOT_STORED
    assert differences(mean, runs[0])["aupro"].reason == NOT_STORED


def test_a_damaged_file_is_named(tmp_path):
    run = stored(tmp_path, 1.5, "rd-a")
    (run.path / "statistics.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"statistics\.npz cannot be read"):
        resample(run)


def index_rows(**changes):
    setting = dict.fromkeys(SETTING, "x") | {"epochs": 200.0} | changes
    return [setting | {"run_id": f"r{s}", "seed": s, "value": v} for s, v in ((0, 0.9), (1, 0.94))]


def test_the_spread_of_seeds_is_over_runs_of_one_setting():
    table = seed_spread(pd.DataFrame(index_rows() + index_rows(method="y")[:1]))
    assert table["n"].tolist() == [2, 1]
    assert table["mean"].tolist() == pytest.approx([0.92, 0.9])
    assert table["sd"].iloc[0] == pytest.approx(0.04 / np.sqrt(2))
    assert np.isnan(table["sd"].iloc[1])


def test_runs_that_share_a_seed_have_no_spread_of_seeds():
    rows = pd.DataFrame(index_rows()).assign(seed=0)
    assert np.isnan(seed_spread(rows)["sd"].item())


def test_methods_without_epochs_and_undefined_metrics_are_no_obstacle():
    rows = pd.DataFrame(index_rows(epochs=float("nan")))
    assert seed_spread(rows)["n"].item() == 2
    rows.loc[0, "value"] = np.nan
    assert seed_spread(rows)["n"].item() == 1
