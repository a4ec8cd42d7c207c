"""Documents and texts: links lead somewhere, commands exist, examples run, words are current."""

import ast
import importlib
import re
import sys

import pytest

from rd4ad import catalogue
from rd4ad.catalogue import Entry
from rd4ad.cli.parser import build_parser
from rd4ad.config import TrainingConfig
from rd4ad.home import HOME, PACKAGE
from rd4ad.training.category import train

DOCUMENTS = [HOME / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
DOCUMENTS += sorted((HOME / "docs").rglob("*.md"))
PAGES = [HOME / "app.py", *sorted((HOME / "pages").glob("*.py"))]
RETIRED = re.compile(
    r"\b(figures?|data sets?|anew|told apart|seconds an image|thrown away|let through|kept out"
    r"|colour|behaviour|normalis\w+|optimis\w+|neighbour\w*|judgement)\b",
    re.IGNORECASE,
)
ALLOWED = re.compile(r"Figures? \d|\"figure\"")  # of a paper; the key of a permalink


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(HOME)))
def test_every_link_to_a_file_or_heading_leads_there(document):
    text = document.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, heading = target.partition("#")
        file = document.parent / name if name else document
        assert file.exists(), f"{document.name} links to {target}"
        if heading:
            assert heading in headings(file.read_text()), f"{document.name} links to {target}"


def headings(text):
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-") for name in found}


def strings(path):
    """Yield the texts of a module, f-strings in their parts."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.parametrize(
    "path",
    [*PAGES, *sorted(PACKAGE.rglob("*.py"))],
    ids=lambda path: str(path.relative_to(HOME)),
)
def test_no_text_uses_a_retired_word(path):
    for line, text in strings(path):
        found = RETIRED.search(ALLOWED.sub("", text))
        is_key = text in ("figure", "normalisation", "n_neighbours")  # as stored files have them
        assert is_key or not found, f"line {line}: {found and found[0]!r} in {text[:80]!r}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(HOME)))
def test_no_document_uses_a_retired_word(document):
    text = re.sub(r"`[^`]*`", "", ALLOWED.sub("", document.read_text()))  # code keeps its names
    found = RETIRED.search(text)
    assert not found, f"{found[0]!r} in {text[found.start() - 40 : found.end() + 40]!r}"


def commands_of(document):
    """Return the command lines of a document that call `rd4ad`."""
    lines = re.findall(r"^    (?:.*&& )?(rd4ad .*)$", document.read_text(), re.MULTILINE)
    return [part.split("#")[0].strip() for line in lines for part in line.split("&&")]


@pytest.mark.parametrize("command", commands_of(HOME / "README.md"))
def test_every_command_of_the_readme_is_one(command):
    build_parser().parse_args(command.split()[1:])


def test_the_method_of_the_contributors_guide_works(tiny_data, tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", (HOME / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert len(code[1].splitlines()) < 60
    (tmp_path / "mean_features.py").write_text(code[1])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mean_features", raising=False)
    importlib.import_module("mean_features")
    entry = Entry(title="Mean", home="mean_features:MeanFeatures", source="an example")
    monkeypatch.setitem(catalogue.METHODS, "mean_features", entry)
    config = TrainingConfig(method="mean_features", backbone="compact", size_px=64, holdout=0.0)
    detector = train(tiny_data, "part", config, out=tmp_path / "part.safetensors")
    good, spot = (
        [p.score for p in detector.predict(sorted((tiny_data / "part/test" / kind).iterdir()))]
        for kind in ("good", "spot")
    )
    assert min(spot) > max(good)
