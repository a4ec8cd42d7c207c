"""What the check of a dataset reports, one fault at a time and all at once."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rd4ad.data.checks import Problem, check_dataset, render_problems
from rd4ad.data.folders import DatasetError


def reported(data: Path) -> list[tuple[str, str, str]]:
    """Return kind, file and severity of what is not only information."""
    found = check_dataset(data)
    return [(p.kind, p.file, p.severity) for p in found if p.severity != "info"]


def test_a_sound_dataset_has_its_counts_and_no_problem(data: Path) -> None:
    (counts,) = check_dataset(data)
    assert (counts.category, counts.kind, counts.severity) == ("nut", "counts", "info")
    assert counts.message.startswith("3 normal images to train on; 2 normal and 3 with defects")


def test_a_single_category_can_be_checked(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_dataset(data / "nut") == check_dataset(data)
    monkeypatch.chdir(data / "nut")
    assert check_dataset(Path()) == check_dataset(data)


def test_a_folder_without_categories_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no category"):
        check_dataset(tmp_path)
    with pytest.raises(DatasetError, match="found nothing"):
        check_dataset(tmp_path / "absent")


def test_a_missing_mask_is_reported(data: Path) -> None:
    (data / "nut/ground_truth/crack/001_mask.png").unlink()
    assert reported(data) == [("missing_mask", "test/crack/001.png", "error")]


def test_a_mask_of_another_size_is_reported(data: Path, draw_mask) -> None:
    draw_mask(data / "nut/ground_truth/crack/001_mask.png", size=(6, 8))
    assert reported(data) == [("mask_size", "ground_truth/crack/001_mask.png", "error")]


@pytest.mark.parametrize(
    "file", ["train/good/000.png", "test/bent/000.png", "ground_truth/bent/000_mask.png"]
)
def test_an_unreadable_file_is_reported_once(data: Path, file: str) -> None:
    path = data / "nut" / file
    path.write_bytes(path.read_bytes()[:50])
    (problem,) = [p for p in check_dataset(data) if p.severity == "error"]
    assert (problem.kind, problem.file) == ("unreadable", file)
    assert problem.message.startswith("cannot be decoded")


def test_a_link_to_nowhere_is_reported(data: Path) -> None:
    (data / "nut/train/good/003.png").symlink_to(data / "gone.png")
    assert reported(data) == [("unreadable", "train/good/003.png", "error")]


@pytest.mark.parametrize(
    ("level", "kind", "severity"),
    [
        (0, "empty_mask", "error"),
        (1, "mask_levels", "error"),
        (127, "mask_levels", "error"),
        (128, "not_binary", "warning"),
        (254, "not_binary", "warning"),
    ],
)
def test_the_levels_of_a_mask_are_checked(
    data: Path, draw_mask, level: int, kind: str, severity: str
) -> None:
    draw_mask(data / "nut/ground_truth/bent/000_mask.png", level=level)
    assert reported(data) == [(kind, "ground_truth/bent/000_mask.png", severity)]


def test_a_mask_without_an_image_is_reported(data: Path, draw_mask) -> None:
    draw_mask(data / "nut/ground_truth/bent/007_mask.png")
    found = ("mask_without_image", "ground_truth/bent/007_mask.png", "warning")
    assert reported(data) == [found]


def test_a_picture_to_train_and_to_test_on_is_reported_though_encoded_again(data: Path) -> None:
    Image.open(data / "nut/train/good/001.png").save(data / "nut/test/good/007.bmp")
    (problem,) = [p for p in check_dataset(data) if p.severity == "error"]
    assert (problem.kind, problem.file) == ("train_and_test", "test/good/007.bmp")
    assert "train/good/001.png" in problem.message


def test_pictures_of_one_color_and_other_shape_are_not_the_same(data: Path) -> None:
    for name, shape in (("train/good/009.png", (4, 6)), ("test/good/009.png", (6, 4))):
        Image.fromarray(np.zeros(shape, dtype=np.uint8)).save(data / "nut" / name)
    assert reported(data) == []


def test_no_normal_images_to_train_on_is_reported(data: Path) -> None:
    shutil.rmtree(data / "nut/train")
    assert reported(data) == [("no_train_good", "train/good", "error")]


@pytest.mark.parametrize(
    ("removed", "kind"),
    [
        (["test", "ground_truth"], "empty_test"),
        (["test/good"], "no_normal_test"),
        (["test/bent", "test/crack", "ground_truth"], "no_defect_test"),
    ],
)
def test_a_test_set_that_cannot_be_evaluated_is_reported(
    data: Path, removed: list[str], kind: str
) -> None:
    for folder in removed:
        shutil.rmtree(data / "nut" / folder)
    assert reported(data) == [(kind, "test", "warning")]


def test_a_misnamed_folder_of_normal_images_is_shown(data: Path) -> None:
    (data / "nut/test/good").rename(data / "nut/test/Good")
    shutil.rmtree(data / "nut/ground_truth")
    (problem,) = [p for p in check_dataset(data) if p.severity == "warning"]
    assert problem.message.endswith("found these folders in test: Good, bent, crack")


def test_without_masks_the_level_of_evaluation_is_told(data: Path) -> None:
    shutil.rmtree(data / "nut/ground_truth")
    kinds = {problem.kind: problem.severity for problem in check_dataset(data)}
    assert kinds == {"counts": "info", "no_masks": "info"}


def test_images_that_lie_where_none_are_read_are_reported(data: Path, draw) -> None:
    strays = ["test/crack/more/5.png", "test/stray.png", "train/bad/5.png", "train/stray.png"]
    for name in strays:
        draw(data / "nut" / name, seed=77)
    assert sorted(reported(data)) == [("not_used", name, "warning") for name in strays]


def test_a_category_of_a_published_name_is_compared_with_it(data: Path) -> None:
    (data / "nut").rename(data / "bottle")
    (problem,) = [p for p in check_dataset(data) if p.severity == "warning"]
    assert problem.kind == "official_counts"
    assert "train/good: 3 instead of 209" in problem.message
    assert "defect types: 2 instead of 3" in problem.message
    size = next(p for p in check_dataset(data) if p.kind == "official_size")
    assert size.message == "images of 8 x 6 pixels; MVTec AD's are 900 x 900"


def test_every_problem_is_named_at_once_worst_first(data: Path, draw, draw_mask) -> None:
    nut = data / "nut"
    (nut / "train/good/000.png").write_bytes(b"")
    (nut / "ground_truth/crack/000_mask.png").unlink()
    draw_mask(nut / "ground_truth/bent/000_mask.png", level=200, size=(9, 9))
    draw_mask(nut / "ground_truth/bent/008_mask.png")
    draw(data / "bolt/test/good/000.png")
    assert [(p.category, p.kind) for p in check_dataset(data)] == [
        ("bolt", "no_train_good"),
        ("bolt", "no_defect_test"),
        ("bolt", "counts"),
        ("nut", "missing_mask"),
        ("nut", "unreadable"),
        ("nut", "mask_size"),
        ("nut", "mask_without_image"),
        ("nut", "not_binary"),
        ("nut", "counts"),
    ]


def test_progress_counts_images_and_masks(data: Path) -> None:
    told: list[tuple[int, int]] = []
    check_dataset(data, workers=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(i, 11) for i in range(1, 12)]


def test_the_text_groups_by_category_and_counts_what_matters() -> None:
    problems = [
        Problem("nut", "missing_mask", "test/bent/000.png", "has no mask", "error"),
        Problem("nut", "counts", "", "3 normal images", "info"),
        Problem("bolt", "not_used", "train/a.png", "is not used", "warning"),
    ]
    assert render_problems(problems).splitlines() == [
        "nut",
        "  error    test/bent/000.png has no mask",
        "  info     3 normal images",
        "bolt",
        "  warning  train/a.png is not used",
        "errors: 1, warnings: 1",
    ]


def test_a_problem_can_be_written_as_json(data: Path) -> None:
    (record,) = [problem.to_dict() for problem in check_dataset(data)]
    assert json.loads(json.dumps(record)) == {
        "category": "nut",
        "kind": "counts",
        "file": "",
        "message": "3 normal images to train on; 2 normal and 3 with defects to test on; 3 masks",
        "severity": "info",
    }


def test_reading_data_needs_no_torch() -> None:
    code = "import sys, rd4ad.data; sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.shared
def test_the_real_categories_have_no_problem(shared_dir: Path) -> None:
    found = check_dataset(shared_dir / "data/mvtec")
    assert {(p.category, p.kind) for p in found} == {
        (name, kind)
        for name in ("bottle", "pill", "transistor")
        for kind in ("counts", "official_counts", "official_size")
    }
    assert {p.severity for p in found} == {"info"}
