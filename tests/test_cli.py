import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from rd4ad.cli import build_parser, main


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


TINY = ("--backbone", "compact", "--size-px", 64, "--epochs", 2, "--batch-size", 4)


def test_from_a_folder_of_images_to_heatmaps_and_figures(capsys, tiny_data, tmp_path):
    checkpoint, out, results = tmp_path / "part.safetensors", tmp_path / "out", tmp_path / "results"
    where = ("--data", tiny_data, "--category", "part")
    code, text, _ = run(capsys, "train", *where, *TINY, "--holdout", 0.2, "--out", checkpoint)
    assert code == 0
    assert "threshold" in text

    code, text, _ = run(capsys, "evaluate", checkpoint, *where, "--results", results, "--json")
    assert code == 0
    figures = {row["metric"]: row["value"] for row in json.loads(text)}
    assert 0 <= figures["aupro"] <= 1

    code, _, _ = run(capsys, "predict", checkpoint, tiny_data / "part/test", "--out", out)
    assert code == 0
    with (out / "scores.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert len(rows) == 8
    anomaly_map = tifffile.imread(out / "spot/000.tiff")
    assert anomaly_map.dtype == np.float32
    assert float(rows["spot/000"]["score"]) == pytest.approx(anomaly_map.max(), rel=1e-6)
    with Image.open(out / "spot/000_overlay.png") as picture:
        assert picture.width == 64

    code, text, _ = run(capsys, "score", "--maps", out, *where, "--json")
    assert code == 0
    again = {row["metric"]: row["value"] for row in json.loads(text)}
    for metric, value in figures.items():  # the run is scored from float16 distances
        assert again[metric] == pytest.approx(value, abs=2e-3), metric

    assert run(capsys, "results", "index", "--results", results)[0] == 0
    code, text, _ = run(capsys, "results", "show", "--results", results)
    assert code == 0
    assert "aupro" in text


def test_a_threshold_is_refused_by_nothing_and_said_to_be_absent(capsys, tiny_data, tmp_path):
    out = tmp_path / "part.safetensors"
    options = ("--data", tiny_data, "--category", "part", *TINY, "--holdout", 0, "--out", out)
    code, text, _ = run(capsys, "train", *options)
    assert code == 0
    assert "no threshold: every normal image was trained on" in text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--layers", "4"), "layers must be a choice of 1, 2 and 3"),
        (("--size-px", "100"), "multiple of 32"),
        (("--backbone", "vgg"), "backbone must be one of"),
    ],
)
def test_wrong_usage_exits_with_two(capsys, tiny_data, tmp_path, wrong, message):
    options = ("--data", tiny_data, "--category", "part", "--out", tmp_path / "a.safetensors")
    code, _, errors = run(capsys, "train", *options, *wrong)
    assert code == 2
    assert message in errors


def test_an_unknown_option_exits_with_two():
    with pytest.raises(SystemExit) as stop:
        main(["train", "--no-such-option"])
    assert stop.value.code == 2


@pytest.mark.parametrize("category", ["parts", "screw"])
def test_a_category_that_is_not_there_exits_with_one_and_names_those_that_are(
    capsys, tiny_data, tmp_path, category
):
    options = ("--data", tiny_data, "--category", category, "--out", tmp_path / "a.safetensors")
    code, _, errors = run(capsys, "train", "--backbone", "compact", *options)
    assert code == 1
    assert "found: part" in errors
    assert "Traceback" not in errors


def test_a_bad_image_stops_prediction_or_is_skipped_and_reported(
    capsys, tiny_checkpoint, tiny_data, tmp_path
):
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    good = tiny_data / "part/test/good/000.png"
    (images / "a.png").write_bytes(good.read_bytes())
    (images / "b.png").write_bytes(good.read_bytes()[:200])
    code, _, errors = run(capsys, "predict", tiny_checkpoint, images, "--out", out)
    assert code == 1
    assert "b.png" in errors
    code, text, _ = run(
        capsys, "predict", tiny_checkpoint, images, "--out", out, "--skip-bad", "--json"
    )
    assert code == 0
    rows = {row["name"]: row for row in json.loads(text)}
    assert rows["a"]["score"] > 0
    assert rows["b"]["score"] is None
    assert "b.png" in rows["b"]["problem"]


def test_a_folder_without_images_and_two_of_one_name_are_refused(
    capsys, tiny_checkpoint, tiny_data, tmp_path
):
    (tmp_path / "empty").mkdir()
    options = (tiny_checkpoint, tmp_path / "empty", "--out", tmp_path / "out")
    assert "no image at" in run(capsys, "predict", *options)[2]
    good = tiny_data / "part/test/good/000.png"
    spot = tiny_data / "part/test/spot/000.png"
    code, _, errors = run(capsys, "predict", tiny_checkpoint, good, spot, "--out", tmp_path / "out")
    assert code == 1
    assert "would both be written as 000" in errors


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.full((64, 64), np.nan, np.float32), "NaN or infinity"),
        (np.zeros((64, 64, 3), np.float32), "expected a 2-D map"),
        (np.zeros((64, 32), np.float32), "expected the same shape, or a square map"),
    ],
)
def test_maps_of_any_program_are_checked_one_by_one(capsys, tiny_data, tmp_path, content, message):
    for kind in ("good", "spot"):
        (tmp_path / kind).mkdir()
        for i in range(4):
            np.save(tmp_path / kind / f"{i:03d}.npy", np.random.rand(64, 64))
    where = ("--maps", tmp_path, "--data", tiny_data, "--category", "part")
    assert run(capsys, "score", *where)[0] == 0
    np.save(tmp_path / "spot/002.npy", content)
    code, _, errors = run(capsys, "score", *where)
    assert code == 1
    assert message in errors
    (tmp_path / "spot/002.npy").unlink()
    assert "no map of test/spot/002.png" in run(capsys, "score", *where)[2]


def test_pickled_objects_in_a_map_file_are_refused(capsys, tiny_data, tmp_path):
    (tmp_path / "good").mkdir()
    np.save(tmp_path / "good/000.npy", np.array([{}], dtype=object), allow_pickle=True)
    code, _, errors = run(
        capsys, "score", "--maps", tmp_path, "--data", tiny_data, "--category", "part"
    )
    assert code == 1
    assert "000.npy is not a readable map" in errors


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_an_error_not_a_trace(capsys, tiny_checkpoint, tiny_data, tmp_path):
    tmp_path.chmod(0o500)
    image = tiny_data / "part/test/good/000.png"
    code, _, errors = run(capsys, "predict", tiny_checkpoint, image, "--out", tmp_path / "out")
    assert code == 1
    assert "Permission denied" in errors


def test_an_output_folder_that_is_a_file_is_an_error_not_a_trace(
    capsys, tiny_checkpoint, tiny_data, tmp_path
):
    (tmp_path / "out").write_text("a file")
    image = tiny_data / "part/test/good/000.png"
    code, _, errors = run(capsys, "predict", tiny_checkpoint, image, "--out", tmp_path / "out")
    assert code == 1
    assert "out" in errors


def test_every_option_has_a_help_text():
    def parsers(parser):
        yield parser
        for action in parser._actions:
            if hasattr(action, "choices") and isinstance(action.choices, dict):
                for child in action.choices.values():
                    yield from parsers(child)

    for parser in parsers(build_parser()):
        assert parser.description
        for action in parser._actions:
            if not isinstance(action.choices, dict):
                assert action.help, f"{parser.prog} {action.dest}"


def test_help_needs_no_torch():
    code = "import sys, rd4ad.cli as c; c.build_parser(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
