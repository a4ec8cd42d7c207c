import shutil

import numpy as np
import pytest

from rd4ad.data.parts import nominal_mask, render
from rd4ad.runs import dataset_images
from rd4ad.runs.run import Run
from rd4ad.runs.store import read_run


@pytest.fixture(scope="module")
def run(part_results):
    return read_run(next((part_results / "runs").iterdir()))


def renamed(run: Run, **record) -> Run:
    return Run(run.path, run.record | record, run.metrics)


def test_a_generated_part_is_drawn_again_with_the_mask_it_was_measured_with(run, tmp_path):
    images = run.images()
    position = int(np.flatnonzero(images["defect_type"] == "misplaced")[0])
    name = images["image"].iloc[position]
    picture = dataset_images.test_image(run, name, tmp_path)
    assert picture.shape == (64, 64, 3)
    drawn, mask = render("transistor", "misplaced", int(name.split("/")[-1].removesuffix(".png")))
    small = mask.reshape(64, 4, 64, 4).mean((1, 3))
    assert np.abs(small - run.masks()[position]).mean() < 0.02
    assert abs(picture.mean() - drawn.mean()) < 2


@pytest.mark.parametrize("name", ["test/none_such/000.png", "test/good/../000.png"])
def test_a_name_that_no_part_has_gives_no_picture(run, tmp_path, name):
    assert dataset_images.test_image(run, name, tmp_path) is None


def test_a_picture_on_disk_is_read_in_the_runs_resolution(run, tiny_data):
    on_disk = renamed(run, dataset="MVTec AD", category="part", size_px=32)
    assert dataset_images.test_image(on_disk, "test/spot/000.png", tiny_data).shape == (32, 32, 3)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "test/spot/999.png", "/etc/passwd"])
def test_nothing_outside_the_dataset_is_read(run, tiny_data, name):
    on_disk = renamed(run, dataset="MVTec AD", category="part")
    assert dataset_images.test_image(on_disk, name, tiny_data) is None


def test_a_link_out_of_the_dataset_is_not_followed(run, tiny_data, tmp_path):
    outside = tmp_path / "secret.png"
    outside.write_bytes((tiny_data / "part/test/spot/000.png").read_bytes())
    link = tiny_data / "part/test/spot/link.png"
    link.symlink_to(outside)
    try:
        on_disk = renamed(run, dataset="MVTec AD", category="part")
        assert dataset_images.test_image(on_disk, "test/spot/link.png", tiny_data) is None
    finally:
        link.unlink()


def test_masks_are_the_runs_own_or_those_on_disk(run, tiny_data, tmp_path):
    names = list(run.images()["image"])
    np.testing.assert_array_equal(dataset_images.masks_of(run, names, tmp_path), run.masks())
    other = Run(tmp_path, run.record | {"category": "part", "dataset": "MVTec AD"}, run.metrics)
    np.savez(tmp_path / "distances.npz", layer1=np.zeros((1, 1, 1)))
    found = dataset_images.masks_of(other, ["test/spot/001.png", "test/good/000.png"], tiny_data)
    assert found[0].any()
    assert not found[1].any()
    assert dataset_images.masks_of(other, ["test/spot/777.png"], tiny_data) is None
    assert dataset_images.masks_of(other, ["test/spot/001.png"], tmp_path) is None


def test_the_place_of_a_drawn_part_is_known_and_of_a_photographed_one_estimated(run):
    types = list(run.images()["defect_type"])
    known = dataset_images.nominal_place(run, run.masks(), types)
    np.testing.assert_array_equal(known, nominal_mask(64))
    photographed = renamed(run, dataset="MVTec AD")
    estimated = dataset_images.nominal_place(photographed, run.masks(), types)
    overlap = (estimated & known).sum() / (estimated | known).sum()
    assert overlap > 0.7  # of three masks
    assert dataset_images.nominal_place(run, run.masks(), ["good"] * len(types)) is None


def test_masks_of_another_dataset_with_the_same_names_are_not_taken(run, tiny_data, tmp_path):
    for name in ("images.parquet", "statistics.npz"):
        shutil.copy(run.path / name, tmp_path)
    np.savez(tmp_path / "distances.npz", layer1=np.zeros((1, 1, 1)))
    images = run.images()
    names = ["test/spot/001.png", "test/good/000.png"]
    images["image"] = [*names, *images["image"].iloc[2:]]
    images.to_parquet(tmp_path / "images.parquet")
    other = Run(tmp_path, run.record | {"category": "part", "dataset": "MVTec AD"}, run.metrics)
    assert dataset_images.masks_of(other, names, tiny_data) is None
