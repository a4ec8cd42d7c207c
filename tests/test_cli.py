import csv
import json
import math
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import urllib.request
import zlib
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.optim.optimizer import register_optimizer_step_post_hook

from rd4ad.cli import build_parser, main
from rd4ad.methods.backbones import find_weights


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


TINY = ("--backbone", "compact", "--size-px", 64, "--epochs", 2, "--batch-size", 4)


def where(data):
    return ("--data", data, "--category", "part")


@pytest.fixture
def copied(tiny_data, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def broken_data(copied):
    """One image of each split is truncated, one to train on is a text."""
    for name in ("train/good/002.png", "test/spot/001.png"):
        image = copied / "part" / name
        image.write_bytes(image.read_bytes()[:200])
    (copied / "part/train/good/003.png").write_text("no image")
    return copied


def refused(outcome, *words):
    """Assert that a command failed with these words, and put nothing out."""
    code, text, errors = outcome
    assert code == 1, errors
    assert text == ""
    for word in words:
        assert word in errors


def write_maps(folder):
    for kind in ("good", "spot"):
        (folder / kind).mkdir(parents=True)
        for i in range(4):
            np.save(folder / kind / f"{i:03d}.npy", np.random.rand(64, 64))


def test_from_a_folder_of_images_to_heatmaps_and_figures(capsys, tiny_data, tmp_path):
    checkpoint, out, results = tmp_path / "part.safetensors", tmp_path / "out", tmp_path / "results"
    code, text, _ = run(
        capsys, "train", *where(tiny_data), *TINY, "--holdout", 0.2, "--out", checkpoint
    )
    assert code == 0
    assert "threshold" in text

    code, text, _ = run(
        capsys, "evaluate", checkpoint, *where(tiny_data), "--results", results, "--json"
    )
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

    code, text, _ = run(capsys, "score", "--maps", out, *where(tiny_data), "--json")
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
        (("--device", "gpu"), "--device gpu cannot be used here"),
        (("--device", "meta"), "--device meta cannot be used here"),
        (("--out", "a.pth"), "the name of this file ends in .safetensors; got a.pth"),
        (("--out", "a.safetensors/"), "is a folder"),
    ],
)
def test_wrong_usage_exits_with_two(capsys, tiny_data, tmp_path, monkeypatch, wrong, message):
    options = ("--data", tiny_data, "--category", "part", "--out", tmp_path / "b.safetensors")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.safetensors").mkdir()
    code, _, errors = run(capsys, "train", *options, *wrong)
    assert code == 2
    assert message in errors


@pytest.mark.parametrize("wrong", [("--train", 1), ("--seed", -1)])
def test_parts_that_could_not_be_trained_on_are_not_made(capsys, tmp_path, wrong):
    code, _, errors = run(capsys, "data", "make", tmp_path / "parts", *wrong)
    assert code == 2
    assert "--train must be 2 or more" in errors
    assert list(tmp_path.iterdir()) == []


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
    code, text, errors = run(
        capsys, "predict", tiny_checkpoint, images, "--out", out, "--skip-bad", "--json"
    )
    assert code == 0
    rows = {row["name"]: row for row in json.loads(text)}
    assert rows["a"]["score"] > 0
    assert errors.count("skipped: ") == 1
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
    write_maps(tmp_path)
    options = ("score", "--maps", tmp_path, *where(tiny_data))
    assert run(capsys, *options)[0] == 0
    np.save(tmp_path / "spot/002.npy", content)
    refused(run(capsys, *options), message)
    (tmp_path / "spot/002.npy").unlink()
    refused(run(capsys, *options), "no map of test/spot/002.png")


def test_pickled_objects_in_a_map_file_are_refused(capsys, tiny_data, tmp_path):
    (tmp_path / "good").mkdir()
    np.save(tmp_path / "good/000.npy", np.array([{}], dtype=object), allow_pickle=True)
    code, _, errors = run(
        capsys, "score", "--maps", tmp_path, "--data", tiny_data, "--category", "part"
    )
    assert code == 1
    assert "000.npy is not a readable map" in errors


def test_either_engine_predicts_the_same_and_one_that_cannot_is_refused(
    capsys, tiny_checkpoint, tiny_data, tmp_path
):
    command = ("predict", tiny_checkpoint, tiny_data / "part/test", "--json", "--out")
    scores = []
    for engine in ("onnx", "torch"):
        code, text, _ = run(capsys, *command, tmp_path / engine, "--engine", engine)
        assert code == 0
        scores.append([row["score"] for row in json.loads(text)])
    np.testing.assert_allclose(*scores, atol=1e-5)
    code, _, errors = run(capsys, *command, tmp_path, "--engine", "onnx", "--device", "cuda")
    assert (code, "--engine onnx runs on the cpu" in errors) == (2, True)


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
    out = tmp_path / "out"
    out.write_text("a file")
    image = tiny_data / "part/test/good/000.png"
    for command in (
        ("train", *where(tiny_data), *TINY, "--out", out / "a.safetensors"),
        ("evaluate", tiny_checkpoint, *where(tiny_data), "--results", out),
        ("predict", tiny_checkpoint, image, "--out", out),
        ("data", "make", out / "made", "--train", 2),
    ):
        refused(run(capsys, *command), str(out))
    assert out.read_text() == "a file"


def test_a_folder_that_is_not_there_is_named_by_every_command(capsys, tiny_checkpoint, tmp_path):
    nowhere, out = tmp_path / "nowhere", tmp_path / "out"
    for command in (
        ("train", *where(nowhere), *TINY, "--out", out / "a.safetensors"),
        ("evaluate", tiny_checkpoint, *where(nowhere), "--results", out),
        ("predict", tiny_checkpoint, nowhere, "--out", out),
        ("score", "--maps", tmp_path, *where(nowhere)),
        ("data", "check", nowhere),
        ("results", "index", "--results", nowhere),
    ):
        refused(run(capsys, *command), str(nowhere), "expected")
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_train_on_is_named_with_what_was_expected(capsys, copied, tmp_path):
    shutil.rmtree(copied / "part/train/good")
    options = (*where(copied), *TINY, "--out", tmp_path / "a.safetensors")
    refused(run(capsys, "train", *options), "part/train/good holds no image: expected normal")


def test_bad_images_stop_a_training_or_are_skipped_and_named(capsys, broken_data, tmp_path):
    out = tmp_path / "a.safetensors"
    options = ("train", *where(broken_data), *TINY, "--out", out)
    refused(run(capsys, *options), "2 of 14 images cannot be read", "002.png", "003.png")
    assert not out.exists()
    code, _, errors = run(capsys, *options, "--skip-bad")
    assert code == 0
    assert errors.count("skipped: ") == 2
    assert out.exists()


def test_bad_images_stop_an_evaluation_or_are_skipped_and_named(
    capsys, tiny_checkpoint, broken_data, tmp_path
):
    options = ("evaluate", tiny_checkpoint, *where(broken_data), "--results", tmp_path / "results")
    refused(run(capsys, *options), "1 of 8 images cannot be read", "test/spot/001.png")
    assert not (tmp_path / "results").exists()
    code, _, errors = run(capsys, *options, "--skip-bad")
    assert code == 0
    assert errors.count("skipped: ") == 1


def test_nothing_but_bad_images_to_predict_is_an_error_even_when_skipping(
    capsys, tiny_checkpoint, broken_data, tmp_path
):
    bad = broken_data / "part/train/good/003.png"
    options = ("predict", tiny_checkpoint, bad, "--out", tmp_path / "out", "--skip-bad")
    refused(run(capsys, *options), "none of 1 images can be read", "003.png")


def huge_png(path):
    """Write a small file whose header promises 900 million pixels."""

    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def test_a_decompression_bomb_is_refused_by_every_command(
    capsys, tiny_checkpoint, copied, tmp_path
):
    for name in ("train/good/001.png", "test/spot/001.png"):
        huge_png(copied / "part" / name)
    out = tmp_path / "out"
    for command in (
        ("train", *where(copied), *TINY, "--out", out / "a.safetensors"),
        ("evaluate", tiny_checkpoint, *where(copied), "--results", out),
        ("predict", tiny_checkpoint, copied / "part/test/spot", "--out", out),
    ):
        refused(run(capsys, *command), "001.png is too large to decode safely", "the limit is")
    code, text, _ = run(capsys, "data", "check", copied)
    assert code == 1
    assert text.count("is too large to decode safely") == 2


def test_a_mask_of_another_size_than_its_image_is_refused_by_every_command(
    capsys, tiny_checkpoint, copied, tmp_path
):
    Image.new("L", (32, 32), 255).save(copied / "part/ground_truth/spot/001_mask.png")
    write_maps(tmp_path / "maps")
    message = "001_mask.png is 32 x 32 pixels, its image"
    evaluation = ("evaluate", tiny_checkpoint, *where(copied), "--results", tmp_path / "results")
    refused(run(capsys, *evaluation), message, "resize the mask")
    refused(run(capsys, "score", "--maps", tmp_path / "maps", *where(copied)), message)
    code, text, _ = run(capsys, "data", "check", copied)
    assert code == 1
    assert message in text


@pytest.mark.parametrize(
    ("removed", "reason"),
    [("spot", "the test set has no defect"), ("good", "the test set has no normal image")],
)
def test_undefined_figures_are_empty_with_the_reason(
    capsys, tiny_checkpoint, copied, tmp_path, removed, reason
):
    shutil.rmtree(copied / "part/test" / removed)
    write_maps(tmp_path / "maps")
    results = ("--results", tmp_path / "results")
    code, text, _ = run(capsys, "evaluate", tiny_checkpoint, *where(copied), *results)
    assert code == 0
    assert f"- ({reason})" in text
    code, text, _ = run(capsys, "score", "--maps", tmp_path / "maps", *where(copied), "--json")
    assert code == 0
    undefined = {row["reason"] for row in json.loads(text) if row["value"] is None}
    assert undefined == {reason}
    assert run(capsys, "results", "index", *results)[0] == 0
    code, text, _ = run(capsys, "results", "show", *results)
    assert code == 0
    shown = text.splitlines()[-1].split()
    assert shown[0] == os.listdir(tmp_path / "results/runs")[0]
    assert "-" in shown[1:]


def test_results_without_runs_say_what_stores_one(capsys, tmp_path):
    assert run(capsys, "results", "index", "--results", tmp_path)[0] == 0
    code, text, _ = run(capsys, "results", "show", "--results", tmp_path)
    assert code == 0
    assert "`rd4ad evaluate` stores one" in text
    assert run(capsys, "results", "show", "--results", tmp_path, "--json")[1] == "[]\n"


def test_a_damaged_run_is_named_and_the_others_are_shown(
    capsys, tiny_checkpoint, tiny_data, tmp_path
):
    for name in ("one", "other"):
        options = (*where(tiny_data), "--results", tmp_path, "--dataset", name)
        assert run(capsys, "evaluate", tiny_checkpoint, *options)[0] == 0
    (damaged,) = tmp_path.glob("runs/*-one-*")
    (damaged / "curves.parquet").unlink()
    code, text, errors = run(capsys, "results", "index", "--results", tmp_path)
    assert code == 0
    assert "indexed 1 runs" in text
    assert f"skipped {damaged}" in errors
    assert "curves.parquet is missing" in errors
    assert damaged.name not in run(capsys, "results", "show", "--results", tmp_path)[1]


class Code:
    """Makes a folder when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def truncated(checkpoint, target):
    target.write_bytes(checkpoint.read_bytes()[:5000])


def pickled(_checkpoint, target):
    torch.save({"a": Code(target.with_name("code_ran"))}, target)


def rewritten(checkpoint, target, tensors=lambda value: value, **changes):
    with safe_open(checkpoint, framework="pt") as file:
        header = json.loads(file.metadata()["rd4ad"]) | changes
        found = {key: tensors(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
    save_file(found, target, {"rd4ad": json.dumps(header)})


def narrowed(tensor):
    return tensor[:1] if tensor.ndim == 4 else tensor


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncated, "is not a whole .safetensors file"),
        (pickled, "is not a whole .safetensors file"),
        (partial(rewritten, schema=99), "update rd4ad"),
        (partial(rewritten, tensors=narrowed), "damaged or with tensors of another backbone"),
    ],
)
def test_a_spoilt_checkpoint_is_refused_by_name_and_runs_no_code(
    capsys, tiny_checkpoint, tiny_data, tmp_path, spoil, message
):
    spoilt, out = tmp_path / "spoilt.safetensors", tmp_path / "out"
    spoil(tiny_checkpoint, spoilt)
    weights = ("--weights", find_weights("compact"))
    evaluation = ("evaluate", spoilt, *where(tiny_data), "--results", out, *weights)
    prediction = ("predict", spoilt, tiny_data / "part/test", "--out", out, *weights)
    for command in (evaluation, prediction):
        refused(run(capsys, *command), message, ".safetensors")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [spoilt]


def test_a_detector_of_a_diverged_training_gives_an_error_and_no_score(
    capsys, tiny_checkpoint, tiny_data, tmp_path
):
    spoilt, out = tmp_path / "spoilt.safetensors", tmp_path / "out"
    rewritten(tiny_checkpoint, spoilt, tensors=lambda value: value * math.nan)
    image = tiny_data / "part/test/spot/000.png"
    refused(run(capsys, "predict", spoilt, image, "--out", out), "NaN")
    refused(run(capsys, "evaluate", spoilt, *where(tiny_data), "--results", out), "NaN")
    assert not list(out.glob("**/*.*"))


def test_weights_that_cannot_be_had_offline_say_which_file_to_put_where(
    capsys, tiny_data, tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("RD4AD_WEIGHTS", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nothing listens
    monkeypatch.setattr(urllib.request, "_opener", None)  # it would keep the proxies for good
    options = (*where(tiny_data), "--size-px", 64, "--out", tmp_path / "a.safetensors")
    outcome = run(capsys, "train", *options, "--backbone", "resnet34")
    refused(outcome, "resnet34-b627a593.pth into", str(tmp_path), "--backbone compact")


@contextmanager
def full_disk(n_bytes):
    """Let no file grow beyond `n_bytes`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("n_bytes", [100, 5000])
def test_a_full_disk_is_named_and_leaves_what_was_there(
    capsys, tiny_checkpoint, tiny_data, tmp_path, n_bytes
):
    results = tmp_path / "results"
    evaluation = ("evaluate", tiny_checkpoint, *where(tiny_data), "--results", results)
    assert run(capsys, *evaluation)[0] == 0
    assert run(capsys, "results", "index", "--results", results)[0] == 0
    before = {file: file.read_bytes() for file in results.rglob("*") if file.is_file()}
    image = tiny_data / "part/test/spot/000.png"
    for command in (
        (*evaluation, "--dataset", "another"),
        ("predict", tiny_checkpoint, image, "--out", results / "out"),
        ("results", "index", "--results", results),
        ("data", "make", results / "made", "--train", 2),
        ("train", *where(tiny_data), *TINY, "--out", results / "a.safetensors"),
    ):
        with full_disk(n_bytes):
            outcome = run(capsys, *command)
        refused(outcome, f"cannot write {results}", "make room")
    assert {file: file.read_bytes() for file in results.rglob("*") if file.is_file()} == before


@contextmanager
def ctrl_c_after(n_steps):
    """Send Ctrl-C to this process after so many steps of any optimiser."""
    steps = []

    def count(*_):
        steps.append(1)
        if len(steps) == n_steps:
            signal.raise_signal(signal.SIGINT)

    hook = register_optimizer_step_post_hook(count)
    try:
        yield
    finally:
        hook.remove()


def test_ctrl_c_in_training_costs_one_epoch_and_no_more(capsys, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr("rd4ad.fitting.SAVE_EVERY_SECONDS", 0.0)
    command = ("train", *where(tiny_data), *TINY, "--json", "--out")
    straight, stopped = tmp_path / "straight.safetensors", tmp_path / "stopped.safetensors"
    assert run(capsys, *command, straight)[0] == 0
    with ctrl_c_after(5):  # of 3 in each of two epochs
        refused(run(capsys, *command, stopped), "stopped; what was complete is kept")
    assert not stopped.exists()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".stopped.safetensors.training.state", straight.name]
    with ctrl_c_after(4):  # which never comes, as the first epoch is there already
        assert run(capsys, *command, stopped)[0] == 0
    first, second = load_file(straight), load_file(stopped)
    assert all(torch.equal(first[key], second[key]) for key in first)


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


def test_runs_without_intervals_gain_them_from_their_masks(
    capsys, tiny_checkpoint, copied, tmp_path
):
    results = tmp_path / "results"
    run(capsys, "evaluate", tiny_checkpoint, *where(copied), "--results", results)
    folder = next((results / "runs").iterdir())
    whole = (folder / "metrics.csv").read_text()
    with (folder / "metrics.csv").open() as file:
        rows = [row | {"ci_low": "", "ci_high": ""} for row in csv.DictReader(file)]
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    refused(run(capsys, "results", "intervals", folder, "--data", tmp_path), "expected the masks")
    code, text, _ = run(capsys, "results", "intervals", folder, "--data", copied)
    assert (code, (folder / "metrics.csv").read_text()) == (0, whole)
    assert "9 figures have intervals" in text
