"""A real Chromium, and pages of which everything that goes wrong is written down."""

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
HOME = Path(__file__).resolve().parents[2]
LONG_MS = 60_000
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
expect.set_options(timeout=LONG_MS)
# Streamlit drops the images of a page that is drawn again while a slow browser still asks for them.
REPLACED = re.compile(r"/media/[0-9a-f]+\.(jpg|png)$")
# Streamlit asks these below a page's own address and gets 404 by design.
PROBES = re.compile(r"/\w+/_stcore/(health|host-config)$")


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium found (Debian's package: chromium)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


class Watched:
    """A page whose console errors, failed answers and requests are written down."""

    def __init__(self, browser, **context):
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.errors, self.requests, self.failed = [], [], []
        self.page.on("console", self._console)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("response", self._response)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.sent_bytes = 0  # by the server over its socket: tables, charts, everything but images
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._frame))

    def _console(self, message):
        if message.type == "error" and "404" not in message.text:
            self.errors.append(message.text)

    def _response(self, response):
        if response.status >= 400 and not PROBES.search(response.url):
            self.failed.append(f"{response.status} {response.url}")

    def _frame(self, payload):
        self.sent_bytes += len(payload)

    def open(self, address: str, heading: str):
        self.page.goto(address)
        self.page.get_by_role("heading", name=heading, exact=True).wait_for(timeout=LONG_MS)
        self.settle()
        return self.page

    def settle(self):
        """Wait until the server has answered everything and no part of the page is a gray bar."""
        self.page.wait_for_timeout(300)
        done = self.page.locator("[data-test-script-state=notRunning]")
        done.wait_for(timeout=LONG_MS)
        expect(self.page.get_by_test_id("stSkeleton")).to_have_count(0)
        self.page.wait_for_timeout(300)

    def check(self):
        """Nothing went wrong; an image that was replaced while it loaded left nothing broken."""
        if not self.page.is_closed():
            images = "[...document.images].filter((one) => one.src && one.complete)"
            assert (
                self.page.evaluate(
                    f"() => {images}.filter((one) => !one.naturalWidth).map((one) => one.src)"
                )
                == []
            )
        assert [said for said in self.errors if not REPLACED.search(said)] == []
        assert [said for said in self.failed if not REPLACED.search(said)] == []
        outside = [
            u for u in self.requests if not re.match(r"\w+://127\.0\.0\.1[:/]|data:|blob:", u)
        ]
        assert outside == []
        self.context.close()


@pytest.fixture
def watched(browser):
    opened = []

    def watch(**context) -> Watched:
        one = Watched(browser, **context)
        opened.append(one)
        return one

    yield watch
    for one in opened:
        one.check()


@pytest.fixture
def bundled(running):
    """The application as it comes, with the bundled results and detectors."""
    with running("-m", "rd4ad.cli", "serve") as url:
        yield url


@pytest.fixture(scope="session")
def running():
    """Gives a context in which a server of this Python answers; stopped afterwards."""
    return _running


@contextmanager
def _running(*arguments: str):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    option = {"streamlit": ["--server.port", str(port)], "rd4ad.cli": ["--port", str(port)]}
    server = subprocess.Popen(
        [sys.executable, *arguments, *option.get(arguments[min(1, len(arguments) - 1)], [])],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=HOME,
        env=os.environ | {"PORT": str(port)},
    )  # fmt: skip
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=20)


def _wait_for(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(f"nothing answers on {port}")


@pytest.fixture(scope="session")
def packages(tmp_path_factory) -> Path:
    """The folder with what package.json names, from npm."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("npm")
    shutil.copy(Path(__file__).parent / "package.json", folder)
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"npm cannot fetch packages here: {done.stderr[-200:]}")
    return folder


@pytest.fixture(scope="session")
def axe(packages) -> str:
    """The source of axe-core."""
    source = (packages / "node_modules/axe-core/axe.min.js").read_bytes()
    assert hashlib.sha256(source).hexdigest() == AXE_SHA256
    return source.decode()
