"""Weights in 8 bits, and the teacher with a neck, in either engine."""

import numpy as np
import pytest

from rd4ad import Detector
from rd4ad.config import TrainingConfig
from rd4ad.inference.stored_weights import STORES, pack, unpack
from rd4ad.training.category import train


@pytest.fixture(scope="module")
def by_store(tiny_data, tmp_path_factory):
    """The same training, its checkpoint stored in each way."""
    folder = tmp_path_factory.mktemp("stores")
    config = TrainingConfig(backbone="distilled", size_px=64, epochs=2, batch_size=4)
    for store in STORES:
        train(tiny_data, "part", config, out=folder / f"{store}.safetensors", store=store)
    return folder


def test_eight_bits_are_off_by_half_a_step_of_their_channel_at_most():
    value = np.random.default_rng(0).normal(size=(4, 3, 5, 5)).astype(np.float32)
    value[2] = 0
    back = unpack(pack({"w": value, "n": np.array(7)}, "int8"))
    steps = np.abs(value).reshape(4, -1).max(1) / 127
    assert (np.abs(back["w"] - value).reshape(4, -1).max(1) <= steps / 2 + 1e-7).all()
    assert back["n"] == 7
    assert back.keys() == {"w", "n"}


def test_an_unknown_way_is_refused_before_the_work(tiny_data, tmp_path):
    with pytest.raises(ValueError, match="float32, float16, int8; got 'int4'"):
        train(tiny_data, "part", out=tmp_path / "part.safetensors", store="int4")


def test_files_shrink_and_judge_as_they_were_calibrated(by_store, tiny_data):
    sizes = [(by_store / f"{store}.safetensors").stat().st_size for store in STORES]
    assert sizes[1] < 0.55 * sizes[0]
    assert sizes[2] < 0.3 * sizes[0]
    images = sorted((tiny_data / "part/test/spot").iterdir())
    for store in STORES:
        detector = Detector.load(by_store / f"{store}.safetensors")
        assert detector.calibration is not None
        scores = [prediction.score for prediction in detector.predict(images)]
        assert np.isfinite(scores).all()


@pytest.mark.parametrize("store", STORES)
def test_both_engines_give_the_same_maps_with_a_neck(store, by_store):
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    path = by_store / f"{store}.safetensors"
    torch_maps, onnx_maps = (
        Detector.load(path, engine=engine).distances(images) for engine in ("torch", "onnx")
    )
    for layer, maps in torch_maps.items():
        np.testing.assert_allclose(onnx_maps[layer], maps, atol=2e-5)
