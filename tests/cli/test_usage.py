"""What is refused before any work is done, and the help of every option."""

import argparse
import shutil
import subprocess
import sys

import pytest

from rd4ad.cli.parser import build_parser, main


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
def test_wrong_usage_exits_with_two(run, tiny_data, tmp_path, monkeypatch, wrong, message):
    options = ("--data", tiny_data, "--category", "part", "--out", tmp_path / "b.safetensors")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.safetensors").mkdir()
    code, _, errors = run("train", *options, *wrong)
    assert code == 2
    assert message in errors


@pytest.mark.parametrize("wrong", [("--train", 1), ("--seed", -1)])
def test_parts_that_could_not_be_trained_on_are_not_made(run, tmp_path, wrong):
    code, _, errors = run("data", "make", tmp_path / "parts", *wrong)
    assert code == 2
    assert "--train must be 2 or more" in errors
    assert list(tmp_path.iterdir()) == []


def all_parsers(parser=None, name=()):
    parser = parser or build_parser()
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for key, inner in action.choices.items():
                yield from all_parsers(inner, (*name, key))


@pytest.mark.parametrize("words", [name for name, _ in all_parsers()], ids=" ".join)
def test_every_command_prints_its_help(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*words, "--help"])
    assert stop.value.code == 0
    assert "usage: rd4ad" in capsys.readouterr().out


def test_help_waits_for_none_of_the_slow_libraries():
    code = "import sys, rd4ad.cli.parser; print(*sorted(m for m in sys.modules if '.' not in m))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"scipy", "pandas", "torch", "onnx", "onnxruntime", "streamlit"} & set(
        found.stdout.split()
    )


def test_an_unknown_option_exits_with_two():
    with pytest.raises(SystemExit) as stop:
        main(["train", "--no-such-option"])
    assert stop.value.code == 2


@pytest.mark.parametrize("category", ["parts", "screw"])
def test_a_category_that_is_not_there_exits_with_one_and_names_those_that_are(
    run, tiny_data, tmp_path, category
):
    options = ("--data", tiny_data, "--category", category, "--out", tmp_path / "a.safetensors")
    code, _, errors = run("train", "--backbone", "compact", *options)
    assert code == 1
    assert "found: part" in errors
    assert "Traceback" not in errors


def test_a_folder_that_is_not_there_is_named_by_every_command(
    run, refused, where, training, tiny_checkpoint, tmp_path
):
    nowhere, out = tmp_path / "nowhere", tmp_path / "out"
    for command in (
        (*training(nowhere), "--out", out / "a.safetensors"),
        ("evaluate", tiny_checkpoint, *where(nowhere), "--results", out),
        ("predict", tiny_checkpoint, nowhere, "--out", out),
        ("score", "--maps", tmp_path, *where(nowhere)),
        ("data", "check", nowhere),
        ("results", "index", "--results", nowhere),
    ):
        refused(run(*command), str(nowhere), "expected")
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_train_on_is_named_with_what_was_expected(
    run, refused, training, copied, tmp_path
):
    shutil.rmtree(copied / "part/train/good")
    options = (*training(copied), "--out", tmp_path / "a.safetensors")
    refused(run(*options), "part/train/good holds no image: expected normal")


def test_a_folder_without_images_and_two_of_one_name_are_refused(
    run, tiny_checkpoint, tiny_data, tmp_path
):
    (tmp_path / "empty").mkdir()
    options = (tiny_checkpoint, tmp_path / "empty", "--out", tmp_path / "out")
    assert "no image at" in run("predict", *options)[2]
    good = tiny_data / "part/test/good/000.png"
    spot = tiny_data / "part/test/spot/000.png"
    code, _, errors = run("predict", tiny_checkpoint, good, spot, "--out", tmp_path / "out")
    assert code == 1
    assert "would both be written as 000" in errors


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
    code = "import sys, rd4ad.cli.parser as c; c.build_parser(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
