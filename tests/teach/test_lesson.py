"""The whole way from photos to a detector, on generated parts."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from rd4ad import Detector
from rd4ad.cli.parser import main
from rd4ad.data.folders import DatasetError
from rd4ad.data.parts import render
from rd4ad.teach.lesson import first_lesson
from rd4ad.teach.memory import Recipe
from rd4ad.teach.photos import photo_of


@pytest.fixture(scope="module")
def photos():
    return [photo_of(f"{i:03d}.png", render("nut", "good", i, split="train")[0]) for i in range(12)]


@pytest.fixture(scope="module")
def lesson(photos):
    return first_lesson(photos, recipe=Recipe(n_rows=1500))


def test_the_detector_finds_defects_that_it_never_saw(lesson, tmp_path):
    detector = lesson.save(tmp_path / "nut.safetensors")
    good = [render("nut", "good", i)[0] for i in range(8)]
    bad = [render("nut", "chipped", i)[0] for i in range(4)]
    low, high = (
        [p.score for p in detector.predict([Image.fromarray(image) for image in images])]
        for images in (good, bad)
    )
    assert max(low) < min(high)
    assert detector.calibration.threshold == lesson.threshold.value


def test_the_saved_detector_scores_as_the_lesson_does(lesson, photos, tmp_path):
    detector = lesson.save(tmp_path / "nut.safetensors")
    image = render("nut", "rust", 0)[0]
    own = lesson.recipe.maps(lesson.recipe.patches(image[None]), lesson.memory)
    found = Detector.load(tmp_path / "nut.safetensors").predict(Image.fromarray(image))[0]
    np.testing.assert_allclose(found.anomaly_map, own[0], atol=2e-3)
    assert detector.engine.name == "onnx"


def test_torch_and_onnx_agree_on_it(lesson, tmp_path):
    lesson.save(tmp_path / "nut.safetensors")
    image = Image.fromarray(render("nut", "rust", 1)[0])
    by_onnx, by_torch = (
        Detector.load(tmp_path / "nut.safetensors", engine=engine).predict(image)[0]
        for engine in ("onnx", "torch")
    )
    assert by_onnx.score == pytest.approx(by_torch.score, abs=2e-3)
    assert by_onnx.is_anomalous == by_torch.is_anomalous


def test_a_photo_that_is_not_like_the_others_comes_first(photos):
    odd = photo_of("odd.png", render("nut", "chipped", 0)[0])
    lesson = first_lesson([*photos, odd], recipe=Recipe(n_rows=1500))
    assert lesson.photos[lesson.least_alike()[0]].name == "odd.png"


def test_the_most_similar_photo_of_a_photo_is_itself(lesson):
    assert lesson.most_similar(lesson.photos[7].image) == 7


def test_large_painted_defects_are_found_more_often_than_small_ones(lesson):
    by_size = lesson.appraisal.table.groupby("size_px")["is_found"].mean()
    assert by_size[64] > 0.8
    assert by_size[64] >= by_size[2]
    assert 0.5 < lesson.appraisal.image_auroc <= 1


def test_too_few_photos_are_refused(photos):
    with pytest.raises(DatasetError, match="at least 5"):
        first_lesson(photos[:3])


def test_the_command_writes_a_detector_and_says_what_it_found(photos, tmp_path, capsys):
    for photo in photos[:6]:
        Image.fromarray(photo.image).save(tmp_path / photo.name)
    assert main(["teach", str(tmp_path), "--out", str(tmp_path / "nut.safetensors")]) == 0
    said = capsys.readouterr().out
    assert "6 photos" in said
    assert "false alarm" in said
    assert "synthetic" in said
    assert Detector.load(tmp_path / "nut.safetensors").calibration is not None
    report = (tmp_path / "nut.html").read_text(encoding="utf-8")
    assert "nobody can promise" in report
    assert report.count("data:image/jpeg;base64,") >= 5
    assert "src='http" not in report


def test_no_torch_is_needed(tmp_path):
    code = (
        "import sys, rd4ad.teach.lesson; "
        "assert not {'torch', 'streamlit', 'gradio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_student_is_trained_beside_it_and_the_better_one_is_kept(photos, tmp_path, capsys):
    for photo in photos:
        Image.fromarray(photo.image).save(tmp_path / photo.name)
    out = tmp_path / "nut.safetensors"
    assert main(["teach", str(tmp_path), "--out", str(out), "--minutes", "0.1", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [row["detector"] for row in record["compared"]] == [
        "reverse distillation, 128 px", "reverse distillation, 256 px", "memory of patches",
    ]  # fmt: skip
    assert min(row["epochs"] for row in record["compared"][:2]) >= 1
    assert "px was taken" in record["advice"]
    kept = "reverse_distillation" if record["is_student_kept"] else "patchcore"
    assert Detector.load(out).engine.method == kept
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["nut.safetensors"]


@pytest.mark.parametrize("options", [("--minutes", "-1"), ("--false-alarms", "0.7")])
def test_values_out_of_range_are_refused_before_any_work(options, tmp_path, capsys):
    assert main(["teach", str(tmp_path), "--out", "a.safetensors", *options]) == 2
    assert "must lie in" in capsys.readouterr().err
