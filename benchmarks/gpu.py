"""Time inference and training on a GPU, against what its matrix products show it can do.

Everything runs in one process, in turn. Weights are random: time does not depend on them.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from host import interleaved, summary, write
from inference import folder_seconds, made, operations
from training import BATCH, CachedStep, plain

from rd4ad.inference.checkpoint import read_checkpoint
from rd4ad.inference.detector import Detector
from rd4ad.inference.torch_engine import Replay, load_engine
from rd4ad.scoring import Scoring

BACKBONES, SIZE_PX = ("resnet18", "wide_resnet50_2"), 256
BATCHES, ROUNDS = (1, 16, 64), 15
SIDE = 8192  # of the matrices whose product shows what the GPU can do
AT_ONCE_S = 0.02  # a case is repeated until one measurement takes about as long


def synchronous(run: Callable[[], Any]) -> Callable[[], float]:
    """Return what takes the seconds of one run, of as many as make the clock's error small."""

    def several(times: int) -> float:
        torch.cuda.synchronize()
        began = perf_counter()
        for _ in range(times):
            run()
        torch.cuda.synchronize()
        return (perf_counter() - began) / times

    several(3)  # first calls allocate
    times = max(1, round(AT_ONCE_S / several(1)))
    return lambda: several(times)


def product(dtype: torch.dtype, tf32: bool) -> Callable[[], Any]:
    """Return what multiplies two square matrices."""
    a, b = (torch.randn(SIDE, SIDE, device="cuda").to(dtype) for _ in range(2))

    def run() -> None:
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a @ b
        torch.backends.cuda.matmul.allow_tf32 = False

    return run


def judging(
    home: Path, backbone: str, images: np.ndarray[Any, Any]
) -> dict[tuple[str, str], Callable[[], Any]]:
    """Return what judges images, by what it does and which products it uses."""
    header, tensors = read_checkpoint(made(home, backbone, SIZE_PX))
    given = torch.from_numpy(images).cuda()
    cases: dict[tuple[str, str], Callable[[], Any]] = {}
    for kind in ("tf32", "float16"):
        engine = load_engine(
            header | {"float16": kind == "float16"}, tensors, "", weights=home, device="cuda"
        )
        detector = Detector(engine, size_px=SIZE_PX, scoring=Scoring(), teacher_file={})
        recorded = Replay(engine.computed, tuple(given.shape), given.device)
        cases["networks, one call a kernel", kind] = partial(engine.computed, given)
        cases["networks, as recorded", kind] = recorded.replay
        cases["detector, NumPy to NumPy", kind] = partial(judged, detector, images)
    return cases


def judged(detector: Detector, images: np.ndarray[Any, Any]) -> Any:
    """Return what a detector says of images."""
    return detector.judge(detector.distances(images))


def main() -> None:
    """Measure and write results/bench/gpu.json."""
    if not torch.cuda.is_available():
        sys.exit("torch sees no GPU here")
    rows: list[dict[str, Any]] = []
    ratios: list[dict[str, Any]] = []
    products = {
        "tf32": synchronous(product(torch.float32, True)),
        "float16": synchronous(product(torch.float16, False)),
        "bfloat16": synchronous(product(torch.bfloat16, False)),
    }
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for backbone in BACKBONES:
            flops = operations(made(home, backbone, SIZE_PX), home)
            for n_images in BATCHES:
                images = np.random.default_rng(0).integers(
                    0, 255, (n_images, SIZE_PX, SIZE_PX, 3), np.uint8
                )
                cases = judging(home, backbone, images)
                runs = {key: synchronous(run) for key, run in cases.items()} | {
                    ("matrix product", kind): run for kind, run in products.items()
                }
                seconds = measured(runs)
                for (name, kind), values in seconds.items():
                    if name == "matrix product":
                        continue
                    peak = 2 * SIDE**3 / min(seconds["matrix product", kind])
                    rows.append(
                        {"case": f"{backbone}, {name}, {kind}, batch {n_images}"}
                        | summary([value / n_images for value in values])
                        | {
                            "images_s": round(n_images / statistics.median(values)),
                            "of_its_limit": round(flops * n_images / min(values) / peak, 3),
                        }
                    )
                ratios += told(seconds, f"{backbone}, batch {n_images}")
            rows += steps(backbone, ratios)
        path = made(home, "resnet18", SIZE_PX)
        detector = Detector.load(path, weights=home, device="cuda")
        detector.predict(images[0])
        files, alone = folder_seconds(detector, home)
        rows += [
            {"case": "resnet18, predict on 1024 px PNGs", "median_s": round(files, 5)},
            {"case": "resnet18, the same images in memory", "median_s": round(alone, 5)},
        ]
    name = torch.cuda.get_device_name()
    peaks = ", ".join(
        f"{2 * SIDE**3 / min(run() for _ in range(3)) / 1e12:.0f} ({kind})"
        for kind, run in products.items()
    )
    note = (
        f"GPU: {name}; TFLOP/s of its matrix products: {peaks}. {SIZE_PX} px, seconds per image, "
        f"random weights, {ROUNDS} interleaved rounds. tf32: float32 whose convolutions multiply "
        "19 bits, torch's default. of_its_limit: operations of the convolutions over the rate of "
        "the matrix product of that kind, both at their best. A step: 16 images, forward, "
        "backward, optimizer; as trained here: kept features, recorded forward and backward pass."
    )
    write("gpu", rows, ratios, note)


def measured(runs: dict[Any, Callable[[], float]]) -> dict[Any, list[float]]:
    """Return the seconds of each, one round after another."""
    found: dict[Any, list[float]] = {key: [] for key in runs}
    interleaved(
        {key: lambda key=key, run=run: found[key].append(run()) for key, run in runs.items()},
        ROUNDS,
    )
    return found


def told(seconds: dict[Any, list[float]], where: str) -> list[dict[str, Any]]:
    """Return what a recording and float16 bring."""
    plain_name, recorded, whole = (
        "networks, one call a kernel", "networks, as recorded", "detector, NumPy to NumPy",
    )  # fmt: skip
    pairs = {
        "one call a kernel / recorded, tf32": ((plain_name, "tf32"), (recorded, "tf32")),
        "tf32 / float16, recorded": ((recorded, "tf32"), (recorded, "float16")),
        "tf32 / float16, detector": ((whole, "tf32"), (whole, "float16")),
    }
    return [
        {
            "ratio": f"{where}: {name}",
            "median": round(
                statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True)),
                2,
            ),
        }
        for name, (one, other) in pairs.items()
    ]


def steps(backbone: str, ratios: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the seconds per image of a training step, and add how they compare."""
    images = torch.randn(BATCH, 3, SIZE_PX, SIZE_PX, device="cuda")
    seconds = measured(
        {
            "plain loop": synchronous(plain(backbone, images)),
            "as trained here": synchronous(CachedStep(backbone, images)),
            "as trained here, bfloat16": synchronous(CachedStep(backbone, images, "bfloat16")),
        }
    )
    for name, values in list(seconds.items())[1:]:
        pairs = zip(seconds["plain loop"], values, strict=True)
        ratios.append(
            {
                "ratio": f"{backbone}, a step: plain loop / {name}",
                "median": round(statistics.median(a / b for a, b in pairs), 2),
            }
        )
    return [
        {"case": f"{backbone}, a step, {name}"}
        | summary([value / BATCH for value in values])
        | {"images_s": round(BATCH / statistics.median(values))}
        for name, values in seconds.items()
    ]


if __name__ == "__main__":
    main()
