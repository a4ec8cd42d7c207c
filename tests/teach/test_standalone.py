"""The script that goes with an exported detector: alone, it says what the package says."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from rd4ad import Detector
from rd4ad.data.parts import render
from rd4ad.export.onnx_file import export_onnx
from rd4ad.teach import standalone


def test_it_scores_as_the_package_does_and_imports_nothing_of_it(tmp_path):
    export_onnx("results/detectors/nut.safetensors", tmp_path / "detector.onnx")
    Image.fromarray(render("nut", "chipped", 0)[0]).resize((400, 300)).save(tmp_path / "bad.png")
    script = tmp_path / "judge.py"
    script.write_text(Path(standalone.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", str(script), "detector.onnx", "bad.png"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    found = Detector.load(tmp_path / "detector.onnx").predict(tmp_path / "bad.png")[0]
    assert "defective" in done.stdout
    assert float(done.stdout.split("score ")[1].split(",")[0]) == pytest.approx(
        found.score, abs=1e-3
    )
    with Image.open(tmp_path / "bad.heatmap.png") as heatmap:
        assert heatmap.size == (400, 300)
    assert "import rd4ad" not in script.read_text(encoding="utf-8")


def test_without_arguments_it_says_how_it_is_used():
    done = subprocess.run(
        [sys.executable, standalone.__file__], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "judge.py detector.onnx" in done.stderr
