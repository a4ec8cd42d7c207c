"""Imports go one way along the flow, and all but the torch border runs without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "rd4ad"
# A module may import those above it and its own neighbours, never those below.
FLOW = (
    ("rd4ad.data", "rd4ad.metrics"),
    ("rd4ad.scoring",),
    ("rd4ad.config",),
    ("rd4ad.methods",),
    ("rd4ad.detector",),
    ("rd4ad.training", "rd4ad.pretraining"),
    ("rd4ad.store", "rd4ad.published"),
    ("rd4ad.evaluation",),
    ("rd4ad.web",),
    ("rd4ad.inference",),
    ("rd4ad.cli",),
)
WITH_TORCH = ("methods", "detector", "training", "pretraining", "evaluation", "inference")
PAGES = [REPOSITORY / "app.py", *sorted((REPOSITORY / "pages").glob("*.py"))]


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


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
    return module.split(".")[1] in WITH_TORCH if "." in module else False


@pytest.mark.parametrize("module", [m for m in modules() if not needs_torch(m)])
def test_a_module_outside_the_border_imports_no_torch_at_its_top(module):
    tree = ast.parse(modules()[module].read_text())
    for node in tree.body:  # the command line imports inside its functions
        names = set()
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {node.module}
        for name in names:
            assert name.split(".")[0] not in ("torch", "torchvision"), f"{module}: {name}"
            assert not (name.startswith("rd4ad.") and needs_torch(name)), f"{module}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_imports_no_torch_and_computes_nothing(page):
    names = imported(page)
    assert not [n for n in names if n.split(".")[0] in ("torch", "torchvision", "numpy")]
    assert not [n for n in names if n.startswith("rd4ad.") and needs_torch(n)]


def test_opening_the_explorer_loads_no_torch():
    code = (
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        "import rd4ad, rd4ad.metrics, rd4ad.scoring, rd4ad.store, rd4ad.data, rd4ad.data.parts\n"
        "import rd4ad.web.overlay, rd4ad.web.serve, rd4ad.cli\n"
        f"for page in {[str(page) for page in PAGES]!r}:\n"
        "    assert not AppTest.from_file(page, default_timeout=60).run().exception, page\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.stdout.strip().splitlines()[-1] == "False", done.stderr


def test_public_names_exist():
    import rd4ad
    import rd4ad.metrics

    for module in (rd4ad, rd4ad.metrics):
        for name in module.__all__:
            assert getattr(module, name) is not None
