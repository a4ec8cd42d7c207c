"""What every benchmark records about where it ran, and how it writes its figures."""

import json
import statistics
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

from rd4ad.evaluation import commit, processor

BENCH = Path(__file__).resolve().parents[1] / "results/bench"


def interleaved(cases: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every case, one round after another, so that drift hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, run in cases.items():
            start = perf_counter()
            run()
            seconds[name].append(perf_counter() - start)
    return seconds


def summary(seconds: list[float]) -> dict[str, float]:
    """Return median, minimum and maximum of some seconds."""
    return {
        "median_s": round(statistics.median(seconds), 5),
        "min_s": round(min(seconds), 5),
        "max_s": round(max(seconds), 5),
    }


def write(name: str, rows: list[dict[str, Any]], ratios: list[dict[str, Any]], note: str) -> None:
    """Write results/bench/<name>.json: rows of figures and ratios between them, with the host."""
    packages = ("numpy", "scipy", "scikit-learn", "torch")
    record = {
        "name": name,
        "note": note,
        "host": processor(),
        "commit": commit(),
        "versions": {"python": sys.version.split()[0]} | {p: version(p) for p in packages},
        "rows": rows,
        "ratios": ratios,
    }
    BENCH.mkdir(parents=True, exist_ok=True)
    (BENCH / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))
