import io
import json

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient

from rd4ad.web.access_log import AccessLog, route


async def answer(request) -> PlainTextResponse:
    return PlainTextResponse("twelve bytes", 201)


async def talk(websocket) -> None:
    await websocket.accept()
    await websocket.send_bytes(b"1234")
    await websocket.close()


def lines_of(monkeypatch, *, with_addresses: bool = False) -> list[dict]:
    if with_addresses:
        monkeypatch.setenv("RD4AD_LOG_ADDRESSES", "1")
    to = io.StringIO()
    app = Starlette(routes=[WebSocketRoute("/_stcore/stream", talk), Route("/{path:path}", answer)])
    app.add_middleware(
        AccessLog, pages=frozenset({"about"}), address_of=lambda scope: "192.0.2.1", to=to
    )
    with TestClient(app) as client:
        client.get("/live/gradio_api/file=/tmp/secret.png?token=secret")
        with client.websocket_connect("/_stcore/stream") as wire:
            wire.receive_bytes()
    return [json.loads(line) for line in to.getvalue().splitlines()]


def test_a_request_is_one_line_without_names(monkeypatch):
    line, _ = lines_of(monkeypatch)
    assert set(line) == {"time", "method", "route", "status", "ms", "bytes"}
    assert (line["route"], line["status"], line["bytes"]) == ("/live/gradio_api/file", 201, 12)
    assert "secret" not in json.dumps(line)


def test_a_session_is_one_line_when_it_ends(monkeypatch):
    _, line = lines_of(monkeypatch)
    assert (line["method"], line["status"], line["bytes"]) == ("WEBSOCKET", 101, 4)


def test_addresses_are_written_where_the_operator_asks(monkeypatch):
    assert lines_of(monkeypatch, with_addresses=True)[0]["client"] == "192.0.2.1"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/v1/judgments/0123456789abcdef/map.tiff", "/api/v1/judgments"),
        ("/live/gradio_api/heartbeat/abc", "/live/gradio_api/heartbeat"),
        ("/live/Secret Name.png", "/live/*"),
        ("/_stcore/upload_file/session/file", "/_stcore/upload_file"),
        ("/media/0a1b.jpg", "/media"),
        ("/me@example.org", "/*"),
    ],
)
def test_a_route_holds_nothing_that_a_visitor_chose(path, name):
    assert route(path, frozenset({"about"})) == name
