"""Maps of other programs: what they may come as, what is refused, and what is stored."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from rd4ad.cli.parser import main
from rd4ad.data.folders import DatasetError, open_category
from rd4ad.evaluation.external import checked_meta, checked_name, score_maps, store_maps
from rd4ad.runs.verification import verify


@pytest.fixture(scope="module")
def samples(tiny_data):
    return open_category(tiny_data, "part").test


@pytest.fixture(scope="module")
def stack(samples):
    """A map (64, 64) for each of the test images, bright where the defect is, with noise."""
    rng = np.random.default_rng(1)
    maps = []
    for sample in samples:
        one = rng.random((64, 64)) * 50
        if sample.mask_path is not None:
            one += 60 * (np.asarray(Image.open(sample.mask_path)) > 0)
        maps.append(np.round(one) - 20)
    return np.array(maps, np.float32)


def written(folder, samples, stack, suffix, below=""):
    for sample, one in zip(samples, stack, strict=True):
        path = folder / below / sample.name.removeprefix("test/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".npy":
            np.save(path.with_suffix(suffix), one)
        elif suffix == ".png":
            Image.fromarray((one + 20).astype(np.uint8)).save(path)
        else:
            tifffile.imwrite(path.with_suffix(suffix), one)
    return folder


def values(rows):
    return {row["metric"]: row["value"] for row in rows}


@pytest.mark.parametrize(
    ("suffix", "below"),
    [(".npy", ""), (".tiff", "test"), (".tif", "part/test"), (".png", "images")],
)
def test_every_form_gives_the_same_metrics(tiny_data, samples, stack, tmp_path, suffix, below):
    one = score_maps(written(tmp_path / "a", samples, stack, ".npy"), tiny_data, "part")
    other = score_maps(written(tmp_path / "b", samples, stack, suffix, below), tiny_data, "part")
    assert values(other) == pytest.approx(values(one), abs=1e-9, nan_ok=True)


def test_an_array_of_maps_is_matched_by_name(tiny_data, samples, stack, tmp_path):
    expected = values(
        score_maps(written(tmp_path / "a", samples, stack, ".npy"), tiny_data, "part")
    )
    order = np.random.default_rng(0).permutation(len(samples))
    names = np.array([samples[i].name for i in order])
    np.savez(tmp_path / "named.npz", maps=stack[order], names=names)
    np.savez(tmp_path / "plain.npz", maps=stack)
    for name in ("named.npz", "plain.npz"):
        found = values(score_maps(tmp_path / name, tiny_data, "part"))
        assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"masks": np.zeros((8, 4, 4))}, "lacks the array 'maps'"),
        ({"maps": np.zeros((3, 4, 4))}, "expected maps"),
        ({"maps": np.full((8, 4, 4), np.nan)}, "NaN or infinity"),
        ({"maps": np.zeros((8, 4, 4)), "names": np.array(["x"] * 8)}, "its names lack"),
        ({"maps": np.array([object()] * 8)}, "not a readable"),
    ],
)
def test_arrays_that_are_no_maps_are_refused(tiny_data, tmp_path, arrays, said):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(DatasetError, match=said):
        score_maps(tmp_path / "bad.npz", tiny_data, "part")


def test_a_missing_map_is_named(tiny_data, samples, stack, tmp_path):
    folder = written(tmp_path, samples, stack, ".npy")
    next(folder.rglob("*.npy")).unlink()
    with pytest.raises(DatasetError, match=r"no map of test/.*expected"):
        store_maps(folder, tiny_data, "part", "Mine", results=tmp_path / "results")
    assert not (tmp_path / "results/runs").exists()


@pytest.mark.parametrize(
    "name", ["PaDiM", "reverse_distillation", "RD4AD", "../a", "", "<b>", "x" * 41]
)
def test_a_name_of_this_project_or_no_name_is_refused(name):
    with pytest.raises(ValueError, match="method"):
        checked_name(name)


@pytest.mark.parametrize(
    "meta", [{"commit": "abc"}, {"seed": "1"}, {"seed": True}, {"note": "x" * 201}, {"note": ""}]
)
def test_metadata_says_what_it_may_and_no_more(meta):
    with pytest.raises(ValueError, match="metadata"):
        checked_meta(meta)


@pytest.fixture
def stored(tiny_data, samples, stack, tmp_path):
    folder = written(tmp_path / "maps", samples, stack, ".npy")
    return store_maps(
        folder, tiny_data, "part", "My method", results=tmp_path / "results",
        meta={"backbone": "vit_b", "seed": 3}, side=64,
    )  # fmt: skip


def test_a_stored_run_is_near_the_maps_as_they_came_and_can_be_verified(stored, tiny_data):
    own = stored.run.metrics[stored.run.metrics["is_default"]].set_index("metric")["value"]
    for metric in ("image_auroc", "pixel_auroc", "aupro"):
        assert own[metric] == pytest.approx(stored.full_size[metric], abs=0.02)
    assert stored.run.masks() is None
    told = verify(stored.run, tiny_data)
    assert told.is_sound
    assert told.not_checked == ""
    assert stored.run.metrics["ci_low"].notna().any()


def test_the_command_stores_and_says_how_near_it_is(tiny_data, samples, stack, tmp_path, capsys):
    folder = written(tmp_path / "maps", samples, stack, ".tiff")
    (tmp_path / "meta.yaml").write_text("backbone: vit_b\n")
    command = ["score", "--maps", str(folder), "--data", str(tiny_data), "--category", "part",
               "--store", "--results", str(tmp_path / "results")]  # fmt: skip
    assert main(command) == 2
    assert "--method" in capsys.readouterr().err
    assert main([*command, "--method", "Mine", "--meta", str(tmp_path / "meta.yaml")]) == 0
    out = capsys.readouterr().out
    assert "maps as they came" in out
    (tmp_path / "meta.yaml").write_text("commit: abc\n")
    assert main([*command, "--method", "Mine", "--meta", str(tmp_path / "meta.yaml")]) == 1
    assert "metadata may hold" in capsys.readouterr().err
