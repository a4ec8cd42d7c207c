"""Time and weigh the index and the pages that read it with 10,000 and 100,000 stored runs.

The runs are made up: settings of a large study, metrics by chance, and as files the links to those
of one stored run. With a number as argument that many runs are looked at, and nothing is written.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from host import write

from rd4ad.catalogue import METHODS
from rd4ad.metrics.category import DEFINITIONS
from rd4ad.runs.index import SCHEMA, update_index, write_index
from rd4ad.runs.published import OBJECTS, TEXTURES
from rd4ad.runs.store import run_id

HOME = Path(__file__).resolve().parents[1]
MOST_LINKS = 50_000  # to a file, of ext4 65,000
PAGES = ("app.py", "pages/category.py", "pages/ablations.py", "pages/threshold.py")
SCORINGS = [
    (layers, fusion)
    for layers in ("1", "2", "3", "1+2", "1+3", "2+3", "1+2+3")
    for fusion in (("sum", "product") if "+" in layers else ("sum",))
]

_TIMES = r"""
import re, statistics, time
from pathlib import Path
from streamlit.testing.v1 import AppTest
explorer = AppTest.from_file({app!r}, default_timeout=120)
for page in {pages!r}:
    began = time.perf_counter()
    explorer.run() if page == "app.py" else explorer.switch_page(page).run()
    first = time.perf_counter() - began
    seconds = []
    for _ in range(7):
        began = time.perf_counter()
        explorer.run()
        seconds.append(time.perf_counter() - began)
    assert not explorer.exception, explorer.exception
    print(page, first, statistics.median(seconds), max(seconds))
# Not ru_maxrss: a process takes it over from the one that started it, which made the runs.
peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
print("memory", int(peak.group(1)) / 1024)
"""


def settings(n: int) -> list[dict[str, Any]]:
    """Return the settings of `n` runs; the longer the list, the more schedules and seeds."""
    axes = {
        "seed": range(max(3, n // 5000)),
        "epochs": (200, 100, 50, 25, 10),
        "category": TEXTURES + OBJECTS,
        "method": METHODS,
        "backbone": ("resnet18", "wide_resnet50_2", "compact"),
        "size_px": (256, 128),
    }
    rows = islice(product(*axes.values()), n)
    return [dict(zip(axes, row, strict=True)) | {"dataset": "MVTec AD"} for row in rows]


def rows_of(runs: list[dict[str, Any]]) -> pa.Table:
    """Return the index's rows of runs with metrics by chance, better with larger networks."""
    k, rng = len(SCORINGS), np.random.default_rng(0)
    each = np.repeat(np.arange(len(runs)), k)
    scoring = np.tile(np.arange(k), len(runs))
    is_default = scoring == k - 2
    columns: dict[str, Any] = {
        name: pa.array([run[name] for run in runs]).take(pa.array(each))
        for name in ("run_id", "method", "dataset", "category", "backbone", "size_px", "seed")
    }
    columns["epochs"] = np.array([float(run["epochs"]) for run in runs])[each]
    columns["variant"] = pa.array([""]).take(pa.array(np.zeros(len(each), int)))
    for i, name in enumerate(("layers", "fusion")):
        columns[name] = pa.array([one[i] for one in SCORINGS]).take(pa.array(scoring))
    columns |= {"smoothing": np.full(len(each), 4.0), "is_default": is_default}
    for metric in DEFINITIONS:
        value = np.clip(rng.normal(0.95, 0.02, len(each)), 0, 1)
        columns[metric] = value
        for end, far in (("ci_low", -0.01), ("ci_high", 0.01)):
            columns[f"{metric}_{end}"] = pa.array(value + far, mask=~is_default)
    return pa.table({name: columns[name] for name in SCHEMA.names}, SCHEMA)


def make(results: Path, n: int) -> None:
    """Write `n` run folders and their index below `results`, beside the published metrics."""
    shutil.copytree(HOME / "results/published", results / "published")
    source = next(path for path in sorted((HOME / "results/runs").iterdir()) if path.is_dir())
    record = json.loads((source / "run.json").read_text())
    runs = settings(n)
    for number, run in enumerate(runs):
        if number % MOST_LINKS == 0:  # links need one file system
            linked = shutil.copytree(source, results / f"linked{number}")
            files = [path for path in linked.iterdir() if path.name != "run.json"]
        run["run_id"] = run_id(run | {"config": run["epochs"]})
        folder = results / "runs" / run["run_id"]
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(record | run))
        for path in files:
            (folder / path.name).hardlink_to(path)
    write_index(results, rows_of(runs))


def page_times(results: Path, n: int) -> list[dict[str, Any]]:
    """Return the seconds that the server needs for a page, first and again, and its memory."""
    code = _TIMES.format(app=str(HOME / "app.py"), pages=PAGES)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=True,
        env=os.environ | {"RD4AD_RESULTS": str(results)},
    )  # fmt: skip
    rows: list[dict[str, Any]] = []
    for line in done.stdout.splitlines():
        name, *numbers = line.split()
        if name == "memory":
            rows.append({"runs": n, "case": "memory after them", "mib": round(float(numbers[0]))})
            continue
        first, median, worst = (round(float(number), 3) for number in numbers)
        row = {"runs": n, "case": f"page {name}, server", "first_s": first}
        rows.append(row | {"median_s": median, "max_s": worst})
    return rows


def index_times(results: Path, n: int) -> dict[str, Any]:
    """Return the seconds of `rd4ad results index` after one more run, median of five."""
    seconds = []
    one = next((results / "runs").iterdir())
    for number in range(5):
        name = f"{one.name}-more{number}"
        shutil.copytree(one, results / "runs" / name)
        path = results / "runs" / name / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"run_id": name}))
        began = time.perf_counter()
        assert update_index(results).n_read == 1
        seconds.append(time.perf_counter() - began)
    size = (results / "index.parquet").stat().st_size / 1e6
    return {
        "runs": n, "case": "index one more run", "median_s": round(statistics.median(seconds), 3),
        "max_s": round(max(seconds), 3), "index_mb": round(size, 1),
    }  # fmt: skip


def main() -> None:
    """Measure and write results/bench/scale.json."""
    sizes = [int(word) for word in sys.argv[1:]] or [10_000, 100_000]
    rows = []
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder)
            make(results, n)
            rows += [*page_times(results, n), index_times(results, n)]
    if sys.argv[1:]:
        print(*rows, sep="\n")
        return
    note = (
        "Made-up runs of a large study, as folders of linked files and as rows of the index. "
        "Server seconds are without the browser; first is the first visit to a page since the "
        "start, when nothing of it is kept yet."
    )
    write("scale", rows, [], note)


if __name__ == "__main__":
    main()
