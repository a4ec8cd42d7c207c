"""Time and weigh the explorer: start, pages with many runs, scoring again, uploads in a row.

    python benchmarks/serving.py [--beside CHECKOUT]

With `--beside`, start and uploads are measured in turns with another checkout of this repository.
"""

import argparse
import io
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

from host import summary, write
from PIL import Image

from rd4ad.data.parts import render
from rd4ad.runs.index import update_index
from rd4ad.web.live.mount import WAIT_SECONDS

HOME = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
N_RUNS, N_UPLOADS, AT_ONCE = 200, 500, 8
PAGES = ("category", "ablations", "complexity", "threshold", "limitations", "pro_auditor", "about")

_TIMES = """
import sys, time, statistics
from streamlit.testing.v1 import AppTest
explorer = AppTest.from_file({app!r}, default_timeout=120).run()
for page in ["app.py", *{pages!r}]:
    if page != "app.py":
        explorer.switch_page(page).run()
    seconds = []
    for _ in range(7):
        began = time.perf_counter()
        explorer.run()
        seconds.append(time.perf_counter() - began)
    assert not explorer.exception, page
    print(page, statistics.median(seconds), max(seconds))
explorer.switch_page("pages/limitations.py").run()
for step in range(8):
    began = time.perf_counter()
    explorer.slider("sigma").set_value(step + 0.5).run()
    print("rescore", time.perf_counter() - began, 0)
"""

# The page looks itself, frame by frame: asked from outside, it answers a second late while it loads
# the library of its chart, which comes after the heatmap.
_FIRST_HEATMAP = """
const look = () => {
    const isThere = image => image.naturalWidth && image.getBoundingClientRect().height > 200;
    const verdict = document.querySelector(".verdict");
    const pictures = [...document.images].filter(isThere);
    if (pictures.length > 1 && verdict && /score [0-9]/.test(verdict.textContent))
        window.firstHeatmap = performance.now();  // since the navigation began
    else
        requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


def many_runs(results: Path) -> None:
    """Copy the published metrics and `N_RUNS` runs, made of the stored ones, below `results`."""
    import json

    shutil.copytree(HOME / "results/published", results / "published")
    stored = sorted(path for path in (HOME / "results/runs").iterdir() if path.is_dir())
    for number in range(N_RUNS):
        source = stored[number % len(stored)]
        record = json.loads((source / "run.json").read_text())
        record["seed"] = number // len(stored)
        record["run_id"] = f"{source.name}-copy{number}"
        target = results / "runs" / record["run_id"]
        shutil.copytree(source, target)
        (target / "run.json").write_text(json.dumps(record))
    update_index(results)


def page_times(results: Path) -> list[dict[str, Any]]:
    """Return the seconds that the server needs for every page with many runs."""
    pages = [f"pages/{name}.py" for name in PAGES]
    code = _TIMES.format(app=str(HOME / "app.py"), pages=pages)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=True,
        env=os.environ | {"RD4AD_RESULTS": str(results)},
    )  # fmt: skip
    rows, again = [], []
    for line in done.stdout.splitlines():
        name, *numbers = line.split()
        if name == "rescore":
            again.append(float(numbers[0]))
        else:
            median, worst = map(float, numbers)
            case = f"page {name}, {N_RUNS} runs, server"
            rows.append({"case": case, "median_s": round(median, 4), "max_s": round(worst, 4)})
    rows.append(
        {
            "case": "limitations page, scored again under another smoothing, server",
            "median_s": round(statistics.median(again), 4),
            "max_s": round(max(again), 4),
        }
    )
    return rows


def import_time() -> dict[str, Any]:
    """Return the seconds of `import rd4ad` in a fresh process, interpreter not counted."""
    code = "import time; a = time.perf_counter(); import rd4ad; print(time.perf_counter() - a)"
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
        for _ in range(5)
    ]
    return {"case": "import rd4ad", "median_s": round(statistics.median(seconds), 4)}


def memory_mib(process: "subprocess.Popen[bytes]") -> int:
    """Return the resident memory of a process."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    line = next(line for line in text.splitlines() if line.startswith("VmRSS"))
    return round(int(line.split()[1]) / 1024)


@contextmanager
def started(
    python: str | Path, checkout: Path = HOME, **settings: str
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Give the address and the process of a server that answers.

    Args:
        python: interpreter to run it by.
        checkout: of this repository, whose code is served.
        settings: environment variables on top.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [python, "-m", "rd4ad.cli", "serve", "--port", str(port)],
        cwd=checkout, env=os.environ | {"PYTHONPATH": str(checkout)} | settings,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/healthz")
                break
            except OSError:
                time.sleep(0.05)
        yield address, server
    finally:
        server.terminate()
        server.wait()


def served() -> list[dict[str, Any]]:
    """Return start, memory, first heatmap and uploads of a running server.

    The browser runs before the server starts, as a person's does.
    """
    with browser_if_any() as browser:
        began = perf_counter()
        with started(sys.executable, RD4AD_PER_MINUTE="0", RD4AD_PER_MINUTE_TOTAL="0") as (
            address,
            server,
        ):
            rows = [{"case": "start until the server answers", "median_s": elapsed(began)}]
            if browser:
                rows += in_browser(browser, address, began, server)
            return rows + uploads(address, server)


@contextmanager
def browser_if_any() -> Iterator[Any]:
    """Give a running Chromium, or None where none is installed."""
    if not CHROMIUM:
        yield None
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--headless"]
        )
        yield browser
        browser.close()


def elapsed(began: float) -> float:
    """Return the seconds since `began`."""
    return round(perf_counter() - began, 3)


def in_browser(
    browser: Any, address: str, began: float, server: "subprocess.Popen[bytes]"
) -> list[dict[str, Any]]:
    """Return when a browser shows the leaderboard, and the live demo its first heatmap."""
    page = browser.new_page()
    page.goto(address)
    page.get_by_role("heading", name="Leaderboard").wait_for(timeout=60_000)
    page.get_by_test_id("stDataFrame").first.wait_for(timeout=60_000)
    rows: list[dict[str, Any]] = [
        {"case": "start until the leaderboard is painted", "median_s": elapsed(began)},
    ]
    time.sleep(WAIT_SECONDS + 5)  # the demo is built in the meantime
    rows.append({"case": "memory, explorer open, no live page", "mib": memory_mib(server)})
    for case in ("cold", "again"):
        page = browser.new_page()
        page.add_init_script(_FIRST_HEATMAP)
        page.goto(f"{address}/live/")
        page.wait_for_function("window.firstHeatmap", timeout=60_000)
        seconds = round(page.evaluate("window.firstHeatmap") / 1000, 3)
        rows.append({"case": f"live page until its first heatmap, {case}", "median_s": seconds})
    return rows


def in_turns(other: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return start and judgment of this code and of another checkout, in turns, and ratios."""
    both = {"this code": HOME, f"at {version(other)}": other}
    starts: dict[str, list[float]] = {name: [] for name in both}
    seconds: dict[str, list[float]] = {name: [] for name in both}
    for _ in range(5):
        for name, checkout in both.items():
            began = perf_counter()
            with started(sys.executable, checkout, RD4AD_PER_MINUTE="0"):
                starts[name].append(perf_counter() - began)
    one, two = both
    with (
        started(sys.executable, both[one], RD4AD_PER_MINUTE="0") as (here, _),
        started(sys.executable, both[two]) as (there, _),
    ):
        time.sleep(WAIT_SECONDS + 5)
        for number in range(300):
            for name, address in ((one, here), (two, there)):
                took = upload_seconds(address)
                if number >= 20:  # both are warm
                    seconds[name].append(took)
    rows = [
        {"case": f"{what}, {name}"} | summary(values[name])
        for what, values in (("start until it answers", starts), ("upload of 256 px", seconds))
        for name in both
    ]
    ratios = [
        {
            "ratio": f"{what}: this code / {two}",
            "median": round(statistics.median(values[one]) / statistics.median(values[two]), 3),
        }
        for what, values in (("start", starts), ("upload", seconds))
    ]
    return rows, ratios


def version(checkout: Path) -> str:
    """Return the short name of a checkout's commit."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@cache
def upload_form() -> bytes:
    """Return a form that holds a picture of a generated part."""
    file = io.BytesIO()
    Image.fromarray(render("bottle", "contamination", 0)[0]).save(file, "PNG")
    return (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        + file.getvalue()
        + b"\r\n--x--\r\n"
    )


def upload_seconds(address: str) -> float:
    """Return the seconds of one judgment by the API, whole request."""
    request = urllib.request.Request(
        f"{address}/api/v1/predict?detector=bottle", upload_form(),
        {"Content-Type": "multipart/form-data; boundary=x"},
    )  # fmt: skip
    began = perf_counter()
    urllib.request.urlopen(request).read()
    return perf_counter() - began


def uploads(address: str, server: "subprocess.Popen[bytes]") -> list[dict[str, Any]]:
    """Return what many uploads cost: seconds per image, memory before and after, errors."""

    def once(_: int) -> float:
        return upload_seconds(address)

    once(0)
    before = memory_mib(server)
    one_by_one = [once(i) for i in range(N_UPLOADS)]
    after = memory_mib(server)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        together = list(pool.map(once, range(8 * AT_ONCE)))
    return [
        {
            "case": f"{N_UPLOADS} uploads of 256 px in a row, whole request",
            "median_s": round(statistics.median(one_by_one), 4),
            "max_s": round(max(one_by_one), 4),
            "mib": after,
            "mib before": before,
            "errors": 0,
        },
        {
            "case": f"{len(together)} uploads, {AT_ONCE} at once, whole request",
            "median_s": round(statistics.median(together), 4),
            "max_s": round(max(together), 4),
            "mib": memory_mib(server),
            "errors": 0,
        },
    ]


def main() -> None:
    """Measure and write results/bench/serving.json."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--beside", type=Path, help="another checkout, measured in turns")
    other = parser.parse_args().beside
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        many_runs(results)
        rows = [import_time(), *page_times(results)]
    rows += served()
    ratios: list[dict[str, Any]] = []
    if other:
        more, ratios = in_turns(other)
        rows += more
    note = (
        "Seconds of one host; server seconds are without the browser. An error would stop the run."
    )
    write("serving", rows, ratios, note)


if __name__ == "__main__":
    main()
