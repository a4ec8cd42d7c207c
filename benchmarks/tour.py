"""Visit every page of the explorer, twenty times: memory after it, and what an idle server takes.

    RD4AD_DATA=DIR python benchmarks/tour.py

Where RD4AD_DATA names real images, the pages show them, which takes the most memory.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from host import write
from serving import browser_if_any, memory_mib, started
from visit import PAGES

from rd4ad.web.live.mount import WAIT_SECONDS

ROUNDS, IDLE_SECONDS = 20, 40


def visited(browser: Any, address: str, pages: Iterable[str]) -> None:
    """Open pages one after another, each in a tab of its own that is closed again."""
    for path in pages:
        page = browser.new_page()
        page.goto(f"{address}/{path}")
        if path == "live/":
            page.wait_for_timeout(2500)
        else:
            page.locator("[data-test-script-state=notRunning]").wait_for(timeout=60_000)
            page.wait_for_timeout(500)
        page.close()


def cpu_seconds(process: "subprocess.Popen[bytes]") -> float:
    """Return the seconds of all cores that a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def tour(browser: Any) -> list[dict[str, Any]]:
    """Return memory after rounds of visits to every page, and what the server takes when idle."""
    off = {"RD4AD_SESSIONS": "0", "RD4AD_MCP": "0"}
    with started(sys.executable, **off) as (address, server):
        time.sleep(WAIT_SECONDS + 5)
        rows = [{"case": "memory before a tour of the pages", "mib": memory_mib(server)}]
        for number in range(1, ROUNDS + 1):
            visited(browser, address, PAGES.values())
            if number in (1, 5, ROUNDS):
                case = f"memory after {number} round{'s' * (number > 1)} of every page"
                rows.append({"case": case, "mib": memory_mib(server)})
        time.sleep(IDLE_SECONDS)
        before = cpu_seconds(server)
        time.sleep(IDLE_SECONDS)
        percent = 100 * (cpu_seconds(server) - before) / IDLE_SECONDS
        rows.append({"case": "idle, nobody there", "percent of a core": round(percent, 2)})
        return rows


def main() -> None:
    """Measure and write results/bench/tour.json."""
    with browser_if_any() as browser:
        if browser is None:
            sys.exit("no Chromium found (Debian's package: chromium)")
        rows = tour(browser)
    images = "with" if os.environ.get("RD4AD_DATA") else "without"
    note = f"Resident memory of the server, {images} images of measured runs on disk."
    write("tour", rows, [], note)


if __name__ == "__main__":
    main()
