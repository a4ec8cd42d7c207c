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
# Stages in the order of the flow: a stage imports those above it, and none below.
FLOW = (
    ["machine", "home", "scoring", "catalogue"],  # modules at the top of the package
    ["config"],
    ["data"],
    ["metrics"],
    ["methods"],
    ["inference"],
    ["training"],
    ["runs"],
    ["evaluation"],
    ["export"],
    ["teach"],
    ["sweeps", "benchmark"],
    ["web.explorer"],
    ["web.live", "web.report"],
    ["web.limits"],
    ["web.teach"],
    ["web"],
    ["cli"],
)
WITH_TORCH = (
    *("methods", "training", "benchmark", "inference.torch_engine", "evaluation.one_class"),
    *(
        "teach.student",
        "teach.jobs.practice",
        "sweeps.tasks",
        "sweeps.forecast",
        "sweeps.ray_engine",
    ),
)
WITHOUT = ("methods.coreset",)
WHEN_ASKED = ("rd4ad.cli", "rd4ad.inference.onnx_engine", "rd4ad.inference.detector")
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
    """The place of a module of this package in the flow."""
    name = module.removeprefix("rd4ad.")
    places = [
        (len(stage), index)
        for index, stages in enumerate(FLOW)
        for stage in stages
        if name == stage or name.startswith(stage + ".")
    ]
    return max(places)[1] if places and name != module else None


@pytest.mark.parametrize("module", [name for name in modules() if name != "rd4ad"])
def test_a_module_has_its_place_in_the_flow_and_imports_nothing_from_below(module):
    place = stage(module)
    assert place is not None, f"{module} has no place in FLOW"
    for name in imported(modules()[module]):
        other = stage(name)
        assert other is None or other <= place, f"{module} imports {name}"


def arrows() -> dict[str, set[str]]:
    """Which modules of this package each module imports, wherever in its text."""
    known = modules()
    return {
        name: {other for other in imported(path) if other in known} - {name, "rd4ad"}
        for name, path in known.items()
    }


@pytest.mark.parametrize("module", modules())
def test_no_module_shares_its_name_with_a_function_of_its_own(module):
    path = modules()[module]
    defined = ast.parse(path.read_text()).body
    assert path.stem not in [one.name for one in defined if isinstance(one, ast.FunctionDef)]


def test_no_two_modules_and_no_circle_of_them_import_each_other():
    left = arrows()
    while left:
        free = [name for name, needs in left.items() if not needs & left.keys()]
        assert free, f"these import each other: {sorted(left)}"
        for name in free:
            del left[name]


def test_no_module_imports_a_private_name_of_another():
    for module, path in modules().items():
        private = [n for n in imported(path) if n.startswith("rd4ad.") and "._" in n]
        assert private == [], module


def test_folders_are_small_enough_to_see_at_a_glance():
    for folder in {path.parent for path in modules().values()}:
        n_modules = len([path for path in folder.glob("*.py") if path.name != "__init__.py"])
        assert n_modules <= (8 if folder == PACKAGE else 14), folder
        assert (folder / "__init__.py").read_text().startswith('"""'), folder


def needs_torch(module: str) -> bool:
    name = module.removeprefix("rd4ad.")
    is_with, is_without = (
        any(name == one or name.startswith(one + ".") for one in ones)
        for ones in (WITH_TORCH, WITHOUT)
    )
    return name != module and is_with and not is_without


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
    file.write_text("from rd4ad import Scoring\nfrom rd4ad.web.explorer import frame")
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
        "import rd4ad, rd4ad.metrics, rd4ad.scoring, rd4ad.runs.store, rd4ad.data\n"
        "import rd4ad.data.parts, rd4ad.inference.overlay, rd4ad.web.serve, rd4ad.cli\n"
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
