"""How many clicks and seconds three visitors' questions take from the first screen, in Chromium.

A question is answered when the element that answers it is on the page and the page is at rest.
Each is asked of a fresh page of a server that has answered them once before.
"""

import sys
import time
from collections.abc import Sequence
from typing import Any

from host import write
from serving import browser_if_any, started

LONG_MS = 60_000
FIRST = "Find defects after seeing only good parts"
PAGES = ("Leaderboard", "Category", "Ablations", "Complexity", "Novelty", "Threshold",
         "Limitations", "PRO auditor", "Teach", "About")  # fmt: skip
QUESTIONS = {
    "reviewer: does Table 2 hold?": (
        (".st-key-finding-table_2 a",), "text=Difference: reproduced minus reported",
    ),
    "reviewer: how does transistor fail?": (
        ("role=link[name='Why transistor fails']",), "text=Photo and mask",
    ),
    "reviewer: is it really faster?": (
        ("role=link[name='Time and memory']",), "text=Cost relative to RD4AD",
    ),
    "reviewer: which PRO?": (
        ("role=link[name='Which PRO was that?']",), "text=Which definition did this paper use?",
    ),
    "engineer: a heatmap of an image": (
        ("role=link[name='Live heatmap']",), "live",
    ),
    "engineer: a detector of my part": (
        ("role=link[name='Teach your own part']",), "text=Photos of good parts",
    ),
    "researcher: layer 3 against 1+2+3 at both sizes, with pictures": (
        ("role=link[name='Layers and resolutions']",), "text=Layers 3 · Image size, px 256",
    ),
}  # fmt: skip
"""What is clicked, and what answers."""


def answered(page: Any, address: str, clicks: Sequence[str], answer: str) -> float:
    """Return the seconds from the first click until the answer is there."""
    page.goto(address)
    page.get_by_role("heading", name=FIRST).wait_for(timeout=LONG_MS)
    rest(page)
    start = time.perf_counter()
    for click in clicks:
        page.locator(click).first.click()
    if answer == "live":
        page.frame_locator("iframe").get_by_text("score ").first.wait_for(timeout=LONG_MS)
    else:
        page.locator(answer).first.wait_for(timeout=LONG_MS)
        rest(page)
    return time.perf_counter() - start


def rest(page: Any) -> None:
    """Wait until the server has answered everything."""
    page.locator("[data-test-script-state=notRunning]").wait_for(timeout=LONG_MS)


def switches(page: Any, address: str) -> list[float]:
    """Return the seconds from a click in the menu to the new page's title, page by page."""
    page.goto(address)
    page.get_by_role("heading", name=FIRST).wait_for(timeout=LONG_MS)
    rest(page)
    menu, seconds = page.get_by_test_id("stSidebarUserContent"), []
    for name in PAGES:
        page.wait_for_timeout(1000)  # the visitor reads
        start = time.perf_counter()
        menu.get_by_role("link", name=name, exact=True).click()
        page.get_by_role("heading", name=name, exact=True).wait_for(timeout=LONG_MS)
        seconds.append(time.perf_counter() - start)
        rest(page)
    return seconds


def main() -> None:
    """Measure and write results/bench/questions.json."""
    with browser_if_any() as browser, started(sys.executable) as (address, _):
        if browser is None:
            sys.exit("no Chromium found (Debian's package: chromium)")
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        rows = []
        for question, (clicks, answer) in QUESTIONS.items():
            answered(page, address, clicks, answer)
            seconds = answered(page, address, clicks, answer)
            rows.append({"case": question, "clicks": len(clicks), "seconds": round(seconds, 2)})
        switches(page, address)
        found = sorted(switches(page, address))
        middle = {"case": "page switch, click to title, median", "seconds": found[len(found) // 2]}
        slowest = {"case": "page switch, click to title, slowest page", "seconds": found[-1]}
        rows += [row | {"seconds": round(row["seconds"], 2)} for row in (middle, slowest)]
    note = "From the first screen, in Chromium on the host of the server; the page is then at rest."
    write("questions", rows, [], note)


if __name__ == "__main__":
    main()
