"""Reading a category's folders, and saying what is missing."""

import shutil
from pathlib import Path

import pytest

from rd4ad.data.folders import DatasetError, list_categories, open_category


def test_a_category_lists_its_images_by_name(data: Path) -> None:
    nut = open_category(data, "nut")
    assert (nut.name, nut.path) == ("nut", data / "nut")
    assert [sample.name for sample in nut.train] == [f"train/good/00{i}.png" for i in range(3)]
    assert [(sample.name, sample.defect_type, sample.label) for sample in nut.test] == [
        ("test/bent/000.png", "bent", 1),
        ("test/crack/000.png", "crack", 1),
        ("test/crack/001.png", "crack", 1),
        ("test/good/000.png", "good", 0),
        ("test/good/001.png", "good", 0),
    ]
    assert nut.has_masks


def test_every_defect_is_paired_with_the_mask_of_its_name(data: Path) -> None:
    for sample in open_category(data, "nut").test:
        expected = data / f"nut/ground_truth/{sample.defect_type}/{sample.path.stem}_mask.png"
        assert sample.mask_path == (expected if sample.label else None)
        assert sample.path == data / "nut" / sample.name


def test_a_mask_may_have_the_name_of_its_image_and_another_suffix(data: Path) -> None:
    mask = data / "nut/ground_truth/crack/001_mask.png"
    bare = mask.rename(mask.with_name("001.BMP"))
    assert open_category(data, "nut").test[2].mask_path == bare


def test_pairs_do_not_depend_on_position(data: Path, draw) -> None:
    draw(data / "nut/ground_truth/crack/0000_mask.png")  # sorts first, belongs to nothing
    masks = [sample.mask_path for sample in open_category(data, "nut").test[1:3]]
    assert [mask.name for mask in masks if mask] == ["000_mask.png", "001_mask.png"]


def test_hidden_files_and_other_suffixes_are_left_out(data: Path, draw) -> None:
    train = data / "nut/train/good"
    draw(train / ".000.png")
    (train / "Thumbs.db").write_bytes(b"")
    (train / "notes.txt").write_text("")
    (train / "folder.png").mkdir()
    (data / "nut/test/.cache").mkdir()
    nut = open_category(data, "nut")
    assert len(nut.train) == 3
    assert len(nut.test) == 5


def test_suffixes_of_any_case_are_images(data: Path, draw) -> None:
    draw(data / "nut/train/good/003.JPG")
    draw(data / "nut/train/good/004.Tiff")
    assert len(open_category(str(data), "nut").train) == 5


def test_categories_are_folders_with_splits_in_order(data: Path, draw) -> None:
    draw(data / "bolt/train/good/000.png")
    draw(data / "anchor/test/good/000.png")
    draw(data / "pictures/000.png")
    draw(data / ".trash/train/good/000.png")
    (data / "readme.txt").write_text("")
    assert list_categories(data) == ["anchor", "bolt", "nut"]


@pytest.mark.parametrize("how", ["no folder", "empty folder"])
def test_without_any_mask_a_category_is_judged_by_image(data: Path, how: str) -> None:
    shutil.rmtree(data / "nut/ground_truth")
    if how == "empty folder":
        (data / "nut/ground_truth/bent").mkdir(parents=True)
    nut = open_category(data, "nut")
    assert not nut.has_masks
    assert len(nut.test) == 5


def test_a_category_may_have_nothing_to_test_on(data: Path) -> None:
    shutil.rmtree(data / "nut/test")
    nut = open_category(data, "nut")
    assert nut.test == ()
    assert not nut.has_masks


def test_one_missing_mask_among_others_is_named(data: Path) -> None:
    (data / "nut/ground_truth/crack/001_mask.png").unlink()
    expected = r"crack/001\.png has no mask: expected ground_truth/crack/001_mask\.png"
    with pytest.raises(DatasetError, match=expected):
        open_category(data, "nut")


def test_a_defect_type_without_its_folder_of_masks_is_named(data: Path) -> None:
    shutil.rmtree(data / "nut/ground_truth/bent")
    with pytest.raises(DatasetError, match=r"bent/000\.png has no mask"):
        open_category(data, "nut")


def test_two_masks_for_one_image_are_refused(data: Path, draw_mask) -> None:
    draw_mask(data / "nut/ground_truth/bent/000.png")
    with pytest.raises(DatasetError, match=r"several masks, 000\.png and 000_mask\.png"):
        open_category(data, "nut")


def test_two_images_of_one_stem_are_refused(data: Path, draw) -> None:
    draw(data / "nut/test/bent/000.jpg")
    with pytest.raises(DatasetError, match=r"bent/000\.jpg another image .* named 000"):
        open_category(data, "nut")


def test_images_of_one_stem_in_two_folders_are_no_matter(data: Path, draw) -> None:
    draw(data / "nut/test/good/002.jpg")
    assert len(open_category(data, "nut").test) == 6


def test_an_unknown_category_lists_those_found_and_the_nearest(data: Path, draw) -> None:
    draw(data / "bolt/train/good/000.png")
    with pytest.raises(
        DatasetError, match=r"no category 'nuts' in .*bolt, nut; did you mean nut\?"
    ):
        open_category(data, "nuts")
    with pytest.raises(DatasetError, match=r"no category 'zzz' in .*: bolt, nut$"):
        open_category(data, "zzz")


@pytest.mark.parametrize("name", ["", ".", "..", "../data/nut", "nut/train"])
def test_a_category_is_a_name_and_not_a_path(data: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="no category"):
        open_category(data, name)


def test_a_data_folder_that_is_the_category_says_what_to_give(data: Path) -> None:
    with pytest.raises(DatasetError, match=f"itself a category: give its parent {data} .* nut "):
        open_category(data / "nut", "nut")


@pytest.mark.parametrize("exists", [True, False])
def test_a_data_folder_that_is_none_says_what_was_found(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "data.zip"
    if exists:
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match=f"found {'a file' if exists else 'nothing'}"):
        open_category(path, "nut")


def test_an_empty_data_folder_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no category: expected .*nut/train/good"):
        open_category(tmp_path, "nut")


@pytest.mark.parametrize("has_folder", [True, False])
def test_no_normal_images_to_train_on_is_an_error(data: Path, has_folder: bool) -> None:
    shutil.rmtree(data / "nut/train/good")
    if has_folder:
        (data / "nut/train/good").mkdir()
    with pytest.raises(DatasetError, match="nut/train/good holds no image: expected normal"):
        open_category(data, "nut")


def test_a_linked_category_keeps_the_name_of_its_link(data: Path) -> None:
    (data / "washer").symlink_to(data / "nut")
    assert open_category(data, "washer").name == "washer"


@pytest.mark.shared
def test_the_real_categories_open_with_their_published_counts(shared_dir: Path) -> None:
    counts = {}
    for name in list_categories(shared_dir / "data/mvtec"):
        opened = open_category(shared_dir / "data/mvtec", name)
        n_defects = sum(sample.label for sample in opened.test)
        counts[name] = (len(opened.train), len(opened.test) - n_defects, n_defects)
        assert opened.has_masks
    assert counts == {"bottle": (209, 20, 63), "pill": (267, 26, 141), "transistor": (213, 60, 40)}
