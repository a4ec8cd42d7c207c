"""The explorer in a real Chromium: what a person sees, and where requests go."""

import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found (Debian's package: chromium)"),
]


HOME = Path(__file__).resolve().parents[2]


@contextmanager
def running(command: list[str], port: int):
    """Run a server in the background until it answers; stop it afterwards."""
    server = subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=HOME,
    )
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def address():
    port = free_port()
    with running(["rd4ad.cli", "serve", "--port", str(port)], port) as url:
        yield url


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_first_page_opens_cold_without_errors_or_requests_to_the_outside(
    address, browser, scheme, width
):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.goto(address)
    page.get_by_role("heading", name="RD4AD Explorer").wait_for(timeout=60_000)
    page.get_by_role("heading", name="Reproduced").wait_for(timeout=60_000)
    page.get_by_text("PRO (definition not stated)").click()
    page.get_by_text("the paper states 96.5").wait_for(state="hidden", timeout=60_000)
    assert errors == []
    assert [
        url
        for url in requests
        if not re.match(r"(http|ws|data|blob).*127\.0\.0\.1|data:|blob:", url)
    ] == []
    background = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 20, 23)"}[scheme]
    context.close()


def test_the_page_opens_by_streamlit_alone_too(browser):
    port = free_port()
    command = ["streamlit", "run", "app.py", "--server.port", str(port)]
    with running([*command, "--server.address", "127.0.0.1"], port) as url:
        page = browser.new_page()
        page.goto(url)
        page.get_by_role("heading", name="Reproduced").wait_for(timeout=60_000)
        page.close()
