"""Teachers by what they cost and what a memory of patches of 30 photos finds with them.

    RD4AD_DATA=... RD4AD_WEIGHTS=... python benchmarks/teacher.py [--quick]

Quality: PatchCore's patches (layers 2 and 3) of the first 30 normal images at 256 px, all of them
kept, so that neither a coreset nor a student stands between teacher and result; image score the
maximum of the smoothed map. Cost: file in megabytes, and milliseconds an image of reverse
distillation with this teacher in ONNX Runtime, interleaved.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from host import interleaved, summary, write

from rd4ad import metrics
from rd4ad.data.folders import open_category
from rd4ad.data.images import read_images
from rd4ad.evaluation.category import read_test
from rd4ad.inference.detector import Detector
from rd4ad.inference.torch_engine import TorchEngine, normalize
from rd4ad.methods.backbones import find_weights, load_teacher
from rd4ad.methods.patchcore import PatchCore, by_row, nearest_distances
from rd4ad.methods.reverse_distillation import ReverseDistillation
from rd4ad.scoring import Scoring, anomaly_maps

TEACHERS = ("compact", "distilled", "resnet18")
CATEGORIES = ("pill", "transistor", "bottle")
SIZE_PX, N_PHOTOS, LAYERS = 256, 30, (2, 3)


@torch.no_grad()
def patches(method: PatchCore, images: Any) -> torch.Tensor:
    """Return the patches (N, P, C) of images (N, S, S, 3)."""
    parts = [
        by_row(method.joined(method.averaged(normalize(images[i : i + 1]))))
        for i in range(len(images))
    ]
    return torch.stack(parts)


def quality(backbone: str, data: Path, category: str) -> dict[str, float]:
    """Return the metrics of a memory of all patches."""
    teacher, _ = load_teacher(backbone)
    method = PatchCore(backbone, LAYERS, teacher=teacher, n_rows=1)
    opened = open_category(data, category)
    normal = read_images([s.path for s in opened.train[:N_PHOTOS]], SIZE_PX).images
    memory = patches(method, normal).flatten(0, 1)
    test, images = read_test(opened, SIZE_PX)
    distances = torch.stack([nearest_distances(one, memory) for one in patches(method, images)])
    side = SIZE_PX // 8
    maps = anomaly_maps({2: distances.view(-1, side, side).numpy()}, Scoring(layers=(2,)), SIZE_PX)
    found = metrics.image_metrics(test.labels, maps.max((1, 2)))
    found |= metrics.pixel_metrics(test.masks, maps)
    return {name: round(found[name], 4) for name in ("image_auroc", "pixel_auroc", "aupro")}


def detector(backbone: str, folder: Path) -> Detector:
    """Return a detector with this teacher and a student of random weights, in ONNX Runtime."""
    torch.manual_seed(0)
    teacher, file = load_teacher(backbone)
    built = Detector(
        TorchEngine(ReverseDistillation(backbone, teacher=teacher)),
        size_px=SIZE_PX, scoring=Scoring(), teacher_file=file,
    )  # fmt: skip
    built.save(folder / f"{backbone}.safetensors")
    return Detector.load(folder / f"{backbone}.safetensors", engine="onnx")


def main() -> None:
    """Write results/bench/teacher.json."""
    data = Path(os.environ["RD4AD_DATA"])
    image = np.random.default_rng(0).integers(0, 256, (1, SIZE_PX, SIZE_PX, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        detectors = {name: detector(name, Path(folder)) for name in TEACHERS}
        cases = {
            name: lambda one=one: one.judge(one.distances(image)) for name, one in detectors.items()
        }
        for run in cases.values():
            run()
        seconds = interleaved(cases, rounds=40)
    rows = []
    for name in TEACHERS:
        cost = {"teacher_mb": round(find_weights(name).stat().st_size / 1e6, 1)}
        cost["detector_ms"] = round(1000 * summary(seconds[name])["median_s"], 1)
        for category in CATEGORIES:
            rows.append(
                {"teacher": name, "category": category} | quality(name, data, category) | cost
            )
    pairs = zip(seconds["distilled"], seconds["resnet18"], strict=True)
    ratio = float(np.median([a / b for a, b in pairs]))
    ratios = [{"ratio": "time of distilled over ResNet-18", "median": round(ratio, 3)}]
    note = (
        f"A memory of all patches of {N_PHOTOS} normal images at {SIZE_PX} px, layers 2 and 3, no "
        "student; detector_ms: one image by reverse distillation, 2 threads, random weights, 40 "
        "interleaved rounds. ResNet-18's file holds conv1 to layer3 in float32."
    )
    write("teacher", rows, ratios, note)


if __name__ == "__main__":
    main()
