"""Time one image through every network, each in a process of its own, one round after another.

Random weights: time and memory do not depend on their values. Quality is that of the stored runs.
"""

import resource
import statistics
from multiprocessing import get_context
from multiprocessing.connection import Connection
from time import perf_counter, sleep
from typing import Any

import pandas as pd
from host import BENCH, write

from rd4ad.index import read_index

CASES = (
    ("compact", 256), ("resnet18", 128), ("resnet18", 256), ("resnet50", 256),
    ("wide_resnet50_2", 256),
)  # fmt: skip
ROUNDS = 24
REST_SECONDS = 0.3  # until the threads of the one before no longer spin, waiting for more work


def worker(pipe: Connection, backbone: str, size_px: int) -> None:
    """Hold one network; answer every message with the seconds of one image, whole path."""
    import numpy as np
    import torch

    from rd4ad import Detector, ReverseDistillation
    from rd4ad.scoring import Scoring

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    method = ReverseDistillation(backbone)
    detector = Detector(method, size_px=size_px, scoring=Scoring(), teacher_file={})
    image = np.random.default_rng(0).integers(0, 255, (1, size_px, size_px, 3), np.uint8)
    detector.judge(detector.distances(image))  # the first call allocates
    while pipe.recv():
        began = perf_counter()
        detector.judge(detector.distances(image))
        pipe.send(perf_counter() - began)
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    parameters = sum(p.numel() for p in method.parameters()) / 1e6
    pipe.send((added, parameters, torch.get_num_threads()))


def quality(index: pd.DataFrame, backbone: str, size_px: int) -> dict[str, float | None]:
    """Return the figures of stored runs on MVTec AD, mean over categories and seeds."""
    rows = index[
        index["is_default"] & (index["dataset"] == "MVTec AD") & (index["backbone"] == backbone)
        & (index["size_px"] == size_px)
    ]  # fmt: skip
    names = {"image_auroc": "image_auroc", "pixel_auroc": "pixel_auroc", "aupro": "pro"}
    by_category = rows.groupby(["metric", "category"])["value"].mean().groupby("metric").mean()
    return {name: by_category.get(metric) for metric, name in names.items()}


def main() -> None:
    """Measure and write results/bench/inference.json."""
    context = get_context("spawn")
    pipes = []
    for case in CASES:
        ours, theirs = context.Pipe()
        process = context.Process(target=worker, args=(theirs, *case), daemon=True)
        process.start()
        pipes.append(ours)
    seconds: list[list[float]] = [[] for _ in CASES]
    for _ in range(ROUNDS):
        for pipe, found in zip(pipes, seconds, strict=True):
            sleep(REST_SECONDS)
            pipe.send(True)
            found.append(pipe.recv())
    index = read_index(BENCH.parent)
    rows: list[dict[str, Any]] = []
    n_threads = 0
    for (backbone, size_px), pipe, found in zip(CASES, pipes, seconds, strict=True):
        pipe.send(False)
        added, parameters, n_threads = pipe.recv()
        measured = quality(index, backbone, size_px)
        rows.append(
            {
                "method": "reverse_distillation",
                "backbone": backbone,
                "size_px": size_px,
                "seconds_per_image": round(statistics.median(found), 4),
                "max_s": round(max(found), 4),
                "memory_mb": round(added),
                "params_million": round(parameters, 1),
                "kind": "reproduced",
                **{name: None if v is None else round(v, 4) for name, v in measured.items()},
            }
        )
    base = seconds[2]
    ratios = [
        {
            "ratio": f"{backbone} {size_px} px / resnet18 256 px",
            "median": round(statistics.median(a / b for a, b in zip(found, base, strict=True)), 2),
        }
        for (backbone, size_px), found in zip(CASES, seconds, strict=True)
    ]
    note = (
        f"One image, uint8 to smoothed map and score, {n_threads} threads, float32, median of "
        f"{ROUNDS} interleaved rounds, a process each; memory is what network and image add to it."
        " Figures: mean over the categories of MVTec AD with a stored run, not all fifteen."
    )
    write("inference", rows, ratios, note)


if __name__ == "__main__":
    main()
