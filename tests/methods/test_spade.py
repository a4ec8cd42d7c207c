from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rd4ad import Detector
from rd4ad.config import TrainingConfig
from rd4ad.data.folders import DatasetError
from rd4ad.data.images import read_image
from rd4ad.inference.checkpoint import read_checkpoint
from rd4ad.inference.torch_engine import normalize
from rd4ad.methods import spade
from rd4ad.methods.spade import Spade, nearest_distances
from rd4ad.scoring import IMAGE
from rd4ad.training.category import train

CONFIG = TrainingConfig(method="spade", backbone="compact", size_px=64, holdout=0.0)


@pytest.fixture(scope="module")
def checkpoint(tiny_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("spade") / "part.safetensors"
    train(tiny_data, "part", CONFIG, out=out)
    return out


def images_of(data, folder):
    return np.stack([read_image(path) for path in sorted((data / "part" / folder).iterdir())])


def test_the_search_finds_the_smallest_distance_of_all_in_the_chosen_images(monkeypatch):
    monkeypatch.setattr(spade, "COMPARED_AT_ONCE", 3)  # not a divisor of 10
    generator = np.random.default_rng(0)
    kept = generator.normal(2, 1, (5, 6, 4)).astype(np.float32)
    queries = generator.normal(2, 1, (10, 4)).astype(np.float32)
    found = nearest_distances(torch.from_numpy(queries), torch.from_numpy(kept), [4, 1])
    for query, distance in zip(queries, found, strict=True):
        expected = min(np.linalg.norm(query - kept[i, p]) for i in (1, 4) for p in range(6))
        assert distance.item() == pytest.approx(expected, rel=1e-4)


def test_maps_and_score_are_those_of_the_definition(monkeypatch, tiny_data, tmp_path):
    monkeypatch.setattr(spade, "N_NEIGHBORS", 3)
    method = train(tiny_data, "part", CONFIG, out=tmp_path / "part.safetensors").engine.module
    assert method.settings["n_neighbours"] == 3
    normal = normalize(images_of(tiny_data, "train/good"))
    defects = normalize(images_of(tiny_data, "test/spot"))
    with torch.no_grad():
        maps = method.distance_maps(defects)
        known = [stack.double() for stack in method.teacher(normal)]
        features = [stack.double() for stack in method.teacher(defects)]
    for image in range(len(defects)):
        apart = [
            torch.dist(features[2][image].mean((1, 2)), known[2][z].mean((1, 2))).item()
            for z in range(len(normal))
        ]
        nearest = np.argsort(apart)[:3]
        expected = np.sort(apart)[:3].mean()
        assert maps[IMAGE][image, 0, 0].item() == pytest.approx(expected, rel=1e-4)
        for layer in (2, 3):  # a few positions of each
            gallery = known[layer - 1][nearest.tolist()].permute(1, 0, 2, 3).flatten(1)
            for row, column in ((0, 0), (1, 3), (3, 2)):
                query = features[layer - 1][image, :, row, column]
                smallest = (gallery - query[:, None]).norm(dim=0).min().item()
                assert maps[layer][image, row, column].item() == pytest.approx(smallest, abs=5e-3)


def test_with_few_images_all_are_neighbors_and_the_checkpoint_says_so(checkpoint):
    header, _ = read_checkpoint(checkpoint)
    assert header["settings"] == {
        "size_px": 64, "n_images": 14, "n_neighbours": 14, "pooled_layer": 3,
    }  # fmt: skip
    assert Spade.settings_for(CONFIG, 213)["n_neighbours"] == 50


def test_the_gallery_is_kept_in_16_bits_in_the_file_and_in_memory(checkpoint):
    tensors = load_file(checkpoint)
    gallery = Detector.load(checkpoint).engine.module.gallery
    for layer, side, channels in ((1, 16, 20), (2, 8, 40), (3, 4, 80)):
        assert tensors[f"gallery.layer{layer}"].dtype == torch.half
        assert gallery.get_buffer(f"layer{layer}").dtype == torch.half
        assert gallery.get_buffer(f"layer{layer}").shape == (14, side * side, channels)


def test_an_image_of_the_gallery_lies_in_it(checkpoint, tiny_data):
    maps = Detector.load(checkpoint).distances(images_of(tiny_data, "train/good")[:2])
    for layer in (1, 2, 3):
        assert maps[layer].max() < 0.05


def test_the_images_alone_determine_the_gallery(checkpoint, tiny_data, tmp_path):
    out = tmp_path / "other.safetensors"
    train(tiny_data, "part", replace(CONFIG, seed=1), out=out)
    first, other = load_file(checkpoint), load_file(out)
    assert all(torch.equal(first[key], other[key]) for key in first)


def test_chosen_layers_alone_are_kept_and_the_deepest_still_looks_images_up(tiny_data, tmp_path):
    out = tmp_path / "part.safetensors"
    train(tiny_data, "part", replace(CONFIG, layers=(2,)), out=out)
    assert load_file(out).keys() == {"gallery.pooled", "gallery.layer2"}
    assert load_file(out)["gallery.pooled"].shape == (14, 80)
    maps = Detector.load(out).distances(images_of(tiny_data, "test/spot"))
    assert maps.keys() == {2, IMAGE}


def test_without_enough_normal_images_it_says_how_many_are_needed(tiny_data, tmp_path):
    with pytest.raises(ValueError, match=r"n_neighbours must lie in \[1, 4\]"):
        Spade("compact", (3,), size_px=64, n_images=4, n_neighbours=5, pooled_layer=3)
    alone = tmp_path / "part/train/good/000.png"
    alone.parent.mkdir(parents=True)
    alone.write_bytes((tiny_data / "part/train/good/000.png").read_bytes())
    with pytest.raises(DatasetError, match="at least 2 normal images, found 1"):
        train(tmp_path, "part", CONFIG, out=tmp_path / "part.safetensors")
