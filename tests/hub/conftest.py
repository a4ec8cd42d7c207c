"""A small Hub on loopback: enough of its HTTP interface to take and give repositories."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

TOKEN = "hf_of_the_test"
BINARY = (".npz", ".parquet", ".safetensors", ".svg", ".jpg", ".onnx")
READ_ONLY = "somebody"


class Hub:
    """What the server holds: repositories by "kind/user/name", each its files by name."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.sdks: dict[str, object] = {}
        self.objects: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.commits = 0
        self.pause_after: int | None = None
        self.paused = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def answer(self, status: int, said: object = None, **headers: str) -> None:
        content = said if isinstance(said, bytes) else json.dumps(said or {}).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def is_known(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self.answer(401, {"error": "Invalid credentials"})
        return False

    def do_PUT(self) -> None:
        oid, content = self.path.rpartition("/")[2], self.body()
        hub = self.hub
        if hub.pause_after is not None and len(hub.puts) >= hub.pause_after:
            hub.paused.set()
            threading.Event().wait(5)  # the other side is killed meanwhile
            return
        assert hashlib.sha256(content).hexdigest() == oid
        hub.objects[oid] = content
        hub.puts.append(oid)
        self.answer(200)

    def do_POST(self) -> None:
        path, content = urlsplit(self.path).path, self.body()
        if not self.is_known():
            return
        if path == "/api/repos/create":
            self.create(json.loads(content))
        elif path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        elif path.endswith("/preupload/main"):
            files = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].endswith(BINARY) else "regular",
                    "shouldIgnore": False,
                }
                for one in json.loads(content)["files"]
            ]
            self.answer(200, {"files": files})
        elif path.endswith("/info/lfs/objects/batch"):
            self.answer(200, {"transfer": "basic", "objects": self.batch(json.loads(content))})
        elif path.endswith("/commit/main"):
            self.commit(path, content)
        else:
            self.answer(200)

    def create(self, asked: dict) -> None:
        user = asked.get("organization") or "me"
        if user == READ_ONLY:
            self.answer(403, {"error": "You don't have the rights"})
            return
        kind = asked.get("type") or "model"
        name = f"{kind}/{user}/{asked['name']}"
        url = f"http://{self.headers['Host']}/{'spaces/' * (kind == 'space')}{user}/{asked['name']}"
        if name in self.hub.repos:
            self.answer(409, {"error": "You already created this repo", "url": url})
            return
        self.hub.repos[name] = {}
        self.hub.sdks[name] = asked
        self.answer(200, {"url": url, "name": f"{user}/{asked['name']}", "id": "0"})

    def batch(self, asked: dict) -> list[dict]:
        host = self.headers["Host"]
        return [
            {"oid": one["oid"], "size": one["size"]}
            | (
                {}
                if one["oid"] in self.hub.objects
                else {"actions": {"upload": {"href": f"http://{host}/put/{one['oid']}"}}}
            )
            for one in asked["objects"]
        ]

    def commit(self, path: str, content: bytes) -> None:
        files = self.hub.repos[self.named(path.removeprefix("/api/").removesuffix("/commit/main"))]
        for line in map(json.loads, content.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                files.pop(value["path"], None)
        self.hub.commits += 1
        self.answer(200, {"commitUrl": f"http://{self.headers['Host']}/c/1", "commitOid": "1" * 40})

    @staticmethod
    def named(path: str) -> str:
        kind, _, rest = path.partition("/")
        return f"{kind.removesuffix('s')}/{rest}"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/api/whoami-v2":
            if self.is_known():
                self.answer(200, {"name": "me", "type": "user", "orgs": []})
            return
        if "/resolve/" in path:
            name, _, file = path[1:].partition("/resolve/")
            files = self.hub.repos.get(f"model/{name}")
            code = "RepoNotFound" if files is None else "EntryNotFound"
            content = (files or {}).get(file.partition("/")[2])
            if content is None:
                self.answer(404, {}, X_Error_Code=code)
                return
            digest = hashlib.sha256(content).hexdigest()
            self.answer(200, content, ETag=f'"{digest}"', X_Repo_Commit="1" * 40)
            return
        kind_and_name = path.removeprefix("/api/")
        listing, _, _ = kind_and_name.partition("/tree/")
        listing = listing.partition("/revision/")[0]
        files = self.hub.repos.get(self.named(listing))
        if files is None:
            self.answer(404, {}, X_Error_Code="RepoNotFound")
        elif "/tree/" in kind_and_name:
            tree = [
                {"type": "file", "path": one, "size": len(content), "oid": "1" * 40}
                for one, content in files.items()
            ]
            self.answer(200, tree)
        else:
            head = files.get("README.md", b"").decode().split("---")
            tags = [line.strip(" -") for line in head[1].splitlines()] if len(head) > 1 else []
            siblings = [{"rfilename": one} for one in files]
            name = listing.partition("/")[2]
            self.answer(
                200,
                {"id": name, "sha": "1" * 40, "tags": tags, "siblings": siblings, "private": False},
            )


@pytest.fixture
def hub() -> Iterator[Hub]:
    """An empty Hub; its address is in `hub.address`."""
    state = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"hub": state}))
    server.daemon_threads = True
    state.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def run_with(hub: Hub, tmp_path: Path) -> Callable[..., subprocess.Popen]:
    """Starts a command of this package, or Python code, against the Hub."""

    def start(*command: str, token: str | None = TOKEN, address: str = "") -> subprocess.Popen:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        environment |= {
            "HF_ENDPOINT": address or hub.address,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_XET": "1",  # the Hub's older way, which the small one speaks
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        if token:
            environment["HF_TOKEN"] = token
        module = ["-c"] if command[0] == "code" else ["-m", "rd4ad.cli"]
        arguments = command[1:] if command[0] == "code" else command
        return subprocess.Popen(
            [sys.executable, *module, *arguments], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return start


@pytest.fixture
def finish(run_with) -> Callable[..., tuple[int, str, str]]:
    """Runs a command against the Hub to its end: exit code, output, errors."""

    def run(*command: str, **options: str | None) -> tuple[int, str, str]:
        process = run_with(*command, **options)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    return run
