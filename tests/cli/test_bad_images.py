"""Images that cannot be read and masks that do not fit: named, and skipped if asked."""

import json
import struct
import zlib

import pytest
from PIL import Image


@pytest.fixture
def broken_data(copied):
    """One image of each split is truncated, one to train on is a text."""
    for name in ("train/good/002.png", "test/spot/001.png"):
        image = copied / "part" / name
        image.write_bytes(image.read_bytes()[:200])
    (copied / "part/train/good/003.png").write_text("no image")
    return copied


def test_a_bad_image_stops_prediction_or_is_skipped_and_reported(
    run, tiny_checkpoint, tiny_data, tmp_path
):
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    good = tiny_data / "part/test/good/000.png"
    (images / "a.png").write_bytes(good.read_bytes())
    (images / "b.png").write_bytes(good.read_bytes()[:200])
    code, _, errors = run("predict", tiny_checkpoint, images, "--out", out)
    assert code == 1
    assert "b.png" in errors
    code, text, errors = run(
        "predict", tiny_checkpoint, images, "--out", out, "--skip-bad", "--json"
    )
    assert code == 0
    rows = {row["name"]: row for row in json.loads(text)}
    assert rows["a"]["score"] > 0
    assert errors.count("skipped: ") == 1
    assert rows["b"]["score"] is None
    assert "b.png" in rows["b"]["problem"]


def test_bad_images_stop_a_training_or_are_skipped_and_named(
    run, refused, training, broken_data, tmp_path
):
    out = tmp_path / "a.safetensors"
    options = (*training(broken_data), "--out", out)
    refused(run(*options), "2 of 14 images cannot be read", "002.png", "003.png")
    assert not out.exists()
    code, _, errors = run(*options, "--skip-bad")
    assert code == 0
    assert errors.count("skipped: ") == 2
    assert out.exists()


def test_bad_images_stop_an_evaluation_or_are_skipped_and_named(
    run, refused, where, tiny_checkpoint, broken_data, tmp_path
):
    options = ("evaluate", tiny_checkpoint, *where(broken_data), "--results", tmp_path / "results")
    refused(run(*options), "1 of 8 images cannot be read", "test/spot/001.png")
    assert not (tmp_path / "results").exists()
    code, _, errors = run(*options, "--skip-bad")
    assert code == 0
    assert errors.count("skipped: ") == 1


def test_nothing_but_bad_images_to_predict_is_an_error_even_when_skipping(
    run, refused, tiny_checkpoint, broken_data, tmp_path
):
    bad = broken_data / "part/train/good/003.png"
    options = ("predict", tiny_checkpoint, bad, "--out", tmp_path / "out", "--skip-bad")
    refused(run(*options), "none of 1 images can be read", "003.png")


def huge_png(path):
    """Write a small file whose header promises 900 million pixels."""

    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def test_a_decompression_bomb_is_refused_by_every_command(
    run, refused, where, training, tiny_checkpoint, copied, tmp_path
):
    for name in ("train/good/001.png", "test/spot/001.png"):
        huge_png(copied / "part" / name)
    out = tmp_path / "out"
    for command in (
        (*training(copied), "--out", out / "a.safetensors"),
        ("evaluate", tiny_checkpoint, *where(copied), "--results", out),
        ("predict", tiny_checkpoint, copied / "part/test/spot", "--out", out),
    ):
        refused(run(*command), "001.png is too large to decode safely", "the limit is")
    code, text, _ = run("data", "check", copied)
    assert code == 1
    assert text.count("is too large to decode safely") == 2


def test_a_mask_of_another_size_than_its_image_is_refused_by_every_command(
    run, refused, where, write_maps, tiny_checkpoint, copied, tmp_path
):
    Image.new("L", (32, 32), 255).save(copied / "part/ground_truth/spot/001_mask.png")
    write_maps(tmp_path / "maps")
    message = "001_mask.png is 32 x 32 pixels, its image"
    evaluation = ("evaluate", tiny_checkpoint, *where(copied), "--results", tmp_path / "results")
    refused(run(*evaluation), message, "resize the mask")
    refused(run("score", "--maps", tmp_path / "maps", *where(copied)), message)
    code, text, _ = run("data", "check", copied)
    assert code == 1
    assert message in text
