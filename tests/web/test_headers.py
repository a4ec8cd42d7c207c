import urllib.error
import urllib.request

import pytest

from rd4ad.web.serve import STREAMLIT, inline_scripts

ROUTES = (
    "/", "/category", "/nothing/here", "/static/nothing.js", "/healthz", "/api/v1/detectors",
    "/api/v1/runs/none", "/api/docs", "/api/openapi.json", "/live/", "/live/config",
    "/live/nothing", "/live/gradio_api/file=/etc/passwd", "/_stcore/health",
)  # fmt: skip


def headers_of(url: str):
    request = urllib.request.Request(url, headers={"Accept-Encoding": "br"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.headers


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_has_every_security_header_once(address, route):
    headers = headers_of(address + route)
    policy = headers.get_all("Content-Security-Policy")
    assert len(policy) == 1
    assert "frame-ancestors" in policy[0]
    assert "default-src" in policy[0]
    assert headers.get_all("X-Content-Type-Options") == ["nosniff"]
    assert headers.get_all("Referrer-Policy") == ["same-origin"]


def test_hugging_face_may_embed_the_pages_and_nobody_the_answers_of_the_api(address):
    page = headers_of(address)["Content-Security-Policy"]
    assert page.endswith("frame-ancestors 'self' https://huggingface.co https://*.hf.space")
    assert (
        "frame-ancestors 'none'"
        in headers_of(f"{address}/api/v1/detectors")["Content-Security-Policy"]
    )


def test_the_explorer_runs_no_script_that_is_not_its_own(address):
    policy = headers_of(address)["Content-Security-Policy"]
    scripts = next(part for part in policy.split(";") if "script-src" in part)
    assert "unsafe" not in scripts
    assert "sha256-" in scripts
    assert inline_scripts(STREAMLIT / "index.html").count("sha256-") >= 1


def test_the_explorers_files_come_compressed_and_are_kept(address):
    name = max((STREAMLIT / "static/js").glob("index.*.js"), key=lambda file: file.stat().st_size)
    headers = headers_of(f"{address}/static/js/{name.name}")
    assert headers["Content-Encoding"] == "br"
    assert int(headers["Content-Length"]) < name.stat().st_size / 2
    assert "immutable" in headers["Cache-Control"]
    with urllib.request.urlopen(f"{address}/static/js/{name.name}") as plain:
        assert plain.headers["Content-Encoding"] is None
        assert plain.read() == name.read_bytes()


@pytest.mark.parametrize(
    "path", ["/static/../../../../etc/passwd", "/static/%2e%2e/%2e%2e/METADATA"]
)
def test_no_path_leads_out_of_the_explorers_files(address, path):
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(address + path)
    with raised.value as error:
        assert error.code == 404
