"""Time the index of many made-up runs, read by pyarrow, as the pages do, and by DuckDB.

DuckDB is installed from the package index into a folder that is thrown away.
"""

import importlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from host import interleaved, summary, write
from scale import rows_of, settings

from rd4ad.runs.index import read_index, write_index
from rd4ad.runs.store import run_id

SIZES, ROUNDS = (10_000, 100_000), 7
ASKED: dict[str, dict[str, object]] = {
    "all runs at their own scoring": {"is_default": True},
    "one category, every scoring": {"dataset": "MVTec AD", "category": "tile"},
    "one category at its own scoring": {"category": "tile", "is_default": True},
}


def duckdb_in(folder: str) -> Any:
    """Return DuckDB, installed into a folder."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder]
    subprocess.run([*command, "duckdb"], check=True, stderr=subprocess.DEVNULL)
    sys.path.append(folder)
    return importlib.import_module("duckdb")


def by_duckdb(duckdb: Any, results: Path, wanted: dict[str, object]) -> Callable[[], Any]:
    """Return what reads the index's rows of some values into a frame, a connection each time."""
    where = " AND ".join(f"{name} = ?" for name in wanted)
    query = f"SELECT * FROM read_parquet('{results / 'index.parquet'}') WHERE {where}"

    def read() -> Any:
        with duckdb.connect() as connection:
            return connection.execute(query, list(wanted.values())).df()

    return read


def main() -> None:
    """Measure and write results/bench/readers.json."""
    rows, ratios = [], []
    with tempfile.TemporaryDirectory() as folder:
        duckdb = duckdb_in(folder)
        for n in SIZES:
            results = Path(folder) / str(n)
            results.mkdir()
            runs = settings(n)
            for run in runs:
                run["run_id"] = run_id(run | {"config": run["epochs"]})
            write_index(results, rows_of(runs))
            for name, wanted in ASKED.items():
                readers = {
                    "pyarrow": lambda wanted=wanted, at=results: read_index(at, **wanted),
                    f"DuckDB {duckdb.__version__}": by_duckdb(duckdb, results, wanted),
                }
                found = [len(read()) for read in readers.values()]
                assert found[0] == found[1] > 0, found
                times = interleaved(readers, ROUNDS)
                rows += [
                    {"runs": n, "case": name, "rows": found[0], "by": reader} | summary(seconds)
                    for reader, seconds in times.items()
                ]
                ours, theirs = times.values()
                each = [b / a for a, b in zip(ours, theirs, strict=True)]
                ratios.append(
                    {"ratio": f"DuckDB / pyarrow, {n} runs, {name}",
                     "median": round(statistics.median(each), 2)}
                )  # fmt: skip
    note = "The whole answer as a pandas frame, as a page gets it; the file is warm in memory."
    write("readers", rows, ratios, note)


if __name__ == "__main__":
    main()
