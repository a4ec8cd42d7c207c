"""What every method of the catalogue keeps to; a new one is tested by its line there."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rd4ad import Detector, evaluate
from rd4ad.catalogue import METHODS
from rd4ad.config import TrainingConfig
from rd4ad.data.folders import DatasetError
from rd4ad.data.images import read_image
from rd4ad.scoring import IMAGE
from rd4ad.training.category import train

WEAK_AFTER_THREE_EPOCHS = ("riad", "metaformer")  # their maps take longer to mean anything


@dataclass
class Trained:
    """A method trained for a moment, and every stage of it that told how far it was."""

    name: str
    config: TrainingConfig
    path: Path
    detector: Detector
    stages: dict[str, list[int]] = field(default_factory=dict)


def config_of(name: str) -> TrainingConfig:
    entry = METHODS[name]
    backbone = "compact" if "compact" in entry.backbones else entry.backbones[0]
    short: dict[str, Any] = {"epochs": 3, "batch_size": 4} if entry.epochs else {}
    return TrainingConfig(method=name, backbone=backbone, size_px=64, holdout=0.0, **short)


@pytest.fixture(scope="module", params=sorted(METHODS))
def trained(request, tiny_data, tmp_path_factory):
    config = config_of(request.param)
    path = tmp_path_factory.mktemp(request.param) / "part.safetensors"
    stages: dict[str, list[int]] = {}

    def note(progress):
        stages.setdefault(progress.stage, []).append(progress.done)

    detector = train(tiny_data, "part", config, out=path, on_progress=note)
    return Trained(request.param, config, path, detector, stages)


def images_of(data, folder):
    return np.stack([read_image(path) for path in sorted((data / "part" / folder).iterdir())])


def assert_same_tensors(one: Path, other: Path):
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_maps_are_finite_and_never_negative_one_for_each_layer(trained, tiny_data):
    entry = METHODS[trained.name]
    maps = trained.detector.distances(images_of(tiny_data, "test/spot"))
    layers = set(entry.map_layers(trained.detector.engine.layers))
    assert maps.keys() == layers | ({IMAGE} if entry.score == "image" else set())
    for stack in maps.values():
        assert stack.dtype == np.float32
        assert stack.ndim == 3
        assert np.isfinite(stack).all()
        assert (stack >= 0).all()


def test_a_map_is_a_function_of_its_image_alone(trained, tiny_data):
    images = images_of(tiny_data, "test/spot")
    together, alone = (trained.detector.distances(part) for part in (images, images[1:2]))
    for layer, stack in together.items():
        np.testing.assert_allclose(alone[layer][0], stack[1], rtol=1e-3, atol=1e-5)


def test_a_loaded_checkpoint_gives_the_same_maps(trained, tiny_data):
    images = images_of(tiny_data, "test/spot")
    before, after = (
        trained.detector.distances(images),
        Detector.load(trained.path).distances(images),
    )
    assert before.keys() == after.keys()
    for layer, stack in before.items():
        np.testing.assert_allclose(after[layer], stack, rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_tensors_whatever_was_drawn_before(
    trained, tiny_data, tmp_path
):
    torch.rand(7)
    out = tmp_path / "part.safetensors"
    train(tiny_data, "part", trained.config, out=out)
    assert_same_tensors(trained.path, out)


class KilledError(Exception):
    """Stands for the end of the process."""


def test_a_training_killed_in_the_middle_of_any_stage_ends_with_the_same_tensors(
    trained, tiny_data, tmp_path, monkeypatch
):
    monkeypatch.setattr("rd4ad.training.session.SAVE_EVERY_SECONDS", 0.0)
    for number, (stage, events) in enumerate(trained.stages.items()):
        out = tmp_path / f"{number}" / "part.safetensors"
        out.parent.mkdir()
        middle = events[len(events) // 2]

        def kill(progress, stage=stage, middle=middle):
            if progress.stage == stage and progress.done >= middle:
                raise KilledError

        with pytest.raises(KilledError):
            train(tiny_data, "part", trained.config, out=out, on_progress=kill)
        train(tiny_data, "part", trained.config, out=out)
        assert_same_tensors(trained.path, out)
        assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_run_has_all_metrics_and_finds_a_bright_spot(trained, tiny_data, tmp_path):
    run = evaluate(trained.detector, tiny_data, "part", results=tmp_path)
    values = run.metrics[run.metrics.is_default].set_index("metric").value
    for name in ("image_auroc", "pixel_auroc", "aupro"):
        assert np.isfinite(values[name])
    if trained.name not in WEAK_AFTER_THREE_EPOCHS:
        assert values["image_auroc"] > 0.9


def test_one_normal_image_is_too_few(trained, tiny_data, tmp_path):
    alone = tmp_path / "part/train/good/000.png"
    alone.parent.mkdir(parents=True)
    alone.write_bytes((tiny_data / "part/train/good/000.png").read_bytes())
    with pytest.raises(DatasetError, match="at least 2 normal images, found 1"):
        train(tmp_path, "part", replace(trained.config), out=tmp_path / "part.safetensors")
