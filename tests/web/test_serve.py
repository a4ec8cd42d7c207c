import pytest
from starlette.testclient import TestClient

from rd4ad import __version__
from rd4ad.web import serve


@pytest.fixture
def client(monkeypatch):
    monkeypatch.chdir(serve.HOME)
    with TestClient(serve.create_app()) as client:
        yield client


def test_the_health_check_and_the_explorer_answer_on_one_port(client):
    assert client.get("/healthz").json() == {"status": "ok", "version": __version__}
    page = client.get("/")
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]


def test_an_installation_without_its_pages_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(serve, "HOME", tmp_path)
    with pytest.raises(FileNotFoundError, match="run from a checkout"):
        serve.create_app()
