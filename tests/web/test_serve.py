import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress

import pytest
from websockets.sync.client import connect

from rd4ad import __version__
from rd4ad.web import serve


def test_the_health_check_and_the_explorer_answer_on_one_port(address):
    said = json.loads(urllib.request.urlopen(f"{address}/healthz").read())
    assert said == {"status": "ok", "version": __version__}
    page = urllib.request.urlopen(address)
    assert page.status == 200
    assert "text/html" in page.headers["content-type"]
    assert b"streamlit" in page.read().lower()


def test_no_error_shows_its_stack_and_no_statistics_are_sent():
    text = (serve.HOME / ".streamlit/config.toml").read_text()
    assert "gatherUsageStats = false" in text
    assert 'showErrorDetails = "none"' in text


def test_an_installation_without_its_pages_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(serve, "HOME", tmp_path)
    with pytest.raises(FileNotFoundError, match="install rd4ad-explorer again"):
        serve.create_app()


def test_the_operators_detectors_stand_beside_the_bundled_ones(monkeypatch, tmp_path):
    monkeypatch.setenv("RD4AD_DETECTORS", str(tmp_path))
    assert serve.detector_folders()[-1] == tmp_path


def test_the_server_answers_before_gradio_is_imported_and_all_of_it_without_torch():
    picture = next((serve.HOME / "rd4ad/web/live/examples").glob("transistor*"))
    code = (
        "import sys; sys.modules['torch'] = sys.modules['torchvision'] = None\n"
        "from fastapi.testclient import TestClient\n"
        "from rd4ad.web import serve\n"
        "with TestClient(serve.create_app()) as client:\n"
        "    assert client.get('/healthz').status_code == 200\n"
        "    assert 'gradio' not in sys.modules\n"
        "    assert 'gradio' in client.get('/live').text\n"
        "    assert 'RD4AD live' in client.get('/live/config').json()['title']\n"
        "    assert client.get('/live/nothing-here').status_code == 404\n"
        f"    files = {{'image': open({str(picture)!r}, 'rb')}}\n"
        "    said = client.post('/api/v1/predict?detector=transistor', files=files)\n"
        "    assert said.json()['score'] > 0, said.text\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_server_ends_within_seconds_though_pages_are_open(part_results):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "rd4ad.cli", "serve", "--port", str(port)]
    environment = os.environ | {"RD4AD_RESULTS": str(part_results)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as server:
        address = f"http://127.0.0.1:{port}"
        for _ in range(300):
            with suppress(OSError):
                urllib.request.urlopen(f"{address}/healthz").close()
                break
            time.sleep(0.1)
        urllib.request.urlopen(f"{address}/live/config", timeout=60).close()
        with (
            connect(f"ws://127.0.0.1:{port}/_stcore/stream"),
            urllib.request.urlopen(f"{address}/live/gradio_api/heartbeat/a", timeout=60),
        ):
            began = time.monotonic()
            server.terminate()
            server.wait(timeout=30)
    assert time.monotonic() - began < 5  # what a container's host waits before it kills
