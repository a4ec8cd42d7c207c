"""Ten minutes of mixed load on a server of this host: errors, latencies, memory, what is left over.

    python benchmarks/soak.py [--minutes 10]

On loopback alone, and it stops by itself: eight clients of the API, ten explorer sessions that
walk the pages (the browser's own messages, without a browser), four live sessions that upload and
judge, and two clients that misbehave: slow bodies, cut connections, garbage. The limits a client
are off, since all load comes from one address.
"""

import argparse
import io
import json
import os
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from host import write
from PIL import Image
from serving import started
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from visit import PAGES
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from rd4ad.data.parts import render

CLIENTS = {"api": 8, "explorer": 10, "live": 4, "misbehaving": 2}
PAUSE_SECONDS = {"api": 0.5, "explorer": 2.0, "live": 2.0, "misbehaving": 0.5}
SETTLE_SECONDS = 45
TIMEOUT_SECONDS = 60
MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}


class Record:
    """Seconds of what went well, and what did not, by kind of client."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.turned_away: dict[str, int] = defaultdict(int)
        self.errors: dict[str, list[str]] = defaultdict(list)

    def run(self, kind: str, act: Callable[[], None]) -> None:
        """Do something once and note how it went."""
        began = time.perf_counter()
        try:
            act()
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (429, 503):
                    self.turned_away[kind] += 1
                else:
                    self.errors[kind].append(f"{error.code} {error.url}")
        except (OSError, WebSocketException, RuntimeError, ValueError) as error:
            self.errors[kind].append(f"{type(error).__name__}: {error}")
        else:
            self.seconds[kind].append(time.perf_counter() - began)


def form(field: str, content: bytes) -> bytes:
    """Return a form that holds one file."""
    head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="a.png"\r\n\r\n'
    return head.encode() + content + b"\r\n--x--\r\n"


def post(url: str, body: bytes, headers: dict[str, str]) -> bytes:
    """Return the answer to a POST."""
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        return bytes(answer.read())


class Api:
    """A client of the JSON API."""

    def __init__(self, address: str, picture: bytes, rng: random.Random) -> None:
        self.address, self.picture, self.rng = address, picture, rng

    def act(self) -> None:
        """Judge a picture, or read a table."""
        if self.rng.random() < 0.8:
            url = f"{self.address}/api/v1/predict?detector=bottle&with_map=false"
            assert b"verdict" in post(url, form("image", self.picture), MULTIPART)
        else:
            url = f"{self.address}/api/v1/runs"
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
                json.load(answer)


class Explorer:
    """A session of the explorer, as a browser's tab holds one."""

    def __init__(self, address: str, picture: bytes, rng: random.Random) -> None:
        self.address, self.rng = address.replace("http", "ws"), rng
        self.open = ExitStack()
        self.wire: Any = None
        self.left = 0

    def act(self) -> None:
        """Open a page and wait until its script has ended; a new tab after some pages."""
        if self.left == 0:
            self.open.close()
            tab = connect(
                f"{self.address}/_stcore/stream", subprotocols=["streamlit"], max_size=None
            )
            self.wire = self.open.enter_context(tab)
            self.left = 12
        self.left -= 1
        message = BackMsg()
        page = self.rng.choice([path for path in PAGES.values() if "/" not in path])
        message.rerun_script.page_name = page
        message.rerun_script.query_string = ""
        try:
            self.wire.send(message.SerializeToString())
            while True:
                said = ForwardMsg()
                said.ParseFromString(self.wire.recv(timeout=TIMEOUT_SECONDS))
                if said.WhichOneof("type") == "script_finished":
                    return
        except (OSError, WebSocketException):
            self.left = 0
            raise


class Live:
    """A session of the live demo: upload, judge, move a slider."""

    def __init__(self, address: str, picture: bytes, rng: random.Random) -> None:
        self.base, self.picture, self.rng = f"{address}/live/gradio_api", picture, rng

    def act(self) -> None:
        """Upload a picture and judge it, as the demo's page does."""
        paths = json.loads(post(f"{self.base}/upload", form("files", self.picture), MULTIPART))
        sent = {"path": paths[0], "meta": {"_type": "gradio.FileData"}}
        body = json.dumps({"data": [sent, "bottle", False]}).encode()
        headers = {"Content-Type": "application/json"}
        event = json.loads(post(f"{self.base}/call/predict", body, headers))["event_id"]
        url = f"{self.base}/call/predict/{event}"
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            if b"event: complete" not in (said := answer.read()):
                raise ValueError(said[:200].decode())


class Misbehaving:
    """A client that means no good: what it gets is not counted, only that the server lives on."""

    def __init__(self, address: str, picture: bytes, rng: random.Random) -> None:
        host, port = address.removeprefix("http://").split(":")
        self.place, self.picture, self.rng = (host, int(port)), picture, rng

    def act(self) -> None:
        """Do one of the things that a server must endure."""
        with socket.create_connection(self.place, timeout=10) as wire:
            choice = self.rng.randrange(5)
            path = self.rng.choice([b"/api/v1/predict?detector=bottle", b"/live/gradio_api/upload"])
            head = b"POST " + path + b" HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; "
            head += b"boundary=x\r\nContent-Length: %d\r\n\r\n"
            body = form("image", self.picture)
            if choice == 0:  # a slow body, and then none
                wire.sendall(head % len(body))
                for byte in body[:20]:
                    wire.sendall(bytes([byte]))
                    time.sleep(0.2)
            elif choice == 1:  # cut in the middle
                wire.sendall(head % len(body) + body[: len(body) // 2])
            elif choice == 2:  # no HTTP at all
                wire.sendall(self.rng.randbytes(2000))
                wire.recv(100)
            elif choice == 3:  # asks and does not wait
                wire.sendall(b"GET /static/js/none.js HTTP/1.1\r\nHost: a\r\n\r\n" * 50)
            else:  # a picture that is none
                junk = form("image", self.rng.randbytes(5000))
                wire.sendall(head % len(junk) + junk)
                wire.recv(1000)


KINDS: dict[str, Any] = {
    "api": Api, "explorer": Explorer, "live": Live, "misbehaving": Misbehaving,
}  # fmt: skip


def state(pid: int, uploads: Path) -> dict[str, int]:
    """Return what a process holds: memory, threads, open files, and files of its uploads."""
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return {
        "mib": round(int(status["VmRSS"].split()[0]) / 1024),
        "threads": int(status["Threads"]),
        "open files": len(os.listdir(f"/proc/{pid}/fd")),
        "temporary files": sum(path.is_file() for path in uploads.rglob("*")),
    }


def soak(address: str, pid: int, uploads: Path, minutes: float) -> list[dict[str, Any]]:
    """Return the rows of a run: one a kind of client, and the server's state along the way."""
    picture = io.BytesIO()
    Image.fromarray(render("bottle", "contamination", 0)[0]).save(picture, "PNG")
    record, until = Record(), time.monotonic() + 60 * minutes

    def live(kind: str, seed: int) -> None:
        rng = random.Random(f"{kind} {seed}")
        client = KINDS[kind](address, picture.getvalue(), rng)
        while time.monotonic() < until:
            record.run(kind, client.act)
            time.sleep(PAUSE_SECONDS[kind] * rng.uniform(0.5, 1.5))

    urllib.request.urlopen(f"{address}/live/config", timeout=TIMEOUT_SECONDS).close()
    rows = [{"case": "server, before"} | state(pid, uploads)]
    threads = [
        threading.Thread(target=live, args=(kind, seed), daemon=True)
        for kind, n in CLIENTS.items()
        for seed in range(n)
    ]
    for thread in threads:
        thread.start()
    for part in (1, 2):
        time.sleep(60 * minutes * (0.5 if part == 1 else 0.45))
        rows.append({"case": f"server, {'half-way' if part == 1 else 'near the end'}"})
        rows[-1] |= state(pid, uploads)
    for thread in threads:
        thread.join(timeout=2 * TIMEOUT_SECONDS)
    time.sleep(SETTLE_SECONDS)
    rows.append({"case": f"server, {SETTLE_SECONDS} s after"} | state(pid, uploads))
    for kind in CLIENTS:
        seconds = sorted(record.seconds[kind])
        row: dict[str, Any] = {
            "case": f"{CLIENTS[kind]} {kind} clients",
            "done": len(seconds),
            "errors": len(record.errors[kind]) if kind != "misbehaving" else 0,
            "turned away": record.turned_away[kind],
        }
        if kind != "misbehaving" and len(seconds) > 1:
            cuts = statistics.quantiles(seconds, n=100)
            row |= {f"p{p}_s": round(cuts[p - 1], 3) for p in (50, 95, 99)}
            for error in sorted(set(record.errors[kind]))[:5]:
                print(kind, error, file=sys.stderr)
        rows.append(row)
    return rows


def main() -> None:
    """Run and write results/bench/soak.json."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long; at most 60")
    minutes = min(parser.parse_args().minutes, 60.0)
    limits = ("PER_MINUTE", "PER_MINUTE_TOTAL", "SESSIONS", "SESSIONS_TOTAL")
    settings = {f"RD4AD_{name}": "0" for name in limits}
    with tempfile.TemporaryDirectory() as uploads:
        settings["GRADIO_TEMP_DIR"] = uploads
        with started(sys.executable, **settings) as (address, server):
            rows = soak(address, server.pid, Path(uploads), minutes)
    note = (
        f"{minutes:g} minutes of mixed load, clients and server on the same host. Turned away: 429 "
        "and 503, by design. Uploads are deleted within the hour. What the misbehaving clients get "
        "is not judged."
    )
    write("soak", rows, [], note)


if __name__ == "__main__":
    main()
