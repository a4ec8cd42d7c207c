import pytest
from starlette.testclient import TestClient

from rd4ad import __version__
from rd4ad.web import serve


@pytest.fixture(scope="module")  # Streamlit allows one in a process
def client(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))  # pages and settings are found anyway
        with TestClient(serve.create_app()) as client:
            yield client


def test_the_health_check_and_the_explorer_answer_on_one_port(client):
    assert client.get("/healthz").json() == {"status": "ok", "version": __version__}
    page = client.get("/")
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]


def test_no_statistics_are_sent_and_no_error_shows_its_stack(client):
    from streamlit import config

    assert config.get_option("browser.gatherUsageStats") is False
    assert config.get_option("client.showErrorDetails") == "none"


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_there_is_no_page_of_documentation_that_loads_scripts_from_elsewhere(client, path):
    assert "cdn." not in client.get(path).text


def test_an_installation_without_its_pages_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(serve, "HOME", tmp_path)
    with pytest.raises(FileNotFoundError, match="run from a checkout"):
        serve.create_app()
