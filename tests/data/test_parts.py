import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation, label

from rd4ad.data.checks import check_dataset
from rd4ad.data.folders import open_category
from rd4ad.data.parts import PARTS, nominal_mask, render, render_scene, write_parts
from rd4ad.data.parts.sheet import contact_sheet

KINDS = [(category, kind) for category, kinds in PARTS.items() for kind in kinds]


def test_there_are_six_parts_with_several_defects_each():
    assert len(PARTS) >= 6
    assert all(len(kinds) >= 3 for kinds in PARTS.values())


@pytest.mark.parametrize("category", PARTS)
def test_an_image_is_determined_by_its_name_and_seed(category):
    kind = PARTS[category][0]
    first, mask = render(category, kind, 3)
    again, mask_again = render(category, kind, 3)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(mask, mask_again)
    others = [
        render(category, kind, 4)[0],
        render(category, kind, 3, seed=1)[0],
        render(category, kind, 3, split="train")[0],
    ]
    assert all((other != first).any() for other in others)


@pytest.mark.parametrize("category", PARTS)
def test_a_good_part_has_an_empty_mask(category):
    image, mask = render(category, "good", 0)
    assert image.shape == (256, 256, 3)
    assert not mask.any()


@pytest.mark.parametrize(("category", "kind"), KINDS)
def test_a_defect_changes_the_picture_inside_its_mask_and_nowhere_else(category, kind):
    for index in range(3):
        flawed, mask = render(category, kind, index)
        sound, _ = render_scene(category, "good", (index, kind))
        changed = np.abs(flawed.astype(int) - sound.astype(int)).max(axis=2)
        near = binary_dilation(mask, iterations=3)
        assert mask.any()
        assert changed[mask].max() > 12
        assert changed[~near].max() <= 8, (index, changed[~near].max())


def test_the_mask_of_a_misplaced_part_covers_where_it_is_and_where_it_should_be():
    should = nominal_mask()
    n_elsewhere = 0
    for index in range(8):
        _, mask = render("transistor", "misplaced", index)
        assert mask[should].mean() > 0.9
        n_elsewhere += (mask & ~binary_dilation(should, iterations=12)).sum() > 300
    assert n_elsewhere >= 4  # in some pictures the part is not there at all


def test_the_place_where_the_part_should_be_is_one_region_of_the_size_asked_for():
    assert label(nominal_mask(128))[1] == 1
    assert nominal_mask(128).shape == (128, 128)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("spoon", "good"), "no category 'spoon'; there are bottle, cloth"),
        (("tile", "rust"), "tile has no 'rust'; there are good, crack"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(arguments, message):
    with pytest.raises(ValueError, match=message):
        render(*arguments, 0)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="split must be train or test"):
        render("tile", "good", 0, split="validation")


def test_what_is_written_is_a_dataset_without_problems(tmp_path):
    seen = []
    write_parts(
        tmp_path,
        categories=("tile", "wood"),
        n_train=3,
        n_good=2,
        n_per_defect=1,
        progress=lambda stage, done, total: seen.append((done, total)),
    )
    assert seen[-1] == (18, 18)
    assert not [p for p in check_dataset(tmp_path) if p.severity == "error"]
    category = open_category(tmp_path, "tile")
    assert (len(category.train), len(category.test), category.has_masks) == (3, 6, True)
    with Image.open(tmp_path / "tile/test/crack/000.png") as picture:
        image = np.asarray(picture)
    np.testing.assert_array_equal(image, render("tile", "crack", 0)[0])


def test_a_category_that_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "wood").mkdir()
    with pytest.raises(FileExistsError, match="wood is there already"):
        write_parts(tmp_path, categories=("tile", "wood"), n_train=1, n_good=1, n_per_defect=1)
    assert [p.name for p in tmp_path.iterdir()] == ["wood"]


def test_a_category_that_fails_midway_leaves_nothing(tmp_path):
    def fail(stage, done, total):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_parts(
            tmp_path, categories=("tile",), n_train=2, n_good=1, n_per_defect=1, progress=fail
        )
    assert list(tmp_path.iterdir()) == []


def test_the_contact_sheet_shows_every_kind():
    sheet = contact_sheet()
    assert sheet.width > 1000
    assert np.asarray(sheet).std() > 20
