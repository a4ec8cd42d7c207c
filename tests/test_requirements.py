"""The pinned files and pyproject.toml name the same packages."""

import re
import tomllib
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]


def pins(name: str) -> set[str]:
    lines = (HOME / name).read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def names(requirements) -> set[str]:
    return {re.split(r"[=<>\[]", one)[0] for one in requirements}


def test_training_adds_torch_and_nothing_else():
    added = pins("requirements.txt") - pins("requirements-serve.txt")
    assert pins("requirements-serve.txt") < pins("requirements.txt")
    assert names(added) == {"torch", "torchvision"}


def test_the_package_declares_what_is_pinned():
    project = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
    assert names(project["dependencies"]) == names(pins("requirements-serve.txt"))
    every = project["dependencies"] + project["optional-dependencies"]["train"]
    assert names(every) == names(pins("requirements.txt"))
