"""Time an image by the detector against the released code's way, and both against the processor.

Everything runs in one process, in turn. The released way is its networks in torch, layer by layer,
then bilinear upsampling of every distance map in torch, their sum, and SciPy's Gaussian.
"""

import rd4ad  # noqa: F401, before NumPy, as in every command: it chooses how NumPy sorts

# isort: split
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import torch
from host import IS_QUICK, interleaved, summary, write
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from rd4ad.data.images import read_image, resize_image
from rd4ad.data.parts import render
from rd4ad.inference.checkpoint import read_checkpoint, sha256
from rd4ad.inference.detector import Detector
from rd4ad.inference.graph import build_graph
from rd4ad.inference.onnx_engine import teacher_tensors
from rd4ad.inference.predict_files import predict_to_folder
from rd4ad.inference.torch_engine import TorchEngine, normalize
from rd4ad.methods.backbones import Teacher, backbone_named
from rd4ad.methods.reverse_distillation import ReverseDistillation
from rd4ad.scoring import Scoring

HOME = Path(__file__).resolve().parents[1]
CASES = (("resnet18", 256), ("resnet18", 128), ("wide_resnet50_2", 256), ("compact", 256))
ROUNDS, REST_SECONDS = 20, 0.2  # at rest, threads of the case before stop spinning
SIDE = 2048  # of the matrices whose product shows what the processor can do
N_FILES, FILE_PX = 24, 1024
LOADS, FOLDERS = (1, 1) if IS_QUICK else (7, 5)

_LOAD = """
import sys, time
import numpy as np
from rd4ad import Detector
began = time.perf_counter()
detector = Detector.load(sys.argv[1], weights=sys.argv[2])
loaded = time.perf_counter() - began
detector.predict(np.zeros((256, 256, 3), np.uint8))
lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(loaded, *(int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")))
"""


def made(home: Path, backbone: str, size_px: int) -> Path:
    """Write a checkpoint of random weights and its teacher's; time does not depend on weights."""
    torch.manual_seed(0)
    file = home / f"{backbone}-random.safetensors"
    if not file.exists():
        save_file(Teacher(backbone_named(backbone)).state_dict(), file)
    method = ReverseDistillation(backbone)
    named = {"name": file.name, "sha256": sha256(file)}
    path = home / f"detector-{backbone}-{size_px}.safetensors"
    engine = TorchEngine(method)
    Detector(engine, size_px=size_px, scoring=Scoring(), teacher_file=named).save(path)
    return path


@torch.no_grad()
def released(method: ReverseDistillation, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the smoothed map of one image (1, S, S, 3) the way that the released code does."""
    given = normalize(images)
    total = np.zeros(given.shape[2:], np.float32)
    for distance in method.distance_maps(given).values():
        grown = F.interpolate(
            distance[:, None], given.shape[-1], mode="bilinear", align_corners=True
        )
        total += grown[0, 0].numpy()
    return gaussian_filter(total, sigma=4)


def operations(path: Path, weights: Path) -> float:
    """Return the floating-point operations of a detector's convolutions for one image."""
    header, tensors = read_checkpoint(path)
    graph = build_graph(header, tensors, teacher_tensors(header, weights))
    known = onnx.shape_inference.infer_shapes(graph).graph
    sides = {
        value.name: value.type.tensor_type.shape.dim[-1].dim_value
        for value in [*known.value_info, *known.output]
    }
    kernels = {tensor.name: tensor.dims for tensor in known.initializer}
    total = 0
    for node in known.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            # of a transposed one, a 2x2 kernel of stride 2, every output pixel is one product
            taps = np.prod(kernels[node.input[1]]) / (4 if node.op_type == "ConvTranspose" else 1)
            total += 2 * int(taps) * sides[node.output[0]] ** 2
    return float(total)


def products() -> dict[str, Any]:
    """Return the ways here to multiply two square matrices of float32."""
    a, b = (np.random.default_rng(i).random((SIDE, SIDE), np.float32) for i in (0, 1))
    c, d = torch.from_numpy(a), torch.from_numpy(b)
    return {"matrix product, NumPy": lambda: a @ b, "matrix product, torch": lambda: c @ d}


def in_a_process_of_its_own(path: Path, weights: Path) -> tuple[float, float, float]:
    """Return the seconds of loading a detector; MiB of the process that has judged, and at most."""
    command = [sys.executable, "-c", _LOAD, path, weights]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    loaded, judged, peak = map(float, said.split())
    return loaded, judged, peak


def from_files(
    name: str, detector: Detector, home: Path, ratios: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the seconds per image of `predict` on files and of judging alone; add their ratio."""
    both = [folder_seconds(detector, home) for _ in range(FOLDERS)]
    files, alone = (list(column) for column in zip(*both, strict=True))
    ratio = {"ratio": f"{name}: predict on {FILE_PX} px PNGs / the images in memory"}
    ratios.append(ratio | {"median": ratio_of(files, alone)})
    return [
        {"case": f"{name}, predict on {FILE_PX} px PNGs"} | summary(files),
        {"case": f"{name}, the same images in memory"} | summary(alone),
    ]


def folder_seconds(detector: Detector, home: Path) -> tuple[float, float]:
    """Return the seconds per image that `predict` takes for files, and of the judging alone."""
    folder = home / "files"
    if not folder.exists():
        folder.mkdir()
        for i in range(N_FILES):
            pixels, _ = render("tile", "crack", i, size_px=FILE_PX)
            Image.fromarray(pixels).save(folder / f"{i:03}.png")
    names = sorted(folder.iterdir())
    resized = np.stack([resize_image(read_image(name), detector.size_px) for name in names])
    began = perf_counter()
    detector.judge(detector.distances(resized))
    alone = perf_counter() - began
    ends: list[float] = []

    def note(stage: str, done: int, total: int) -> None:
        if stage == "predicting":
            ends.append(perf_counter())

    began = perf_counter()
    predict_to_folder(detector, [folder], home / "out", on_progress=note)
    return (ends[-1] - began) / N_FILES, alone / N_FILES


def main() -> None:
    """Measure and write results/bench/inference.json."""
    cases: dict[str, Any] = products()
    flops: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    ratios: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for backbone, size_px in CASES[:2] if IS_QUICK else CASES:
            path, name = made(home, backbone, size_px), f"{backbone} {size_px} px"
            flops[name] = operations(path, home)
            detector = Detector.load(path, weights=home)
            method = Detector.load(path, weights=home, engine="torch").engine.module
            image = np.random.default_rng(0).integers(0, 255, (16, size_px, size_px, 3), np.uint8)
            cases[f"{name}, detector"] = lambda d=detector, x=image: d.judge(d.distances(x[:1]))
            cases[f"{name}, released way"] = lambda m=method, x=image: released(m, x[:1])
            if backbone == "resnet18":
                cases[f"{name}, 16 images"] = lambda d=detector, x=image: d.judge(d.distances(x))
            if (backbone, size_px) == CASES[0]:
                starts = [in_a_process_of_its_own(path, home) for _ in range(LOADS)]
                loaded, judged, peak = (list(column) for column in zip(*starts, strict=True))
                rows += [
                    {"case": f"{name}, load"} | summary(loaded),
                    {"case": f"{name}, process that has judged", "mib": round(max(judged))},
                    {"case": f"{name}, the same at most, while loading", "mib": round(max(peak))},
                ]
                by_one = Detector.load(path, weights=home, n_threads=1)
                ways = {"every core judges": detector, "one core judges": by_one}
                for way, judge in ways.items():
                    rows += from_files(f"{name}, {way}", judge, home, ratios)
        for run in cases.values():
            run()  # the first call allocates
        seconds = interleaved(cases, ROUNDS, REST_SECONDS)
    best = 2 * SIDE**3 / min(min(seconds[name]) for name in products()) / 1e9
    measured = []
    for name, values in seconds.items():
        work = flops.get(name.split(",")[0])
        rate = {"gflop_s": round(work / min(values) / 1e9)} if work and "16" not in name else {}
        if name in products():
            rate = {"gflop_s": round(2 * SIDE**3 / min(values) / 1e9)}
        measured.append({"case": name} | summary(values) | rate)
    for name in flops:
        ours, theirs = seconds[f"{name}, detector"], seconds[f"{name}, released way"]
        share = flops[name] / min(ours) / 1e9 / best
        ratios += [
            {"ratio": f"{name}: released way / detector", "median": ratio_of(theirs, ours)},
            {
                "ratio": f"{name}: detector's rate / matrix product's, best",
                "median": round(share, 2),
            },
        ]
        if f"{name}, 16 images" in seconds:
            many = [value / 16 for value in seconds[f"{name}, 16 images"]]
            ratios.append({"ratio": f"{name}: image of 16 / image", "median": ratio_of(many, ours)})
    note = (
        f"One image from uint8 to smoothed map and score, {torch.get_num_threads()} threads, "
        f"float32, random weights, {ROUNDS} interleaved rounds. gflop_s: of the convolutions alone."
    )
    write("inference", measured + rows, ratios, note)


def ratio_of(one: list[float], other: list[float]) -> float:
    """Return the median over rounds of one case's seconds over another's."""
    return round(statistics.median(a / b for a, b in zip(one, other, strict=True)), 2)


if __name__ == "__main__":
    main()
