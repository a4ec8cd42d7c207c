"""Write docs/SCALE.md from results/bench; `--check` only compares.

It says what a full study costs, reckoned from the cells that `rd4ad bench` measured.
"""

import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from rd4ad.catalogue import METHODS, NO_BACKBONE, entry_of, title_of
from rd4ad.config import TrainingConfig
from rd4ad.metrics.category import scoring_grid

HOME = Path(__file__).resolve().parents[1]
TARGET = HOME / "docs/SCALE.md"
BENCH = HOME / "results/bench"
BACKBONES = ("resnet18", "resnet50", "wide_resnet50_2")
SIZES_PX = (256, 128)
N_SEEDS, N_NODES, N_GPUS = 3, 100, 8
FASTER = (10, 30, 100, 300)
"""How many times as fast as the host a GPU may be: of most methods that was not measured."""
Case = tuple[str, str, int]
"""Method, backbone, size."""


@dataclass(frozen=True)
class Cost:
    """What a case takes on the host, and whether that was measured or scaled."""

    fit_seconds: float  # an image of training
    judge_seconds: float  # an image of the test set, without metrics
    is_measured: bool


def record_named(name: str) -> dict[str, Any]:
    """Return a record of results/bench."""
    found: dict[str, Any] = json.loads((BENCH / f"{name}.json").read_text())
    return found


def measured() -> dict[Case, Cost]:
    """Return the cases that were measured."""
    return {
        (row["method"], row["backbone"], row["size_px"]): Cost(
            row["fit_seconds"] / row["fit_images"], row["seconds_per_image"], is_measured=True
        )
        for path in sorted(BENCH.glob("methods*.json"))
        for row in json.loads(path.read_text())["rows"]
    }


def costs() -> dict[Case, Cost]:
    """Return every case's cost, measured or scaled."""
    known = measured()
    found = {}
    for method, size_px in product(METHODS, SIZES_PX):
        for backbone in backbones_of(method):
            case = method, backbone, size_px
            found[case] = known.get(case) or scaled(known, method, backbone, size_px)
    return found


def backbones_of(method: str) -> tuple[str, ...]:
    """Return the backbones that a study runs a method with."""
    own = entry_of(method).backbones
    return own if own == (NO_BACKBONE,) else BACKBONES


def scaled(known: dict[Case, Cost], method: str, backbone: str, size_px: int) -> Cost:
    """Return a cost that was not measured, by what the backbone costs RD4AD at 256 px."""
    base, ours = (
        known[method, BACKBONES[0], size_px],
        known["reverse_distillation", BACKBONES[0], 256],
    )
    other = known["reverse_distillation", backbone, 256]
    return Cost(
        base.fit_seconds * other.fit_seconds / ours.fit_seconds,
        base.judge_seconds * other.judge_seconds / ours.judge_seconds,
        is_measured=False,
    )


def metric_seconds(method: str, size_px: int) -> float:
    """Return the seconds for all metrics of one test image, at every scoring of a run."""
    rows = {row["case"]: row.get("median_s") for row in record_named("metrics")["rows"]}
    once = rows["AUROC, AP, F1-max and PRO, 100 images"] + rows["released PRO, 100 images"]
    config, entry = TrainingConfig(method=method, size_px=size_px), entry_of(method)
    n_scorings = len(list(scoring_grid(config.scoring(), entry.map_layers(entry.layers), size_px)))
    return float(once / 100 * (size_px / 256) ** 2 * n_scorings)


def cells(prices: dict[Case, Cost]) -> Iterator[dict[str, Any]]:
    """Yield one training with all its scorings for every case and category, of one seed."""
    counts = pd.read_csv(HOME / "results/published/datasets.csv")
    for row in counts[counts["dataset"] == "MVTec AD"].to_dict("records"):
        n_test = row["test_good"] + row["test_defective"]
        for (method, backbone, size_px), cost in prices.items():
            judged = n_test * (cost.judge_seconds + metric_seconds(method, size_px))
            yield {
                "method": method, "backbone": backbone, "size_px": size_px,
                "category": row["category"], "is_measured": cost.is_measured,
                "hours": (row["train_good"] * cost.fit_seconds + judged) / 3600,
            }  # fmt: skip


def megabytes() -> dict[tuple[str, int], float]:
    """Return the median size of the stored run folders of MVTec AD by method and size."""
    sizes: dict[tuple[str, int], list[float]] = {}
    for path in (HOME / "results/runs").glob("*/run.json"):
        run = json.loads(path.read_text())
        if run["dataset"] == "MVTec AD":
            size = sum(file.stat().st_size for file in path.parent.iterdir()) / 1e6
            sizes.setdefault((run["method"], run["size_px"]), []).append(size)
    return {case: statistics.median(found) for case, found in sizes.items()}


def gpu_ratios() -> str:
    """Return how many times as long a training takes on the host as its steps on the GPU."""
    steps = {row["case"]: row["median_s"] for row in record_named("gpu")["rows"]}
    epochs = entry_of("reverse_distillation").epochs
    found = []
    for backbone in (BACKBONES[0], BACKBONES[-1]):
        here = measured()["reverse_distillation", backbone, 256].fit_seconds / epochs
        there = steps[f"{backbone}, a step, as trained here"]
        found.append(f"1/{here / there:.0f} ({backbone})")
    return " and ".join(found)


def hours(value: float) -> str:
    """Return a duration in words.

    >>> hours(0.02), hours(30.2), hours(500)
    ('1 min', '30 h', '21 days')
    """
    if value < 1:
        return f"{value * 60:.0f} min" if value * 60 >= 1 else "under 1 min"
    return f"{value:.0f} h" if value < 72 else f"{value / 24:,.0f} days"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def by_method(study: pd.DataFrame) -> str:
    """Return what the fifteen categories take with one seed: a row a method, a column a case."""
    cases = {case: rows for case, rows in study.groupby(["method", "backbone", "size_px"])}

    def cell(method: str, backbone: str, size_px: int) -> str:
        rows = cases.get((method, backbone, size_px))
        if rows is None:
            return ""
        return hours(rows["hours"].sum()) + ("" if rows["is_measured"].all() else " *")

    columns = [(backbone, px) for px in SIZES_PX for backbone in (NO_BACKBONE, *BACKBONES)]
    body = [
        [title_of(method), *(cell(method, *column) for column in columns)] for method in METHODS
    ]
    names = [
        ("no backbone" if backbone == NO_BACKBONE else backbone) + f", {px} px"
        for backbone, px in columns
    ]
    return table(["", *names], body)


def machines(studies: dict[str, pd.DataFrame]) -> str:
    """Return how long studies take on the host, on a hundred of it and on eight GPUs."""
    over = 1 + max(
        row["after_start_s"] / row["ideal_s"] - 1 for row in record_named("cluster")["rows"]
    )
    rows = []
    for name, study in studies.items():
        total, longest = study["hours"].sum() * N_SEEDS, study["hours"].max()
        rows.append(
            [
                name,
                f"{len(study) * N_SEEDS:,}",
                hours(total),
                hours(max(total * over / N_NODES, longest)),
                *(hours(max(total / N_GPUS, longest) / faster) for faster in FASTER),
            ]
        )
    head = ["study", "trainings", "one such host", f"{N_NODES} such nodes"]
    return table([*head, *(f"{N_GPUS} GPUs, each {x} × as fast" for x in FASTER)], rows)


PAGE = """# What a full study costs

Generated by `python benchmarks/study.py` from results/bench; not by hand. The study: the 15
categories of MVTec AD, {n_methods} methods, {n_backbones} backbones, {n_sizes} resolutions,
{n_seeds} seeds. Layer sets and fusions cost no training: every run scores all of them from its
distance maps. No such study has been run. This reckons it from what was measured on one host
({host}): seconds of a fit and of an image by `rd4ad bench`, of metrics by
benchmarks/metrics.py, and what an engine adds by benchmarks/cluster.py. Images are counted in
results/published/datasets.csv; every method has its paper's epochs.

## One seed of all fifteen categories, by method

{by_method}

\\* not measured: what it costs with ResNet-18, times the ratio of the backbones for RD4AD at
256 px. So it is for {n_scaled} of {n_cases} cases.

## {n_seeds} seeds, by machine

{machines}

A node or GPU works on one training at a time, so no study ends before its longest training,
which takes {longest} on the host. A cluster's overhead is the larger of the two measured. On a GPU
RD4AD's training step alone was measured (benchmarks/gpu.py, 256 px, float32):
on one {gpu} it takes {ratios}
of the host's seconds. Other methods gain otherwise, and metrics are computed on the processor:
take the column that fits yours.

## Disk

A run folder with its distance maps takes, in MB (median of those stored):
{sizes}.
A checkpoint takes what the column disk_mb of BENCHMARKS.md says.
"""


def page() -> str:
    """Return the whole page."""
    study = pd.DataFrame(cells(costs()))
    ours = study[study["method"] == "reverse_distillation"]
    studies = {
        "all of it": study,
        "methods that fit in one pass": study[
            study["method"].map(lambda method: entry_of(method).epochs == 0)
        ],
        "RD4AD, all backbones and sizes": ours,
        "RD4AD, ResNet-18 at 128 px": ours[
            (ours["backbone"] == BACKBONES[0]) & (ours["size_px"] == 128)
        ],
    }
    n_categories = study["category"].nunique()
    return PAGE.format(
        n_methods=len(METHODS),
        n_backbones=len(BACKBONES),
        n_sizes=len(SIZES_PX),
        n_seeds=N_SEEDS,
        host=record_named("methods")["host"],
        by_method=by_method(study),
        n_scaled=(~study["is_measured"]).sum() // n_categories,
        n_cases=len(study) // n_categories,
        machines=machines(studies),
        longest=hours(study["hours"].max()),
        gpu=record_named("gpu")["note"].partition(": ")[2].partition(";")[0],
        ratios=gpu_ratios(),
        sizes=",\n".join(
            f"{title_of(method)} {size_px} px {found:.1f}"
            for (method, size_px), found in sorted(megabytes().items())
        ),
    )


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(TARGET.read_text() != page())
    TARGET.write_text(page())
