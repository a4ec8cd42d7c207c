"""How the benchmarks take times, one after another, and where they write their metrics.

With `--quick` they take few rounds, print the ratios and write nothing.
"""

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from rd4ad.benchmark.record import write_record

BENCH = Path(__file__).resolve().parents[1] / "results/bench"
IS_QUICK = "--quick" in sys.argv


def interleaved(
    cases: dict[str, Callable[[], Any]], rounds: int, rest_seconds: float = 0.0
) -> dict[str, list[float]]:
    """Return the seconds of every case, one round after another, so that drift hits all alike.

    Args:
        cases: by name.
        rounds: how often each is run; thrice at most if quick.
        rest_seconds: before every run, until threads of the one before no longer spin.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(min(rounds, 3) if IS_QUICK else rounds):
        for name, run in cases.items():
            sleep(rest_seconds)
            start = perf_counter()
            run()
            seconds[name].append(perf_counter() - start)
    return seconds


def summary(seconds: list[float]) -> dict[str, float]:
    """Return median, minimum and maximum of some seconds, to four digits."""
    told = {"median_s": statistics.median(seconds), "min_s": min(seconds), "max_s": max(seconds)}
    return {name: float(f"{value:.4g}") for name, value in told.items()}


def write(name: str, rows: list[dict[str, Any]], ratios: list[dict[str, Any]], note: str) -> None:
    """Write and print results/bench/<name>.json; see `rd4ad.benchmark.record.write_record`."""
    if IS_QUICK:
        for row in ratios:
            print(f"{row['median']:>7}  {name}: {row['ratio']}")
        return
    print(json.dumps(write_record(BENCH / f"{name}.json", rows, ratios, note), indent=1))
