"""Every pixel metric of up to 10,000 maps of 256 px, read from a run folder: seconds and memory.

Half of the images have one round defect of about 1% of the picture; distance maps are noise with a
bump where the defect is. Each number of images has a process of its own, which reads the run,
computes its maps as they are asked for, and gives all metrics with every definition of PRO.
"""

import rd4ad  # noqa: F401, before NumPy, as in every command: it chooses how NumPy sorts

# isort: split
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from host import write

from rd4ad.machine import memory_bytes
from rd4ad.metrics.category import DEFINITIONS, category_metrics
from rd4ad.runs.rescoring import own_scoring
from rd4ad.runs.run import CURVE_COLUMNS, IMAGE_COLUMNS, METRIC_COLUMNS
from rd4ad.runs.store import RECORD_KEYS, read_run, write_run
from rd4ad.scoring import StreamedMaps, scores

COUNTS, SIZE_PX = (1_000, 3_000, 10_000), 256


def written(results: Path, count: int) -> Path:
    """Write a run of so many images and return its folder."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    masks = np.zeros((count, SIZE_PX, SIZE_PX), bool)
    distances = {
        layer: rng.random((count, side, side), np.float32)
        for layer, side in ((1, 64), (2, 32), (3, 16))
    }
    labels = np.arange(count) % 2
    for place in np.flatnonzero(labels):
        row, column = rng.integers(20, SIZE_PX - 20, 2)
        masks[place] = (y - row) ** 2 + (x - column) ** 2 < 15**2
        for layer, stack in distances.items():
            step = SIZE_PX // stack.shape[1]
            stack[place, row // step, column // step] += 1 + layer * rng.random()
    scoring = {"layers": "1+2+3", "fusion": "sum", "sigma_px": 4.0, "score": "max"}
    record = dict.fromkeys(RECORD_KEYS, "") | {
        "run_id": f"many-{count}", "scoring": scoring, "config": {}, "versions": {},
        "size_px": SIZE_PX, "method": "reverse_distillation",
    }  # fmt: skip
    metrics = pd.DataFrame(
        [("1+2+3", "sum", 4.0, "pixel_auroc", "exact", 0.5, 0.4, 0.6, "")], columns=METRIC_COLUMNS
    )
    images = pd.DataFrame(
        {"image": [f"test/{i:05}.png" for i in range(count)], "defect_type": "bump",
         "label": labels, "score": 0.0}
    )[list(IMAGE_COLUMNS)]  # fmt: skip
    curves = pd.DataFrame([("image_roc", 0.0, 0.0, 0.0)], columns=CURVE_COLUMNS)
    return write_run(results, record, metrics, images, curves, distances, masks, bits=14).path


def measure(folder: Path) -> None:
    """Print what the metrics of a run take, as JSON; of a process of its own."""
    before = memory_bytes("VmHWM")
    began = perf_counter()
    run = read_run(folder)
    scoring, labels = own_scoring(run), run.images()["label"].to_numpy()
    distances, masks = run.distances(), run.masks()
    read = perf_counter() - began
    maps = StreamedMaps(distances, scoring, SIZE_PX)
    image_scores = scores(distances, scoring, SIZE_PX, maps)
    rows = category_metrics(maps, image_scores, labels, masks)
    assert len(rows) == len(DEFINITIONS)
    assert all(row["value"] == row["value"] for row in rows)
    told = {
        "read_s": round(read, 1),
        "metrics_s": round(perf_counter() - began - read, 1),
        "peak_MiB": round(memory_bytes("VmHWM") / 2**20),
        "imports_MiB": round(before / 2**20),
        "aupro": round(next(row["value"] for row in rows if row["metric"] == "aupro"), 6),
    }
    print(json.dumps(told))


def main() -> None:
    """Write results/bench/many_maps.json."""
    counts = COUNTS if len(sys.argv) == 1 else tuple(map(int, sys.argv[1:]))
    rows = []
    for count in counts:
        with tempfile.TemporaryDirectory() as home:
            folder = written(Path(home), count)
            command = [sys.executable, __file__, "--of", str(folder)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append({"maps": count} | json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1])
    if counts == COUNTS:
        last, first = rows[-1], rows[0]
        ratio = last["metrics_s"] / first["metrics_s"] * COUNTS[0] / COUNTS[-1]
        ratios = [{"ratio": "seconds a map, 10,000 maps / 1,000 maps", "median": round(ratio, 2)}]
        write("many_maps", rows, ratios, " ".join((__doc__ or "").split()))


if __name__ == "__main__":
    if "--of" in sys.argv:
        measure(Path(sys.argv[-1]))
    else:
        main()
