"""Teaching: seconds until a detector is there, and what more photos buy.

    python benchmarks/teach.py                 times, on generated parts
    RD4AD_DATA=... python benchmarks/teach.py photos   what more photos buy, on MVTec AD

The second writes results/teach/photos.csv: a memory of 5, 10, 20, ... normal images, three draws
each, evaluated on the whole test set. No test image chooses anything.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from host import BENCH, interleaved, summary, write
from numpy.typing import NDArray

from rd4ad import metrics
from rd4ad.data.folders import open_category
from rd4ad.data.parts import render
from rd4ad.evaluation.category import read_test
from rd4ad.home import commit
from rd4ad.scoring import Maps
from rd4ad.teach.lesson import first_lesson
from rd4ad.teach.memory import Recipe
from rd4ad.teach.photos import Photo, photo_of, read_photos
from rd4ad.teach.threshold import Threshold

COUNTS = (5, 10, 20, 30, 60, 120)
CATEGORIES = ("pill", "transistor", "bottle")
DRAWS = 3
TIMED = (30, 200)
OUT = BENCH.parent / "teach" / "photos.csv"


def once(photos: list[Photo]) -> dict[str, float]:
    """Return the seconds until the first heatmap is known and until all is."""
    began, first = time.perf_counter(), 0.0

    def seen(indices: NDArray[np.int64], maps: Maps, threshold: Threshold) -> None:
        nonlocal first
        first = first or time.perf_counter() - began

    first_lesson(photos, on_scores=seen)
    return {"first heatmap": first, "whole lesson": time.perf_counter() - began}


def times() -> None:
    """Write results/bench/teach.json."""
    photos = [
        photo_of(f"{i}.png", render("nut", "good", i, split="train")[0]) for i in range(max(TIMED))
    ]
    once(photos[:6])
    taken: dict[int, list[dict[str, float]]] = {count: [] for count in TIMED}
    cases = {
        str(count): lambda count=count: taken[count].append(once(photos[:count])) for count in TIMED
    }
    interleaved(cases, rounds=5)
    rows = [
        {"case": f"{count} photos, {part}"} | summary([one[part] for one in taken[count]])
        for count in TIMED
        for part in ("first heatmap", "whole lesson")
    ]
    few, many = ([one["whole lesson"] for one in taken[count]] for count in TIMED)
    ratio = float(np.median([a / b for a, b in zip(many, few, strict=True)]))
    name = f"whole lesson of {TIMED[1]} photos over {TIMED[0]}"
    note = "Photos of 256 px in memory, process warm, two threads, five interleaved rounds."
    write("teach", rows, [{"ratio": name, "median": round(ratio, 2)}], note)


def measured(photos: list[Photo], test: Any, images: Any) -> dict[str, float]:
    """Return what a memory of some photos makes of a test set, with the threshold's promise."""
    lesson = first_lesson(photos)
    with tempfile.TemporaryDirectory() as folder:
        detector = lesson.save(Path(folder) / "a.safetensors")
        found = detector.judge(detector.distances(images))
    scores = np.array([one.score for one in found])
    normal = scores[test.labels == 0]
    values = metrics.image_metrics(test.labels, scores)
    values |= metrics.pixel_metrics(test.masks, np.stack([one.anomaly_map for one in found]))
    above = scores > lesson.threshold.value
    return {
        "image_auroc": values["image_auroc"],
        "pixel_auroc": values["pixel_auroc"],
        "aupro": values["aupro"],
        "painted_image_auroc": lesson.appraisal.image_auroc,
        "painted_pixel_auroc": lesson.appraisal.pixel_auroc,
        "held_out_fall": lesson.growth.fall,
        "rate_asked": lesson.threshold.rate,
        "rate_at_most": lesson.threshold.at_most,
        "n_normal": len(normal),
        "n_false_alarms": int(above[test.labels == 0].sum()),
        "share_found": float(above[test.labels == 1].mean()),
    }


def photos() -> None:
    """Write results/teach/photos.csv, a row a category, number of photos and draw."""
    data, recipe, rows = Path(os.environ["RD4AD_DATA"]), Recipe(), []
    for category in CATEGORIES:
        opened = open_category(data, category)
        test, images = read_test(opened, recipe.size_px)
        everything, _ = read_photos(data / category / "train" / "good", recipe.size_px)
        for count in (*COUNTS, len(everything)):
            for draw in range(DRAWS if count < len(everything) else 1):
                rng = np.random.default_rng([draw, count])
                order = (
                    np.arange(len(everything)) if draw == 0 else rng.permutation(len(everything))
                )
                drawn = [everything[i] for i in sorted(order[:count])]
                row = {"category": category, "n_photos": count, "draw": draw}
                rows.append(row | measured(drawn, test, images))
                print(
                    {key: round(v, 4) if isinstance(v, float) else v for key, v in rows[-1].items()}
                )
    table = pd.DataFrame(rows).assign(
        dataset="MVTec AD", backbone=recipe.backbone, size_px=recipe.size_px,
        layers="+".join(map(str, recipe.layers)), commit=commit(),
    )  # fmt: skip
    OUT.parent.mkdir(exist_ok=True)
    table.round(6).to_csv(OUT, index=False)


if __name__ == "__main__":
    photos() if sys.argv[1:] == ["photos"] else times()
