"""The live demo as a tool, through the protocol's own client."""

import asyncio
import base64
from pathlib import Path

import pytest

mcp = pytest.importorskip("mcp")
from mcp import ClientSession  # noqa: E402
from mcp.client.streamable_http import streamable_http_client  # noqa: E402

PICTURE = Path(__file__).resolve().parents[2] / "rd4ad/web/live/examples/transistor_good.jpg"
DATA = "data:image/jpeg;base64," + base64.b64encode(PICTURE.read_bytes()).decode()


def talk(address: str, ask) -> object:
    async def session() -> object:
        async with (
            streamable_http_client(f"{address}/live/gradio_api/mcp/") as (reading, writing, _),
            ClientSession(reading, writing) as client,
        ):
            await client.initialize()
            return await ask(client)

    return asyncio.run(session())


@pytest.fixture(scope="module")
def tools(address):
    import urllib.request

    urllib.request.urlopen(f"{address}/live/config", timeout=120).close()
    return {tool.name: tool for tool in talk(address, lambda client: client.list_tools()).tools}


def test_there_are_two_tools_with_typed_arguments_that_say_what_they_are(tools):
    assert sorted(tools) == ["list_detectors", "predict"]
    predict = tools["predict"]
    assert "anomalies" in predict.description
    arguments = predict.inputSchema["properties"]
    assert set(arguments) == {"image", "detector", "with_map"}
    assert arguments["with_map"]["type"] == "boolean"
    assert all(one["description"] for one in arguments.values())


def call(address, name, **arguments):
    answer = talk(address, lambda client: client.call_tool(name, arguments))
    return answer.isError, " ".join(part.text for part in answer.content if part.type == "text")


def test_detectors_are_listed(address, tools):
    is_error, said = call(address, "list_detectors")
    assert not is_error
    assert "transistor" in said


def test_a_photo_is_judged(address, tools):
    is_error, said = call(address, "predict", image=DATA, detector="transistor", with_map=False)
    assert not is_error, said
    assert "verdict" in said
    assert "tiff_base64" not in said


@pytest.mark.parametrize(
    "image",
    ["/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:1/a.png", "app.py", "data:,hello"],
)
def test_nothing_but_a_photo_is_opened(address, tools, image):
    is_error, said = call(address, "predict", image=image, detector="transistor", with_map=False)
    assert is_error
    assert "verdict" not in said
    assert "No such file" not in said
