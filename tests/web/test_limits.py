import http.client
import io
import socket

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from rd4ad.web.limits import BodyLimit, Buckets, Limits, RateLimit, client_address
from rd4ad.web.live.uploads import MAX_BYTES
from rd4ad.web.upload_room import UploadRoom


async def read_all(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def talk(websocket) -> None:
    await websocket.accept()
    await websocket.receive()


def client_of(limits: Limits) -> TestClient:
    app = Starlette(
        routes=[
            Route("/api/v1/predict", read_all, methods=["GET", "POST"]),
            Route("/{rest:path}", read_all, methods=["GET", "POST"]),
            WebSocketRoute("/_stcore/stream", talk),
        ]
    )
    app.add_middleware(BodyLimit)
    app.add_middleware(RateLimit, limits=limits)
    return TestClient(app)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/predict",
        "/live/gradio_api/queue/join",
        "/live/gradio_api/call/predict",
        "/live/gradio_api/upload",
        "/_stcore/upload_file/a/b",
    ],
)
def test_a_client_that_asks_too_often_is_told_when_to_come_again(path):
    client = client_of(Limits(per_minute=6))
    answers = [client.post(path) for _ in range(5)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
    assert 8 <= int(answers[-1].headers["Retry-After"]) <= 11
    assert "try again in" in answers[-1].json()["detail"]


def test_what_costs_nothing_is_not_counted():
    client = client_of(Limits(per_minute=2))
    assert all(client.get("/api/v1/predict").status_code == 200 for _ in range(10))
    assert all(client.post("/other").status_code == 200 for _ in range(10))


def test_all_clients_together_have_a_limit_too():
    trusting = client_of(Limits(per_minute=0, per_minute_total=4, proxies=_any()))
    statuses = [
        trusting.post("/api/v1/predict", headers={"X-Forwarded-For": f"203.0.113.{i}"}).status_code
        for i in range(4)
    ]
    assert statuses == [200, 200, 429, 429]


def _any():
    import ipaddress

    return (ipaddress.ip_network("0.0.0.0/0"),)


def test_another_client_has_a_bucket_of_its_own():
    buckets = Buckets(per_minute=2)
    assert buckets.wait("a", now=0.0) == 0
    assert buckets.wait("a", now=1.0) > 0
    assert buckets.wait("b", now=1.0) == 0


def test_a_client_cannot_choose_its_address():
    scope = {"client": ("192.0.2.1", 1), "headers": [(b"x-forwarded-for", b"203.0.113.7")]}
    assert client_address(scope, Limits()) == "192.0.2.1"


def test_an_address_that_is_none_ends_the_list():
    scope = {"client": ("10.0.0.1", 1), "headers": [(b"x-forwarded-for", b"203.0.113.7, <b>")]}
    assert client_address(scope, Limits(proxies=_any())) == "10.0.0.1"


def test_one_explorer_page_too_many_is_turned_away_and_room_is_made_again():
    client = client_of(Limits(sessions=1))
    with client.websocket_connect("/_stcore/stream"):
        with (
            pytest.raises(WebSocketDisconnect) as closed,
            client.websocket_connect("/_stcore/stream"),
        ):
            pass
        assert closed.value.code == 1013
    with client.websocket_connect("/_stcore/stream"):
        pass


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RD4AD_PER_MINUTE", "many"),
        ("RD4AD_SESSIONS", "-1"),
        ("RD4AD_PER_MINUTE_TOTAL", "nan"),
        ("RD4AD_TRUSTED_PROXIES", "10.0.0.0/99"),
    ],
)
def test_a_setting_that_is_none_names_itself(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=name):
        Limits.from_environment()


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("RD4AD_PER_MINUTE", "7.5")
    monkeypatch.setenv("RD4AD_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1")
    limits = Limits.from_environment()
    assert limits.per_minute == 7.5
    assert len(limits.proxies) == 2


def connection(address: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/predict?detector=transistor",
        "/live/gradio_api/queue/join",
        "/live/gradio_api/component_server",
        "/healthz",
        "/category",
    ],
)
@pytest.mark.parametrize("is_chunked", [False, True], ids=["stated length", "chunks"])
def test_a_client_that_sends_all_before_it_reads_gets_413(address, path, is_chunked):
    wire = connection(address)
    body = bytes(MAX_BYTES + 2**20)
    sent = io.BytesIO(body) if is_chunked else body
    headers = {"Content-Type": "application/octet-stream"}
    wire.request("POST", path, sent, headers, encode_chunked=is_chunked)
    answer = wire.getresponse()
    said = answer.read().decode()
    wire.close()
    # A path without a body is turned away unread: the explorer's pages take no POST.
    assert answer.status == 413 or (is_chunked and answer.status in (400, 404, 405, 422)), said
    assert answer.status != 413 or "larger than the" in said


def test_an_upload_to_the_auditor_over_its_limit_is_413(address):
    wire = connection(address)
    wire.putrequest("PUT", "/_stcore/upload_file/a/b")
    wire.putheader("Content-Length", str(101 * 2**20))
    wire.endheaders()
    for _ in range(101):
        wire.send(bytes(2**20))
    answer = wire.getresponse()
    assert answer.status == 413
    answer.read()
    wire.close()


def test_who_asks_before_sending_is_told_at_once(address):
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as wire:
        wire.sendall(
            b"POST /api/v1/predict?detector=transistor HTTP/1.1\r\nHost: a\r\n"
            b"Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
        )
        assert wire.recv(4096).startswith(b"HTTP/1.1 413")


def test_an_upload_finds_no_room_while_others_take_too_much_memory(monkeypatch):
    app = FastAPI()

    @app.put("/_stcore/upload_file/{rest:path}")
    def take(rest: str) -> str:
        return rest

    held = [0.0]
    monkeypatch.setattr("rd4ad.web.upload_room.held_mib", lambda: held[0])
    app.add_middleware(UploadRoom, at_most_mib=1)
    client = TestClient(app)
    assert client.put("/_stcore/upload_file/a/b", content=b"x").status_code == 200
    held[0] = 1.5
    refused = client.put("/_stcore/upload_file/a/b", content=b"x")
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "60"
    assert client.delete("/_stcore/upload_file/a/b").status_code == 405  # leaving is always allowed
