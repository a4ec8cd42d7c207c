"""Weigh a visit to every page in a real Chromium: bytes on the wire, requests, first paint.

    python benchmarks/visit.py [--beside CHECKOUT]

Bytes are counted on a connection between browser and server: headers, bodies as compressed as they
are, and the explorer's socket. With `--beside`, the first paint is measured in turns with another
checkout of this repository.
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import threading
from pathlib import Path
from typing import Any

from host import write
from serving import browser_if_any, started, version

PAGES = {
    "overview": "",
    "leaderboard": "leaderboard",
    "category": "category",
    "ablations": "ablations",
    "complexity": "complexity",
    "novelty": "novelty",
    "threshold": "threshold",
    "limitations": "limitations",
    "PRO auditor": "pro_auditor",
    "about": "about",
    "live": "live/",
}
QUIET_MS = 2000
PAINTS = 9


class Wire:
    """A proxy on loopback that counts what a server sends, so compressed as it is.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        self.bytes, self._target = 0, port
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        opened = asyncio.start_server(self._carry, "127.0.0.1", 0)
        server = asyncio.run_coroutine_threadsafe(opened, self._loop).result()
        self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)

        async def pump(
            source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_counted: bool
        ) -> None:
            with contextlib.suppress(OSError):
                while chunk := await source.read(65536):
                    self.bytes += len(chunk) * is_counted
                    sink.write(chunk)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, to_server, False), pump(from_server, writer, True))


def settle(page: Any, wire: Wire, path: str) -> None:
    """Open a page and wait until nothing more comes."""
    page.goto(f"{wire.address}/{path}", wait_until="load")
    if path != "live/":
        page.get_by_test_id("stHeading").first.wait_for(timeout=60_000)
    before = -1
    while before != wire.bytes:
        before = wire.bytes
        page.wait_for_timeout(QUIET_MS)


def weigh(browser: Any, address: str) -> list[dict[str, Any]]:
    """Return the weight of a first and of a second visit to every page."""
    rows: list[dict[str, Any]] = []
    wire = Wire(int(address.rpartition(":")[2]))
    for name, path in PAGES.items():
        context = browser.new_context()
        for visit in ("first", "second"):
            page = context.new_page()
            asked: list[str] = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            before = wire.bytes
            settle(page, wire, path)
            row = {"case": f"{name}, {visit} visit", "kb": round((wire.bytes - before) / 1000)}
            rows.append(row | {"requests": len(asked)})
            page.close()
        context.close()
    return rows


def first_paint(browser: Any, address: str) -> float:
    """Return the seconds until the leaderboard's table is there, with an empty cache."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    page.get_by_test_id("stDataFrame").first.wait_for(timeout=60_000)
    seconds = float(page.evaluate("performance.now()")) / 1000
    context.close()
    return seconds


def paints(browser: Any, servers: dict[str, str]) -> list[dict[str, Any]]:
    """Return the first paints of several servers, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(PAINTS):
        for name, address in servers.items():
            seconds[name].append(first_paint(browser, address))
    rows = []
    for name, several in seconds.items():
        case = f"leaderboard painted, empty cache, {name}"
        rows.append({"case": case, "median_s": round(statistics.median(several), 3)})
    return rows


def main() -> None:
    """Measure and write results/bench/visit.json."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--beside", type=Path, help="another checkout, for the first paint")
    other = parser.parse_args().beside
    os.environ["RD4AD_SESSIONS"] = "0"
    with browser_if_any() as browser, started(sys.executable) as (address, _):
        if browser is None:
            sys.exit("no Chromium found (Debian's package: chromium)")
        first_paint(browser, address)
        if other is None:
            rows = paints(browser, {"this code": address})
        else:
            with started(sys.executable, other) as (before, _):
                first_paint(browser, before)
                rows = paints(browser, {"this code": address, f"at {version(other)}": before})
        rows += weigh(browser, address)
    note = (
        "First visit: empty browser cache. kb: 1,000 bytes that the server sent, headers and the "
        "explorer's socket included. Requests that the browser's cache answers are counted too."
    )
    write("visit", rows, [], note)


if __name__ == "__main__":
    main()
