"""Attacks on the live demo over HTTP: every event, private ones too, is a door."""

import base64
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import zlib
from pathlib import Path

import pytest
from PIL import Image

from rd4ad.web.live.door import NOT_AN_UPLOAD, Drawings

EXAMPLES = Path(__file__).resolve().parents[3] / "rd4ad/web/live/examples"
MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}


def send(url: str, body: object, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Status and text of a POST."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(
        url, content, {"Content-Type": "application/json"} | (headers or {})
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def form(name: str, content: bytes, **fields: str) -> bytes:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="a.png"\r\n\r\n'
    return b"".join(parts) + head.encode() + content + b"\r\n--x--\r\n"


def png(width: int = 64, height: int = 64) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header promises any number of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def live(address) -> str:
    with urllib.request.urlopen(f"{address}/live/config", timeout=120):
        return f"{address}/live"


@pytest.fixture(scope="module")
def config(live) -> dict:
    with urllib.request.urlopen(f"{live}/config", timeout=120) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def upload(live) -> str:
    """The path that Gradio gave to a picture that was uploaded."""
    status, said = send(f"{live}/gradio_api/upload", form("files", png()), MULTIPART)
    assert status == 200
    return json.loads(said)[0]


def file(path: str, **more: object) -> dict[str, object]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}} | more


def joined(live: str, number: int, data: list[object]) -> str:
    """What the queue answers to an event: the error's text, or "complete"."""
    session = f"s{number}"
    body = {"fn_index": number, "session_hash": session, "data": data}
    status, said = send(f"{live}/gradio_api/queue/join", body)
    if status != 200:
        return f"{status} {said}"
    with urllib.request.urlopen(
        f"{live}/gradio_api/queue/data?session_hash={session}", timeout=60
    ) as stream:
        for line in stream:
            if b"process_completed" in line:
                message = json.loads(line.removeprefix(b"data: "))
                return message["output"].get("error") or "complete"
    raise AssertionError("the queue ended without an answer")


def inputs_with(config: dict, event: dict, sent: dict[str, object]) -> list[object]:
    """The data of an event with a file wherever one can be put, in the component's own form."""
    kinds = {one["id"]: one["type"] for one in config["components"]}
    forms = {
        "file": [sent],
        "imageeditor": {"background": sent, "layers": [sent], "composite": sent, "id": None},
    }
    return [forms.get(kinds[number], sent) for number in event["inputs"]]


def attacks(upload: str, tmp_path: Path) -> dict[str, dict[str, object]]:
    """What a stranger may put where a file is expected, by what is tried."""
    link = Path(upload).parent.parent / "link.png"
    if not link.is_symlink():
        link.symlink_to(EXAMPLES / "bottle_good.jpg")
    picture = tmp_path / "secret.png"
    picture.write_bytes(png())
    folder = Path(upload).parent.parent
    guessed = folder / hashlib.sha256(png()).hexdigest() / "a.png"
    return {
        "absolute": file("/etc/passwd"),
        "absolute, a picture": file(str(picture)),
        "absent": file("/nowhere/at/all.png"),
        "relative": file("app.py"),
        "relative to the upload": file(os.path.relpath(upload)),
        "dots": file(f"{folder}/../../../../../../etc/passwd"),
        "symlink": file(str(link)),
        "file address": file(f"file://{picture}"),
        "loopback": file("http://127.0.0.1:1/a.png"),
        "directory": file(str(folder)),
        "device": file("/dev/zero"),
        "standard input": file("/dev/stdin"),
        "another visitor's upload, guessed": file(str(guessed)),
        "percent": file(urllib.parse.quote(str(picture), safe="")),
        "percent, twice": file("%252e%252e/etc/passwd"),
        "zero byte": file(f"{upload}\0.png"),
        "overlong": file("/" + "a" * 5000),
        "wide dots": file(f"{folder}/\uff0e\uff0e/\uff0e\uff0e/etc/passwd"),
        "data address": file(upload, url="data:image/png;base64,AAAA"),
        "no text": file(3),
        "stream": file("/etc/passwd", is_stream=True),
    }


def test_every_event_answers_every_foreign_path_with_one_sentence(live, config, upload, tmp_path):
    events = [event for event in config["dependencies"] if event["inputs"]]
    assert len(events) >= 8
    for what, sent in attacks(upload, tmp_path).items():
        for event in events:
            said = joined(live, event["id"], inputs_with(config, event, sent))
            assert said == NOT_AN_UPLOAD, f"{what}, event {event['id']}: {said}"


@pytest.mark.parametrize("way", ["call/predict", "call/v2/predict", "run/predict", "api/predict"])
def test_every_way_to_the_named_event_passes_the_door(live, way):
    sent = file("/etc/passwd")
    body = (
        {"image": sent, "detector": "transistor"}
        if "v2" in way
        else {"data": [sent, "transistor", False]}
    )
    status, said = send(f"{live}/gradio_api/{way}", body)
    if way.startswith("call/") and status == 200:
        event = json.loads(said)["event_id"]
        address = f"{live}/gradio_api/call/predict/{event}"
        with urllib.request.urlopen(address, timeout=60) as answer:
            said = answer.read().decode()
    assert NOT_AN_UPLOAD in said or status in (404, 422), said
    assert "No such file" not in said


def test_an_upload_is_judged(live, config, upload):
    number = next(e["id"] for e in config["dependencies"] if e["api_name"] == "predict")
    assert joined(live, number, [file(upload), "transistor", False]) == "complete"


def test_a_file_nested_deeply_is_found(live, config):
    sent: object = file("/etc/passwd")
    for _ in range(200):
        sent = {"a": [sent]}
    number = next(e["id"] for e in config["dependencies"] if e["api_name"] == "predict")
    assert joined(live, number, [sent, "transistor", False]) == NOT_AN_UPLOAD


def test_a_picture_of_too_many_pixels_is_refused_by_its_header(live, config):
    status, said = send(f"{live}/gradio_api/upload", form("files", bomb(12_000, 12_000)), MULTIPART)
    assert status == 200
    path = json.loads(said)[0]
    for event in config["dependencies"]:
        if event["inputs"]:
            kinds = {one["id"]: one["type"] for one in config["components"]}
            if {kinds[i] for i in event["inputs"]} & {"image", "imageeditor"}:
                said = joined(live, event["id"], inputs_with(config, event, file(path)))
                assert "megapixels" in said or "too large" in said


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ({"index": "1000000000", "type": "layer"}, png()),
        ({"index": "null", "type": "composite"}, bomb(30_000, 30_000)),
        ({"index": "null", "type": "composite"}, b"no picture"),
        ({"index": "null", "type": "composite", "id": "x" * 1000}, png()),
    ],
)
def test_a_drawing_has_one_layer_and_a_size(live, config, fields, content):
    pad = next(one["id"] for one in config["components"] if one["type"] == "imageeditor")
    more = {"id": "d", "component_id": str(pad), "session_hash": "s", "fn_name": "accept_blobs"}
    body = form("file", content, **(more | fields))
    assert send(f"{live}/gradio_api/component_server", body, MULTIPART)[0] == 400


def test_the_oldest_drawings_go_when_there_are_too_many():
    drawings = Drawings()
    for number in range(100):
        drawings[str(number)] = number
    assert len(drawings) == 32
    assert "99" in drawings


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=http://127.0.0.1:1/",
        "/gradio_api/file=https://example.org/",
        "/gradio_api/file=file:///etc/passwd",
        "/gradio_api/file=%68ttp://127.0.0.1:1/",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/gradio_api/deep_link?session_hash=a",
        "/gradio_api/vibe-code/",
        "/gradio_api/profiling/traces",
        "/gradio_api/runs",
        "/monitoring",
        "/dev/reload",
    ],
)
def test_what_the_demo_does_not_need_is_not_there(live, path):
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(live + path, timeout=10)
    with raised.value as error:
        assert error.code == 404


@pytest.mark.parametrize("path", ["process_recording", "vibe-edit", "stream/a", "deep_link"])
def test_nothing_else_can_be_posted(live, path):
    assert send(f"{live}/gradio_api/{path}", {})[0] == 404


def test_uploads_have_a_limit_on_disk(tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0/a.png").write_bytes(bytes(3 * 2**20))
    code = (
        "import pathlib\n"
        "from fastapi.testclient import TestClient\n"
        "from rd4ad.web.serve import create_app\n"
        "with TestClient(create_app()) as client:\n"
        "    upload = lambda: client.post('/live/gradio_api/upload', files={'files': b'a'})\n"
        "    full = upload()\n"
        "    assert (full.status_code, full.headers['Retry-After']) == (503, '600')\n"
        "    assert 'no room' in full.json()['detail']\n"
        f"    pathlib.Path({str(tmp_path / '0/a.png')!r}).unlink()\n"
        "    assert upload().status_code == 200\n"
    )
    settings = {"GRADIO_TEMP_DIR": str(tmp_path), "RD4AD_UPLOADS_MIB": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | settings, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


FRAME = "data:image/jpeg;base64,"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"url": FRAME + base64.b64encode(bomb(60_000, 60_000)).decode()}, "too large"),
        ({"url": FRAME + base64.b64encode(b"no picture").decode()}, "not a whole image"),
        ({"url": FRAME + "%%%"}, "not a picture of a camera"),
        ({"url": FRAME, "path": "/etc/passwd"}, NOT_AN_UPLOAD),
        ({"url": "data:text/html;base64,AAAA"}, NOT_AN_UPLOAD),
        ({"url": "http://127.0.0.1:1/a.png"}, "error"),
        ({"path": "/etc/passwd"}, NOT_AN_UPLOAD),
    ],
    ids=["pixels", "text", "no base64", "frame and path", "html", "address", "path"],
)
def test_a_stream_takes_pictures_of_a_camera_and_nothing_else(live, config, sent, said):
    cameras = {c["id"] for c in config["components"] if c["props"].get("streaming")}
    event = next(e for e in config["dependencies"] if cameras & set(e["inputs"]))
    answer = joined(live, event["id"], [sent | {"meta": {"_type": "gradio.FileData"}}, "nut", 0])
    assert said in answer or (said == "error" and answer != "complete")


def test_a_picture_of_a_camera_is_judged(live, config):
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "gray").save(file, "JPEG")
    cameras = {c["id"] for c in config["components"] if c["props"].get("streaming")}
    event = next(e for e in config["dependencies"] if cameras & set(e["inputs"]))
    sent = {"url": FRAME + base64.b64encode(file.getvalue()).decode()}
    name = next(c for c in config["components"] if c["props"].get("label") == "Detector")
    data = [sent | {"meta": {"_type": "gradio.FileData"}}, name["props"]["value"], None]
    assert joined(live, event["id"], data) == "complete"
