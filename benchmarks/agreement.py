"""How far this code is from the released code and from MVTec's evaluation, on golden values.

The golden values are not part of the project: `python benchmarks/agreement.py REFERENCE` reads them
from a folder with golden_<backbone>.npz, golden_metrics.npz and .json, and weights.py, which gives
the weights that the golden values were computed with.
"""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from host import write

from rd4ad.inference.torch_engine import normalize
from rd4ad.methods.backbones import fill_module
from rd4ad.methods.reverse_distillation import ReverseDistillation
from rd4ad.metrics import aupro, image_auroc, pixel_auroc
from rd4ad.scoring import Scoring, scores

BACKBONES = ("resnet18", "resnet50", "wide_resnet50_2")
SIZE_PX = 64


def module_at(path: Path) -> ModuleType:
    """Return a Python file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def networks(reference: Path, backbone: str) -> list[dict[str, Any]]:
    """Return the largest differences of distance maps and scores, with the golden weights."""
    weights = module_at(reference / "weights.py")
    method = ReverseDistillation(backbone)
    fill_module(method.teacher, weights.state_dict(backbone, "teacher"), "golden teacher")
    fill_module(method.bottleneck, weights.state_dict(backbone, "bn"), "golden bottleneck")
    fill_module(method.student, weights.state_dict(backbone, "decoder"), "golden student")
    golden = np.load(reference / f"golden_{backbone}.npz")
    with torch.no_grad():
        found = method.eval().distance_maps(normalize(golden["images"]))
    distances = {layer: stack.numpy() for layer, stack in found.items()}
    n_images = len(golden["images"])
    of_maps = max(
        float(np.abs(distances[layer][i] - golden[f"distance_{layer}_{i}"]).max())
        for layer in distances
        for i in range(n_images)
    )
    ours = scores(distances, Scoring(), SIZE_PX)
    of_scores = max(abs(float(ours[i] - golden[f"score_max_{i}"])) for i in range(n_images))
    return [row(f"distance maps, {backbone}", of_maps), row(f"image score, {backbone}", of_scores)]


def row(quantity: str, difference: float) -> dict[str, Any]:
    """Return what is stored of one quantity."""
    return {"quantity": quantity, "largest_difference": float(f"{difference:.2g}")}


def evaluation(reference: Path) -> list[dict[str, Any]]:
    """Return the largest differences of metrics from those of the original programs."""
    golden = json.loads((reference / "golden_metrics.json").read_text())
    apart: dict[str, float] = {}
    with np.load(reference / "golden_metrics.npz") as arrays:
        for name, told in golden.items():
            masks, maps = arrays[f"{name}_masks"], arrays[f"{name}_maps"]
            ours = {f"aupro_{limit}": aupro(masks, maps, limit) for limit in (0.3, 0.05, 1.0)}
            ours["pixel_auroc"] = pixel_auroc(masks, maps)
            labels = masks.any((1, 2)).astype(int)
            ours["image_auroc"] = image_auroc(labels, maps.max((1, 2)))
            for metric, value in ours.items():
                apart[metric] = max(apart.get(metric, 0.0), abs(value - told[metric]))
    pro = max(value for name, value in apart.items() if name.startswith("aupro"))
    return [
        row("PRO, MVTec's evaluation code", pro),
        row("pixel AUROC, scikit-learn", apart["pixel_auroc"]),
        row("image AUROC, scikit-learn", apart["image_auroc"]),
    ]


def main() -> None:
    """Compare and write results/bench/agreement.json."""
    reference = Path(sys.argv[1])
    rows = [one for backbone in BACKBONES for one in networks(reference, backbone)]
    note = (
        "Largest absolute difference from golden values: hq-deng/RD4AD at commit 6554076 with the "
        f"same weights and two images of {SIZE_PX} px; MVTec's evaluation code and scikit-learn on "
        "four sets of masks and maps, with and without ties."
    )
    write("agreement", rows + evaluation(reference), [], note)


if __name__ == "__main__":
    main()
