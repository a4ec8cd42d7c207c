"""Imports go one way along the flow, and all but the torch border runs without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rd4ad
import rd4ad.metrics

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "rd4ad"
# A module may import those above it and its own neighbours, never those below.
FLOW = (
    ("rd4ad.processor", "rd4ad.hub"),
    ("rd4ad.data", "rd4ad.metrics"),
    ("rd4ad.scoring",),
    ("rd4ad.prediction",),
    ("rd4ad.catalogue",),
    ("rd4ad.config",),
    ("rd4ad.grid", "rd4ad.remote"),
    ("rd4ad.checkpoint", "rd4ad.nodes"),
    ("rd4ad.graph",),
    ("rd4ad.model",),
    ("rd4ad.figures",),
    ("rd4ad.methods",),
    ("rd4ad.engine", "rd4ad.eager"),
    ("rd4ad.detector",),
    ("rd4ad.export",),
    ("rd4ad.fitting",),
    ("rd4ad.training", "rd4ad.pretraining"),
    ("rd4ad.store", "rd4ad.published"),
    ("rd4ad.index",),
    ("rd4ad.merging", "rd4ad.completeness"),
    ("rd4ad.comparison",),
    ("rd4ad.evaluation",),
    ("rd4ad.gate",),
    ("rd4ad.quantisation", "rd4ad.float16"),
    ("rd4ad.sweep",),
    ("rd4ad.forecast", "rd4ad.cluster"),
    ("rd4ad.novelty",),
    ("rd4ad.timing", "rd4ad.ledger"),
    ("rd4ad.benchmark",),
    ("rd4ad.web",),
    ("rd4ad.inference",),
    ("rd4ad.commands.command",),
    ("rd4ad.commands.options",),
    ("rd4ad.commands",),
    ("rd4ad.cli",),
)
WITH_TORCH = (
    "methods",
    "eager",
    "fitting",
    "training",
    "pretraining",
    "novelty",
    "timing",
    "ledger",
    "benchmark",
    "sweep",
    "forecast",
    "cluster",
)
# These load torch only when a command or an image asks for it.
WHEN_ASKED = ("rd4ad.commands", "rd4ad.engine", "rd4ad.detector")
LAZY = {f"rd4ad.{name}": home for name, home in rd4ad._HOMES.items()}
PAGES = [REPOSITORY / "app.py", *sorted((REPOSITORY / "pages").glob("*.py"))]


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imported(path: Path, top_only: bool = False) -> set[str]:
    """Names that a file imports, anywhere or at its top; rd4ad's lazy names by their home."""
    tree = ast.parse(path.read_text())
    names: set[str] = set()
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: imports are absolute here"
            assert node.level == 0, f"{path}: imports are absolute here"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {LAZY.get(name, name) for name in names}


def stage(module: str) -> int | None:
    for index, names in enumerate(FLOW):
        if any(module == name or module.startswith(name + ".") for name in names):
            return index
    return None


@pytest.mark.parametrize("module", [name for name in modules() if name != "rd4ad"])
def test_a_module_has_its_place_in_the_flow_and_imports_nothing_from_below(module):
    place = stage(module)
    assert place is not None, f"{module} has no place in FLOW"
    for name in imported(modules()[module]):
        other = stage(name)
        assert other is None or other <= place, f"{module} imports {name}"


def needs_torch(module: str) -> bool:
    package, _, rest = module.partition(".")
    return package == "rd4ad" and rest.split(".")[0] in WITH_TORCH


def torch_in(names: set[str]) -> list[str]:
    return sorted(n for n in names if n.split(".")[0] in ("torch", "torchvision") or needs_torch(n))


def test_the_rule_sees_torch_wherever_it_hides(tmp_path):
    file = tmp_path / "page.py"
    for text in (
        "import torch.nn as nn",
        "from torchvision import models",
        "def f():\n    from rd4ad import train",
        "from rd4ad import training",
        "import rd4ad.methods.backbones",
    ):
        file.write_text(text)
        assert torch_in(imported(file)), text
    file.write_text("from rd4ad import Scoring\nfrom rd4ad.web import frame")
    assert torch_in(imported(file)) == []


@pytest.mark.parametrize("module", [m for m in modules() if not needs_torch(m)])
def test_a_module_outside_the_border_imports_no_torch(module):
    # Commands import it inside the functions that need it.
    assert torch_in(imported(modules()[module], top_only=module.startswith(WHEN_ASKED))) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_imports_no_torch_and_computes_nothing(page):
    names = imported(page)
    assert torch_in(names) == []
    assert not [name for name in names if name.split(".")[0] == "numpy"]


def test_opening_the_explorer_loads_no_torch():
    code = (
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        "import rd4ad, rd4ad.metrics, rd4ad.scoring, rd4ad.store, rd4ad.data, rd4ad.data.parts\n"
        "import rd4ad.web.overlay, rd4ad.web.serve, rd4ad.cli\n"
        f"explorer = AppTest.from_file({str(PAGES[0])!r}, default_timeout=60).run()\n"
        f"for page in {[f'pages/{page.name}' for page in PAGES[1:]]!r}:\n"
        "    assert not explorer.switch_page(page).run().exception, page\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.stdout.splitlines()[-1:] == ["False"], done.stderr


def test_public_names_exist():
    for module in (rd4ad, rd4ad.metrics):
        for name in module.__all__:
            assert getattr(module, name) is not None
