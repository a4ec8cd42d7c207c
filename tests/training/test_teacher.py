"""How the bundled teacher is made, on pictures made up for the test."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from rd4ad.inference.torch_engine import normalize
from rd4ad.methods.backbones import BACKBONES, Teacher, fill_module, read_state_dict
from rd4ad.training import pictures, teacher
from rd4ad.training.crops import Crops, dead_leaves
from rd4ad.training.reduced_resnet import fill_from


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder a package: a photograph and a cut-out each, a copy, a tiny and a broken one."""
    folder = tmp_path_factory.mktemp("packages")
    for number, name in enumerate(pictures.SOURCES):
        place = folder / name
        place.mkdir()
        rng = np.random.default_rng(number)
        photograph = Image.fromarray(rng.integers(0, 256, (90, 120, 3), np.uint8))
        photograph.save(place / "a.png")
        (place / "copy.png").write_bytes((place / "a.png").read_bytes())
        cut_out = rng.integers(0, 256, (80, 80, 4), np.uint8)
        cut_out[:, :, 3] = 255 * (np.arange(80) > 20)
        Image.fromarray(cut_out).save(place / "b.png")
        photograph.resize((20, 20)).save(place / "tiny.png")
        (place / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def collected(packages, tmp_path_factory):
    out = tmp_path_factory.mktemp("pictures")
    pictures.collect(packages, out)
    return pictures.read(out)


@pytest.fixture(scope="module")
def crops(collected):
    small = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype(np.uint8)
    return Crops(collected, small, dead_leaves(2, size_px=128))


def test_each_picture_is_kept_once_with_its_package_and_hash(collected):
    assert len(collected.rows) == 2 * len(pictures.SOURCES)
    assert {row["package"] for row in collected.rows} == set(pictures.SOURCES)
    assert collected[0].mode == "RGB"
    assert collected[0].size == (120, 90)
    for transparent in (False, True):
        numbers, weights = collected.numbers(transparent=transparent)
        assert len(numbers) == len(pictures.SOURCES)
        assert weights.sum() == pytest.approx(1)


def test_pictures_inside_a_qt_resource_are_found(tmp_path):
    Image.new("RGB", (80, 80), "red").save(tmp_path / "a.webp", lossless=True)
    webp = (tmp_path / "a.webp").read_bytes()
    (tmp_path / "all.rcc").write_bytes(b"qres" + webp + b"between" + webp)
    assert pictures._pictures_in(tmp_path / "all.rcc") == [webp, webp]


def test_a_missing_package_is_named_with_the_way_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gnome-backgrounds.*apt-get download"):
        pictures.collect(tmp_path, tmp_path / "out")


def test_crops_depend_on_their_seed_alone(crops):
    first, again, other = (crops.batch([seed], 12, 64) for seed in (1, 1, 2))
    assert first.shape == (12, 64, 64, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_start_predicts_channels_of_the_wide_net(crops):
    wide = Teacher(replace(BACKBONES["distilled"], width=48, trunk_width=None))
    trunk = Teacher(BACKBONES["distilled"])
    images = normalize(crops.batch([3], 24, 64))
    fill_from(wide, trunk, images)
    for mine, theirs in zip(trunk.trunk_features(images), wide.trunk_features(images), strict=True):
        error = (mine - theirs).square().mean() / theirs.var()  # as wide, so all channels, in order
        assert float(error) < 0.05


def test_a_killed_distillation_resumes_and_writes_a_teacher_that_loads(
    crops, tmp_path, monkeypatch
):
    monkeypatch.setattr(teacher, "SAVE_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(teacher, "SIZES", ((4, 64, 1.0),))
    imagenet = Teacher(BACKBONES["resnet18"])

    class KilledError(Exception):
        pass

    def kill(*_):
        raise KilledError

    write = teacher._write
    monkeypatch.setattr(teacher, "_write", kill)
    with pytest.raises(KilledError):  # after the first step, whose state is saved before
        teacher.distill(crops, imagenet, tmp_path, steps=3, n_sample=24)
    state = torch.load(tmp_path / ".teacher.state", weights_only=True)
    assert state["step"] == 1
    monkeypatch.setattr(teacher, "_write", write)
    teacher.distill(crops, imagenet, tmp_path, steps=3, n_sample=24)
    path = tmp_path / "distilled.safetensors"
    fill_module(Teacher(BACKBONES["distilled"]), read_state_dict(path), "the test")
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["training"])["done"] == 3
