"""Assembled Spaces start by themselves: the Dockerfile's own steps, and `python app.py`."""

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

from rd4ad.web.publish import assemble

HOME = Path(__file__).resolve().parents[1]
PICTURE = HOME / "rd4ad/web/live/examples/transistor_good.jpg"
pytestmark = pytest.mark.slow
in_a_fresh_environment = pytest.mark.skipif(
    not os.environ.get("RD4AD_TEST_IMAGE"),
    reason="installs all packages again, some minutes: set RD4AD_TEST_IMAGE=1",
)


def steps(dockerfile: Path) -> list[tuple[str, str]]:
    """Return a Dockerfile's instructions as (name, rest)."""
    text = re.sub(r"\\\n", " ", dockerfile.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Perform COPY and RUN in a folder with an environment of its own; return what CMD needs."""
    root = tmp_path_factory.mktemp("image")
    for folder in (root, *root.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    space, code, home = root / "space", root / "app", root / "home"
    assemble("docker", space, HOME / "results")
    code.mkdir()
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    subprocess.run([python_for_others(), "-m", "venv", root / "venv"], check=True)
    environment = {
        "PATH": f"{root / 'venv/bin'}:{os.environ['PATH']}", "HOME": str(home),
    }  # fmt: skip
    outside = {k: v for k, v in os.environ.items() if k.startswith("PIP_")}
    for name, rest in steps(space / "Dockerfile"):
        if name == "COPY":
            source = space / rest.split()[0]
            if source.is_dir():
                shutil.copytree(source, code, dirs_exist_ok=True)
            else:
                shutil.copy(source, code)
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


@in_a_fresh_environment
def test_it_serves_as_another_user_from_read_only_code(image):
    code, environment = image
    port = free_port()
    command, health = [
        rest for name, rest in steps(HOME / "Dockerfile") if name in ("CMD", "HEALTHCHECK")
    ][::-1]
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
        check_that_it_answers(address)
    finally:
        server.terminate()
        server.wait(timeout=20)
    assert sorted(path for path in code.rglob("*")) == before


def check_that_it_answers(address: str) -> None:
    """Open a page, the live demo and the API, and judge a picture."""
    assert b"<title>" in fetched(address + "/")
    assert b"gradio" in fetched(address + "/live/")
    assert json.loads(fetched(address + "/api/v1/leaderboard"))
    form = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
        + PICTURE.read_bytes()
        + b"\r\n--x--\r\n"
    )
    request = urllib.request.Request(
        f"{address}/api/v1/predict?detector=transistor", form,
        {"Content-Type": "multipart/form-data; boundary=x"},
    )  # fmt: skip
    assert json.loads(fetched(request))["verdict"] == "normal"


def fetched(request) -> bytes:
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read()


@pytest.mark.parametrize("sdk", ["docker", "gradio"])
def test_an_assembled_space_starts_with_the_packages_that_are_here(sdk, part_results, tmp_path):
    assemble(sdk, tmp_path / "space", part_results)
    port = str(free_port())
    serve = ["-m", "rd4ad.cli", "serve", "--port", port]
    command = ["app.py"] if sdk == "gradio" else serve
    check_that_it_serves([sys.executable, *command], tmp_path / "space", port)


@in_a_fresh_environment
def test_an_assembled_gradio_space_starts_in_a_fresh_environment(tmp_path):
    assemble("gradio", tmp_path / "space", HOME / "results")
    head = (tmp_path / "space/README.md").read_text()
    gradio = re.search(r"sdk_version: (\S+)", head)[1]
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    pip = [tmp_path / "venv/bin/python", "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"gradio=={gradio}"], check=True)
    subprocess.run([*pip, "-r", tmp_path / "space/requirements.txt"], check=True)
    port = str(free_port())
    check_that_it_serves([tmp_path / "venv/bin/python", "app.py"], tmp_path / "space", port)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The package as `pip install .` leaves it, in a folder of its own."""
    pytest.importorskip("hatchling")
    target = tmp_path_factory.mktemp("installed")
    command = [
        sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation",
        "--target", str(target), str(HOME),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return target


def test_an_installation_serves_from_an_empty_folder(wheel, tmp_path):
    port = str(free_port())
    command = [sys.executable, "-m", "rd4ad.cli", "serve", "--port", port]
    check_that_it_serves(command, tmp_path, port, PYTHONPATH=str(wheel))
    assert list(tmp_path.iterdir()) == []


def test_an_installation_assembles_a_space(wheel, tmp_path):
    command = [
        sys.executable, "-m", "rd4ad.cli", "publish", "demo", "--dry-run", "--out", "space",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(wheel)}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert (tmp_path / "space/results/detectors/bottle.safetensors").is_file()
    assert not (tmp_path / "space/rd4ad/site").exists()


def check_that_it_serves(command: list, folder: Path, port: str, **settings: str) -> None:
    """Start a server in a folder, with no other code of this package at hand, and ask it."""
    left_out = ("RD4AD_RESULTS", "RD4AD_DATA", "PYTHONPATH")
    environment = {k: v for k, v in os.environ.items() if k not in left_out}
    environment |= {"PORT": port, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command, cwd=folder, env=environment | settings, stderr=subprocess.DEVNULL
    ) as server:
        try:
            for _ in range(200):
                assert server.poll() is None
                if answers(f"http://127.0.0.1:{port}/healthz"):
                    break
                time.sleep(0.3)
            check_that_it_answers(f"http://127.0.0.1:{port}")
        finally:
            server.terminate()


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
