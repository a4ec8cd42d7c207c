"""Run a command as a shell would, on a small dataset, sound or broken."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rd4ad.cli.parser import main

Outcome = tuple[int, str, str]
Arguments = tuple[str | Path | int, ...]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Function that runs `rd4ad` with these arguments: exit code, output and errors."""

    def run_command(*arguments: object) -> Outcome:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_command


@pytest.fixture(scope="session")
def refused() -> Callable[..., None]:
    """Function that asserts that a command failed with these words, and put nothing out."""

    def check(outcome: Outcome, *words: str) -> None:
        code, text, errors = outcome
        assert code == 1, errors
        assert text == ""
        for word in words:
            assert word in errors

    return check


@pytest.fixture(scope="session")
def where() -> Callable[[Path], Arguments]:
    """Function that gives the options for the category `part` of a folder."""
    return lambda data: ("--data", data, "--category", "part")


@pytest.fixture(scope="session")
def training(where: Callable[[Path], Arguments]) -> Callable[[Path], Arguments]:
    """Function that gives the command of the smallest training, but for its `--out`."""
    tiny = ("--backbone", "compact", "--size-px", 64, "--epochs", 2, "--batch-size", 4)
    return lambda data: ("train", *where(data), *tiny)


@pytest.fixture
def copied(tiny_data: Path, tmp_path: Path) -> Path:
    """A copy of `tiny_data` to break."""
    shutil.copytree(tiny_data, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture(scope="session")
def write_maps() -> Callable[[Path], None]:
    """Function that writes a map of noise for every test image of `tiny_data`."""

    def write(folder: Path) -> None:
        for kind in ("good", "spot"):
            (folder / kind).mkdir(parents=True)
            for i in range(4):
                np.save(folder / kind / f"{i:03d}.npy", np.random.rand(64, 64))

    return write
