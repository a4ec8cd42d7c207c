"""The Dockerfile's own steps without a container engine: fresh environment, other user."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[1]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("RD4AD_TEST_IMAGE"),
        reason="installs everything anew, some minutes: set RD4AD_TEST_IMAGE=1",
    ),
]


def steps() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions as (name, rest)."""
    text = re.sub(r"\\\n", " ", (HOME / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Perform COPY and RUN in a folder with an environment of its own; return what CMD needs."""
    root = tmp_path_factory.mktemp("image")
    for folder in (root, *root.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    code, home = root / "app", root / "home"
    code.mkdir()
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    subprocess.run([python_for_others(), "-m", "venv", root / "venv"], check=True)
    environment = {
        "PATH": f"{root / 'venv/bin'}:{os.environ['PATH']}", "HOME": str(home),
    }  # fmt: skip
    outside = {k: v for k, v in os.environ.items() if k.startswith("PIP_")}
    for name, rest in steps():
        if name == "COPY":
            copy(rest, code)
        elif name == "RUN" and not rest.startswith("useradd"):
            subprocess.run(["bash", "-ec", rest], cwd=code, env=environment | outside, check=True)
        elif name == "ENV":
            pairs = dict(word.split("=", 1) for word in shlex.split(rest))
            environment |= pairs | {"HOME": str(home), "GRADIO_TEMP_DIR": str(home / "gradio")}
    for path in [code, *code.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    return code, environment


def python_for_others() -> str:
    """Return a Python that another user may run too: one in a private home is of no use here."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        file = Path(candidate).resolve()
        if file.exists() and all(folder.stat().st_mode & 0o001 for folder in file.parents):
            return str(file)
    pytest.skip("no Python here that another user may run")


def copy(rest: str, code: Path) -> None:
    source, _ = rest.split()
    names = [source]
    if source == ".":
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"],
            cwd=HOME, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        names = [name for name in listed.splitlines() if not name.startswith("tests/")]
    for name in names:
        if (HOME / name).is_file():
            (code / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HOME / name, code / name)


def test_it_serves_as_another_user_from_read_only_code(image):
    code, environment = image
    port = free_port()
    command, health = [rest for name, rest in steps() if name in ("CMD", "HEALTHCHECK")][::-1]
    command = [word.replace("7860", str(port)) for word in json.loads(command)]
    as_user = {"user": 1000, "group": 1000} if os.getuid() == 0 else {}
    before = sorted(path for path in code.rglob("*"))
    server = subprocess.Popen(command, cwd=code, env=environment, **as_user)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(200):
            if server.poll() is not None or answers(address + "/healthz"):
                break
            time.sleep(0.3)
        check = health.split("CMD ", 1)[1].replace("7860", str(port))
        subprocess.run(["bash", "-ec", check], env=environment, check=True, **as_user)
        page = urllib.request.urlopen(address + "/").read()
        assert b"<title>" in page
        assert b"gradio" in urllib.request.urlopen(address + "/live/").read()
        assert answers(address + "/api/v1/leaderboard")
    finally:
        server.terminate()
        server.wait(timeout=20)
    assert sorted(path for path in code.rglob("*")) == before


def answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(address, timeout=5).status == 200
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_readme_is_a_docker_spaces():
    head = (HOME / "README.md").read_text().split("---")[1]
    said = dict(line.split(": ", 1) for line in head.strip().splitlines() if ": " in line)
    assert said["sdk"] == "docker"
    assert said["app_port"] == "7860"
    assert said["license"] == "apache-2.0"
    assert "arxiv.org/abs/2201.10703" in (HOME / "README.md").read_text()
