import json
import os
import re
import shutil
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from rd4ad.metrics import pixel_statistics
from rd4ad.runs import store
from rd4ad.runs.index import broken_runs, read_index, scan_runs, update_index
from rd4ad.runs.run import CURVE_COLUMNS, IMAGE_COLUMNS, METRIC_COLUMNS, decode, encode
from rd4ad.runs.store import RECORD_KEYS, SCHEMA, read_run, run_id, write_run

IDENTITY = {
    "method": "reverse_distillation", "dataset": "set", "category": "part", "backbone": "compact",
    "size_px": 64, "seed": 0,
}  # fmt: skip


def parts(value=0.9, **changes):
    scoring = {"layers": "1+2", "fusion": "sum", "sigma_px": 4.0}
    record = dict.fromkeys(RECORD_KEYS, "") | IDENTITY
    record |= {"scoring": scoring, "config": {}, "versions": {}} | changes
    record["run_id"] = run_id({key: record[key] for key in IDENTITY})
    rows = [
        ("1+2", "sum", 4.0, "image_auroc", "exact", value, np.nan, np.nan, ""),
        ("1", "sum", 4.0, "image_auroc", "exact", 0.8, np.nan, np.nan, ""),
        ("1+2", "sum", 4.0, "aupro", "MVTec, limit 0.3", np.nan, np.nan, np.nan, "no masks"),
    ]
    metrics = pd.DataFrame(rows, columns=METRIC_COLUMNS)
    images = pd.DataFrame(
        [("test/good/0.png", "good", 0, 0.1), ("test/spot/0.png", "spot", 1, 0.7)],
        columns=IMAGE_COLUMNS,
    )
    curves = pd.DataFrame([("image_roc", 0.0, 0.0, 1.0)], columns=CURVE_COLUMNS)
    rng = np.random.default_rng(0)
    distances = {1: rng.random((2, 4, 4), dtype=np.float32), 2: np.zeros((2, 2, 2), np.float32)}
    return record, metrics, images, curves, distances


def test_a_run_is_read_back_as_it_was_written(tmp_path):
    record, metrics, images, curves, distances = parts()
    run = write_run(tmp_path, record, metrics, images, curves, distances)
    assert run.record == record | {"schema": SCHEMA}
    pd.testing.assert_frame_equal(run.metrics[list(metrics.columns)], metrics)
    assert run.metrics.is_default.tolist() == [True, False, True]
    pd.testing.assert_frame_equal(run.images(), images)
    pd.testing.assert_frame_equal(run.curves(), curves, check_dtype=False)
    for layer, stack in run.distances().items():
        np.testing.assert_allclose(stack, distances[layer], atol=1e-5)


def histograms(n_images=2):
    rng = np.random.default_rng(0)
    masks = rng.random((n_images, 8, 8)) < 0.3
    return pixel_statistics(masks, rng.random(masks.shape))


def same_statistics(one, other):
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name), equal_nan=True)
        for field in fields(one)
    )


def test_statistics_are_read_back_as_they_were_written(tmp_path):
    run = write_run(tmp_path, *parts(), statistics=histograms())
    assert same_statistics(run.statistics(), histograms())
    run.check()
    assert write_run(tmp_path, *parts(seed=1)).statistics() is None


def with_interval(found):
    record, metrics, *rest = found
    bounds = {"ci_low": [0.8, np.nan, np.nan], "ci_high": [0.95, np.nan, np.nan]}
    return record, metrics.assign(**bounds), *rest


def test_a_run_without_intervals_gains_them_once_and_keeps_its_metrics(tmp_path):
    old = write_run(tmp_path, *parts(value=1 / 3))
    untouched = {p.name: p.stat().st_mtime_ns for p in old.path.iterdir()}
    run = write_run(tmp_path, *with_interval(parts(value=1 / 3 + 1e-9)), statistics=histograms())
    assert run.metrics["value"].iloc[0] == 1 / 3
    assert run.metrics.loc[0, ["ci_low", "ci_high"]].tolist() == [0.8, 0.95]
    assert same_statistics(run.statistics(), histograms())
    files = {p.name: p.stat().st_mtime_ns for p in run.path.iterdir()}
    assert set(files) == {*untouched, "statistics.npz"}
    changed = {name for name in untouched if files[name] != untouched[name]}
    assert changed == {"metrics.csv"}
    write_run(tmp_path, *with_interval(parts(value=1 / 3)), statistics=histograms())
    assert {p.name: p.stat().st_mtime_ns for p in run.path.iterdir()} == files


def test_a_full_disk_leaves_a_run_without_intervals_as_it_was(tmp_path, monkeypatch):
    old = write_run(tmp_path, *parts())

    def fill_the_disk(file, _arrays):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_arrays", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        write_run(tmp_path, *with_interval(parts()), statistics=histograms())
    assert {p.name for p in old.path.iterdir()} == set(store._FILES)


def test_statistics_of_other_images_or_other_shapes_are_reported(tmp_path):
    run = write_run(tmp_path, *parts(), statistics=histograms(n_images=3))
    with pytest.raises(ValueError, match=r"statistics\.npz: .* of the 2 images .* found 3"):
        run.check()
    arrays = {field.name: np.zeros(1) for field in fields(histograms())}
    np.savez(run.path / "statistics.npz", **arrays)
    with pytest.raises(ValueError, match=r"statistics\.npz cannot be read: expected arrays"):
        run.check()


@pytest.mark.parametrize("bits", [12, 13, 16])
def test_rounding_distances_twice_is_rounding_them_once(bits):
    stack = np.random.default_rng(0).random((3, 8, 8)).astype(np.float32) * 1.7
    once = decode(*encode(stack, bits))
    np.testing.assert_array_equal(decode(*encode(once, bits)), once)
    assert np.abs(once - stack).max() <= stack.max() / (2**bits - 1) / 2 * 1.01


@pytest.mark.parametrize("bits", [12, 16])
def test_a_run_gives_its_finest_maps_rounded_to_its_bits_and_others_to_sixteen(tmp_path, bits):
    record, metrics, images, curves, _ = parts()
    rng = np.random.default_rng(1)
    maps = {
        layer: rng.random((2, side, side), np.float32) for layer, side in ((0, 1), (2, 9), (3, 5))
    }
    run = write_run(tmp_path, record, metrics, images, curves, maps, bits=bits)
    np.testing.assert_array_equal(run.distances()[2], decode(*encode(maps[2], bits)))
    for whole in (0, 3):
        np.testing.assert_array_equal(run.distances()[whole], decode(*encode(maps[whole])))
    assert run.codes()[0][2].max() == 2**bits - 1


def test_codes_that_were_stored_whole_are_read_as_before(tmp_path):
    run = write_run(tmp_path, *parts())
    codes, steps = run.codes()
    older = {f"layer{k}": stack for k, stack in codes.items()}
    older |= {f"scale{k}": step for k, step in steps.items()}
    np.savez_compressed(run.path / "distances.npz", **older)
    for layer, stack in run.distances().items():
        np.testing.assert_array_equal(stack, decode(codes[layer], steps[layer]))


def test_the_same_run_again_changes_nothing_and_other_metrics_are_refused(tmp_path):
    first = write_run(tmp_path, *parts())
    before = {p.name: p.stat().st_mtime_ns for p in first.path.iterdir()}
    write_run(tmp_path, *parts())
    assert {p.name: p.stat().st_mtime_ns for p in first.path.iterdir()} == before
    with pytest.raises(ValueError, match="is there with other metrics"):
        write_run(tmp_path, *parts(value=0.5))


def test_an_id_is_that_of_what_determines_the_run():
    assert run_id(IDENTITY) == run_id(dict(reversed(IDENTITY.items())))
    assert run_id(IDENTITY) != run_id(IDENTITY | {"seed": 1})
    assert run_id(IDENTITY | {"dataset": "a/../b c"}).startswith("rd-a_b_c-part-compact-64-s0-")


def test_a_record_that_lacks_a_key_is_refused(tmp_path):
    record, *rest = parts()
    del record["commit"]
    with pytest.raises(ValueError, match="lacking: commit"):
        write_run(tmp_path, record, *rest)


def test_a_table_that_lacks_a_column_is_refused_and_nothing_stays(tmp_path):
    record, metrics, images, curves, distances = parts()
    with pytest.raises(ValueError, match="lacking: score"):
        write_run(tmp_path, record, metrics, images.drop(columns="score"), curves, distances)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    def fill_the_disk(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_arrays", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        write_run(tmp_path, *parts())
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        write_run(tmp_path, *parts())


def break_json(folder):
    (folder / "run.json").write_text('{"run_id": ')


def break_parquet(folder):
    file = folder / "images.parquet"
    file.write_bytes(file.read_bytes()[:100])


def break_npz(folder):
    file = folder / "distances.npz"
    file.write_bytes(file.read_bytes()[:200])


def remove_curves(folder):
    (folder / "curves.parquet").unlink()


def remove_a_column(folder):
    table = pd.read_csv(folder / "metrics.csv")
    table.drop(columns="definition").to_csv(folder / "metrics.csv", index=False)


def write_words(folder):
    text = (folder / "metrics.csv").read_text()
    (folder / "metrics.csv").write_text(text.replace("0.9", "nine"))


def make_newer(folder):
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"schema": SCHEMA + 1}))


def drop_a_key(folder):
    record = json.loads((folder / "run.json").read_text())
    del record["scoring"]
    (folder / "run.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (break_json, "cannot be read"),
        (break_parquet, "images.parquet|Parquet"),
        (break_npz, "zip|truncated|magic"),
        (remove_curves, r"curves\.parquet is missing"),
        (remove_a_column, "lacking: definition"),
        (write_words, "cannot be read"),
        (make_newer, "update rd4ad"),
        (drop_a_key, "scoring"),
    ],
)
def test_a_damaged_run_is_reported_and_the_others_are_still_indexed(tmp_path, damage, reason):
    write_run(tmp_path, *parts())
    bad = write_run(tmp_path, *parts(seed=1))
    damage(bad.path)
    runs, broken = scan_runs(tmp_path)
    assert [run.record["seed"] for run in runs] == [0]
    assert [item.path for item in broken] == [bad.path]
    assert re.search(reason, broken[0].reason), broken[0].reason
    assert update_index(tmp_path).broken == tuple(broken)
    assert set(read_index(tmp_path)["seed"]) == {0}
    assert broken_runs(tmp_path) == {bad.path.name: broken[0].reason}


def test_a_pickle_in_the_distances_is_not_opened(tmp_path):
    run = write_run(tmp_path, *parts())
    np.savez(run.path / "distances.npz", layer1=np.array([{}], dtype=object), scale1=1.0)
    with pytest.raises(ValueError, match="pickle"):
        run.distances()
    broken = update_index(tmp_path).broken
    assert "pickle" in broken[0].reason


@pytest.mark.parametrize("name", [*store._FILES, "statistics.npz"])
def test_random_damage_anywhere_never_raises_anything_but_a_message_with_the_file(tmp_path, name):
    run = write_run(tmp_path, *parts(), statistics=histograms())
    whole = (run.path / name).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        (run.path / name).write_bytes(
            bytes(damaged[: rng.integers(len(whole) // 2, 2 * len(whole))])
        )
        reason = damage(run.path)
        assert reason is None or name in reason


def damage(folder):
    """What a full reading of a run complains of; a changed digit cannot be seen."""
    try:
        read_run(folder).check()
    except ValueError as error:
        return str(error)
    return None


def test_maps_that_do_not_belong_to_the_images_are_reported(tmp_path):
    record, metrics, images, curves, distances = parts()
    write_run(tmp_path, record, metrics, images.head(1), curves, distances)
    broken = update_index(tmp_path).broken
    assert "layer 1 has the shape (2, 4, 4)" in broken[0].reason


def test_a_folder_copied_under_another_name_is_reported(tmp_path):
    run = write_run(tmp_path, *parts())
    shutil.copytree(run.path, run.path.with_name("rd-copy"))
    runs, broken = scan_runs(tmp_path)
    assert [found.path for found in runs] == [run.path]
    assert "a run folder has its run's id as its name" in broken[0].reason


@pytest.mark.parametrize("text", ["[]", "null", '{"schema": "1"}', '{"schema": 1}'])
def test_a_record_of_another_shape_is_reported(tmp_path, text):
    run = write_run(tmp_path, *parts())
    (run.path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"run\.json cannot be read"):
        read_run(run.path)


def test_masks_are_kept_where_they_are_given(tmp_path):
    masks = np.zeros((2, 8, 8), bool)
    masks[1, 2:4] = True
    run = write_run(tmp_path, *parts(), masks=masks)
    np.testing.assert_array_equal(run.masks(), masks)
    assert sorted(run.distances()) == [1, 2]
    assert write_run(tmp_path, *parts(seed=1)).masks() is None


@pytest.mark.parametrize("name", ["../outside", "", ".hidden", "a b", "a/b"])
def test_an_id_that_is_no_folder_name_is_refused(tmp_path, name):
    record, *rest = parts()
    with pytest.raises(ValueError, match="is no run id"):
        write_run(tmp_path, record | {"run_id": name}, *rest)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_no_obstacle(tmp_path):
    record = parts()[0]
    left = tmp_path / f"runs/.{record['run_id']}.{os.getpid()}"
    left.mkdir(parents=True)
    (left / "run.json").write_text("{")
    write_run(tmp_path, *parts())
    assert not left.exists()


def test_distances_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="NaN or infinity"):
        encode(np.array([0.1, np.nan]))


def test_a_distance_rounded_below_zero_is_zero():
    codes, _ = encode(np.array([-1e-7, 0.0, 1e-3], np.float32))
    assert codes.tolist() == [0, 0, 65535]


def test_a_run_that_is_being_written_is_not_a_broken_run(tmp_path):
    (tmp_path / "runs/.rd-part.123").mkdir(parents=True)
    assert scan_runs(tmp_path) == ([], [])


def test_a_folder_without_files_names_the_first_missing_one(tmp_path):
    with pytest.raises(ValueError, match=r"run\.json is missing"):
        read_run(tmp_path)
