"""What the static site weighs and takes in Chromium: first paint, loading a model, one image.

    python benchmarks/static_site.py [--vendor FOLDER]

A file server on this host; with the headers that let the runtime use threads, and without them.
"""

import argparse
import functools
import http.server
import io
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from host import write
from PIL import Image
from serving import browser_if_any

from rd4ad.data.parts import render
from rd4ad.home import HOME
from rd4ad.web.report.site import write_site

DETECTOR = HOME / "results/detectors/bottle.safetensors"
ISOLATION = {
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
}
ROUNDS, LONG_MS = 9, 60_000
_JUDGE = """async (rounds) => {
    const pixels = new Uint8Array(256 * 256 * 3).fill(127);
    const found = [];
    for (let i = 0; i < rounds; i += 1) {
        const begin = performance.now();
        await judgePixels(pixels.slice());
        found.push(performance.now() - begin);
    }
    return found;
}"""


@contextmanager
def served(folder: Path, headers: dict[str, str]) -> Iterator[str]:
    """Give the address of a folder on a file server."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            for name, value in headers.items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def first_paint(browser: Any, address: str) -> float:
    """Return the median seconds to the first contentful paint of the first page, cold."""
    seconds = []
    for _ in range(ROUNDS):
        page = browser.new_context().new_page()
        page.goto(address)
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        seconds.append(paint / 1000)
        page.context.close()
    return statistics.median(seconds)


def live(browser: Any, address: str, case: str) -> list[dict[str, Any]]:
    """Return the seconds until a detector runs, and those of an image."""
    page = browser.new_context().new_page()
    page.goto(f"{address}/live.html")
    page.locator("#progress[data-ready]").wait_for(timeout=LONG_MS)
    ready = page.evaluate("performance.now()") / 1000
    said = page.locator("#progress").inner_text()
    image = statistics.median(page.evaluate(_JUDGE, ROUNDS)) / 1000
    laboratory = browser.new_context().new_page()
    laboratory.goto(f"{address}/laboratory.html")
    laboratory.get_by_text("computed in").wait_for(timeout=LONG_MS)
    for layers in ("3", "1+2+3"):  # what is compiled at first use is compiled
        laboratory.get_by_label("Layers").select_option(layers)
        laboratory.wait_for_timeout(2500)
    told = laboratory.locator("#about").inner_text().split(".")[0]
    page.context.close()
    laboratory.context.close()
    return [
        {"case": f"{case}: from the address to a detector that runs", "seconds": round(ready, 2)},
        {"case": f"{case}: one image, pixels to map and score", "seconds": round(image, 4),
         "note": said},
        {"case": f"{case}: laboratory, all metrics again", "note": told},
    ]  # fmt: skip


def taught(browser: Any, address: str) -> dict[str, Any]:
    """Return the seconds that learning from thirty photos takes, reading and deciding included."""
    page = browser.new_context().new_page()
    page.goto(f"{address}/teach.html")
    page.locator("#progress[data-ready]").wait_for(timeout=LONG_MS)
    photos = [
        {"name": f"{number}.png", "mimeType": "image/png", "buffer": png(number)}
        for number in range(30)
    ]
    start = time.perf_counter()
    page.locator("#files").set_input_files(photos)
    page.locator("#progress[data-photos='30']").wait_for(timeout=LONG_MS)
    page.get_by_role("button", name="Teach", exact=True).click()
    page.locator("#threshold[data-value]").wait_for(timeout=2 * LONG_MS)
    seconds = time.perf_counter() - start
    page.context.close()
    return {"case": "teach: 30 photos of 256 px to a threshold", "seconds": round(seconds, 2)}


def png(number: int) -> bytes:
    """Return a generated good part as PNG."""
    file = io.BytesIO()
    Image.fromarray(render("bottle", "good", number, split="train")[0]).save(file, "PNG")
    return file.getvalue()


def main() -> None:
    """Measure and write results/bench/static.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--vendor", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, browser_if_any() as browser:
        out = Path(temporary)
        made = write_site(HOME / "results", out, detectors=[DETECTOR], vendor=options.vendor)
        if browser is None or not made.is_vendored:
            raise SystemExit("this needs Chromium, and npm or --vendor")
        sizes = {path: path.stat().st_size for path in out.rglob("*") if path.is_file()}
        runtime = sum(size for path, size in sizes.items() if path.name.startswith("ort"))
        models = {path.stem: size for path, size in sizes.items() if path.suffix == ".onnx"}
        maps = sum(size for path, size in sizes.items() if path.suffix == ".bin")
        rest = sum(sizes.values()) - runtime - sum(models.values()) - maps
        rows: list[dict[str, Any]] = [
            {"case": name, "mb": round(size / 2**20, 2)}
            for name, size in (
                ("pages, scripts, Plotly and all data", rest),
                ("distance maps, loaded when a run is opened", maps),
                ("runtime for WebAssembly and WebGPU, loaded by the live page", runtime),
                ("one detector", models["bottle"]),
                ("the teacher, loaded by the page Teach", models["patches"]),
            )
        ]
        with served(out, {}) as address:
            rows.append(
                {"case": "first paint, cold", "seconds": round(first_paint(browser, address), 3)}
            )
            has_gpu = browser.new_page().evaluate(
                "'gpu' in navigator && navigator.gpu.requestAdapter()"
            )
            rows += live(browser, address, "one thread")
        with served(out, ISOLATION) as address:
            rows += live(browser, address, "threads")
        with served(out, ISOLATION) as address:
            rows.append(taught(browser, address))
        rows.append({"case": "WebGPU", "note": "measured" if has_gpu else "no adapter here"})
    write("static", rows, [], "In headless Chromium on the host of the file server.")


if __name__ == "__main__":
    main()
