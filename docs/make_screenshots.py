"""Take the README's screenshots from a running server: `python docs/make_screenshots.py [ADDRESS]`.

They show published and stored values and a generated part alone, so that they can be published.
"""

import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).resolve().parent
ADDRESS = "http://127.0.0.1:7860"
MOST_BYTES = 300_000


def first_screen(page: Page, address: str) -> None:
    """Open the explorer's first screen and wait for its findings."""
    page.goto(f"{address}/")
    page.get_by_text("What the results show").wait_for()


def live(page: Page, address: str) -> None:
    """Open the live demo and wait for the first heatmap's verdict."""
    page.goto(f"{address}/live/?__theme=light")
    page.get_by_text("threshold", exact=False).first.wait_for()


def save(shot: bytes, path: Path) -> None:
    """Write a screenshot as a PNG of few colors, small enough for a README.

    Raises:
        ValueError: it is still too large.
    """
    image = Image.open(BytesIO(shot)).convert("RGB")
    few = image.quantize(256, method=Image.Quantize.MAXCOVERAGE)  # keeps what is rare, as a heatmap
    few.save(path, optimize=True)
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; at most {MOST_BYTES} wanted")


def main(address: str = ADDRESS) -> None:
    """Take both screenshots."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, show in (("explorer", first_screen), ("live", live)):
            page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
            show(page, address)
            page.wait_for_timeout(4000)  # fonts, charts and pictures settle
            save(page.screenshot(), HERE / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
