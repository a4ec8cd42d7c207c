import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from rd4ad.runs.index import broken_runs, metric_rows, read_index, scan_runs, update_index, variant
from rd4ad.runs.store import read_run


@pytest.fixture
def stored(part_results, tmp_path):
    """A function that stores one more run, of another seed and perhaps another category."""
    source = next((part_results / "runs").iterdir())

    def store(seed, category="part"):
        name = f"rd-{category}-{seed}"
        shutil.copytree(source, tmp_path / "runs" / name)
        path = tmp_path / "runs" / name / "run.json"
        record = json.loads(path.read_text()) | {"run_id": name, "seed": seed, "category": category}
        path.write_text(json.dumps(record))
        return path.parent

    return store


@pytest.fixture
def results(tmp_path, stored):
    for seed in (0, 1):
        stored(seed)
        stored(seed, "other")
    update_index(tmp_path)
    return tmp_path


def test_the_index_holds_every_metric_of_every_run(results):
    index = read_index(results)
    for run in scan_runs(results)[0]:
        mine = metric_rows(index[index["run_id"] == run.record["run_id"]])
        keys = ["layers", "fusion", "smoothing", "metric"]
        both = run.metrics.merge(mine, on=[*keys, "definition", "is_default"], how="outer")
        assert len(both) == len(run.metrics) == len(mine)
        np.testing.assert_array_equal(both["value_x"], both["value_y"])
    own = index[index["is_default"]]
    assert own["run_id"].is_unique
    assert own["image_auroc_ci_low"].notna().all()


def test_the_rows_at_the_runs_own_scoring_come_first(results):
    index = read_index(results)
    assert index["is_default"].is_monotonic_decreasing
    assert index.loc[~index["is_default"], "category"].is_monotonic_increasing


def test_what_is_wanted_alone_is_read(results):
    whole = read_index(results)
    part = read_index(results, ["run_id", "aupro"], category="other", is_default=True)
    expected = whole[(whole["category"] == "other") & whole["is_default"]]
    pd.testing.assert_frame_equal(part, expected[["run_id", "aupro"]].reset_index(drop=True))
    assert len(read_index(results, category="none")) == 0


def test_new_runs_alone_are_read_and_the_index_is_the_same_as_again(results, stored):
    assert update_index(results).n_read == 0
    stored(2)
    found = update_index(results)
    assert (found.n_runs, found.n_read, found.broken) == (5, 1, ())
    grown = (results / "index.parquet").read_bytes()
    assert update_index(results, again=True).n_read == 5
    assert (results / "index.parquet").read_bytes() == grown


def test_a_run_that_changed_is_read_again_and_one_that_is_gone_is_dropped(results):
    first, second = sorted((results / "runs").iterdir())[:2]
    shutil.rmtree(first)
    table = pd.read_csv(second / "metrics.csv").assign(value=0.5)
    table.to_csv(second / "beside.csv", index=False)
    (second / "beside.csv").replace(second / "metrics.csv")
    found = update_index(results)
    assert (found.n_runs, found.n_read) == (3, 1)
    index = read_index(results)
    assert first.name not in set(index["run_id"])
    assert (index.loc[index["run_id"] == second.name, "aupro"] == 0.5).all()


def test_a_clock_that_was_set_back_hides_no_new_run(results, stored):
    folder = stored(2)
    os.utime(folder, (0, 0))
    assert update_index(results).n_read == 1


def test_broken_runs_are_named_until_they_are_whole(results, stored):
    folder = stored(2)
    images = (folder / "images.parquet").read_bytes()
    (folder / "images.parquet").write_bytes(images[:100])
    for _ in range(2):
        assert [run.path for run in update_index(results).broken] == [folder]
        assert "images.parquet" in broken_runs(results)[folder.name]
    (folder / "images.parquet").write_bytes(images)
    assert update_index(results).broken == ()
    assert broken_runs(results) == {}


def test_an_index_of_no_runs_is_empty_and_whole(tmp_path):
    found = update_index(tmp_path)
    assert (found.n_runs, found.broken) == (0, ())
    assert len(read_index(tmp_path)) == 0


def test_a_missing_or_damaged_index_says_which_command_writes_it(results):
    path = results / "index.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="rd4ad results index"):
        read_index(results)
    pd.DataFrame({"run_id": ["x"]}).to_parquet(path)
    with pytest.raises(ValueError, match="lacking: method"):
        read_index(results)
    assert update_index(results).n_read == 4  # neither is in the way of a new one
    path.unlink()
    for reader in (read_index, broken_runs):
        with pytest.raises(FileNotFoundError, match="rd4ad results index"):
            reader(results)


def complaint(reader, results) -> str:
    """The path that its error begins with; nothing without an error."""
    try:
        reader(results)
    except ValueError as error:
        return str(error).partition(" cannot be read")[0]
    return ""


def test_random_damage_to_the_index_is_told_by_its_name(results):
    path, rng = results / "index.parquet", np.random.default_rng(0)
    whole = path.read_bytes()
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(damaged[: rng.integers(len(whole) // 2, 2 * len(whole))]))
        for reader in (read_index, broken_runs):
            assert complaint(reader, results) in ("", str(path))


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a folder of results"):
        update_index(tmp_path / "nowhere")


def test_what_sets_a_training_apart_is_said_and_the_usual_is_not(results):
    record = read_run(next((results / "runs").iterdir())).record
    usual = {"layers": [1, 2, 3], "batch_size": 16, "learning_rate": 0.005, "loss": "flattened",
             "precision": "float32", "holdout": 0.0}  # fmt: skip
    assert variant(record | {"config": usual}) == ""
    other = usual | {"layers": [2, 3], "batch_size": 8, "stop": {"patience": 5, "x": None}}
    said = variant(record | {"config": other})
    assert said == "trained on layers 2+3, batches of 8, patience 5"
    assert variant(record | {"config": {}}) == ""
    assert variant(record | {"method": "theirs"}) == ""
