"""Teaching over HTTP: the whole way of a program, and what strangers may try."""

import io
import struct
import subprocess
import sys
import threading
import time
import zipfile
import zlib

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from rd4ad import Detector
from rd4ad.data.archives import MAX_LIST_BYTES
from rd4ad.data.parts import render
from rd4ad.teach.jobs.classroom import Classroom
from rd4ad.teach.jobs.folder import Job
from rd4ad.teach.jobs.quota import Quota
from rd4ad.teach.memory import Recipe
from rd4ad.web import api
from rd4ad.web.limits import BodyLimit
from rd4ad.web.live.detectors import Detectors
from rd4ad.web.live.judgments import Kept
from rd4ad.web.teach import routes
from rd4ad.web.teach.job_files import MEDIA_TYPES

ADDRESS = "/api/v1/teach"


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()


@pytest.fixture(scope="module")
def photos():
    return {f"{i:03d}.png": png(render("nut", "good", i, split="train")[0]) for i in range(6)}


@pytest.fixture
def open_client(tmp_path):
    """A server of its own with limits of its own; what its jobs are at ends with the test."""
    rooms = []

    def open_it(**limits):
        room = Classroom(tmp_path / "jobs", Quota(**limits), Recipe(n_rows=512))
        rooms.append(room)
        app = FastAPI()
        app.add_middleware(BodyLimit)
        app.include_router(routes.router(lambda: room, lambda request: request.client.host))
        app.include_router(api.router(tmp_path, Detectors([], taught=room.detector), Kept()))
        return TestClient(app)

    yield open_it
    for room in rooms:
        for job, _ in Job.all_in(room.root):
            room.delete(job)


@pytest.fixture
def client(open_client):
    return open_client()


def form(photos):
    return [("photos", (name, content, "image/png")) for name, content in photos.items()]


def zipped(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def ready(client, token, part="lesson"):
    end = time.monotonic() + 120
    while True:
        answer = client.get(f"{ADDRESS}/{token}").json()
        if answer[part]["state"] not in ("queued", "working"):
            return answer
        assert time.monotonic() < end, answer[part]
        time.sleep(0.1)


def test_the_whole_way_of_a_program(client, photos, tmp_path):
    made = client.post(ADDRESS, files=form(photos), params={"name": "nut", "false_alarms": 0.05})
    assert made.status_code == 201, made.text
    token = made.json()["token"]
    done = ready(client, token)
    assert done["lesson"]["state"] == "ready"
    assert done["result"]["threshold"]["rate"] == 0.05
    assert {"detector.onnx", "judge.py", "report.html", "found-0.jpg"} <= set(done["files"])
    for name in done["files"]:
        got = client.get(f"{ADDRESS}/{token}/files/{name}")
        assert got.status_code == 200
        assert got.headers["content-type"].startswith(MEDIA_TYPES[name])
    for suffix in ("safetensors", "onnx"):
        path = tmp_path / f"taught.{suffix}"
        path.write_bytes(client.get(f"{ADDRESS}/{token}/files/detector.{suffix}").content)
        bad = Detector.load(path).predict(render("nut", "chipped", 0)[0])[0]
        assert bad.is_anomalous
    judged = client.post(
        "/api/v1/predict",
        params={"detector": done["detector"]},
        files={"image": png(render("nut", "chipped", 0)[0])},
    )
    assert judged.json()["verdict"] == "defective"
    assert judged.json()["score"] == pytest.approx(bad.score, abs=1e-3)
    assert client.delete(f"{ADDRESS}/{token}").status_code == 204
    assert client.get(f"{ADDRESS}/{token}").status_code == 404
    assert client.get(f"{ADDRESS}/{token}/files/report.html").status_code == 404
    gone = client.post(
        "/api/v1/predict", params={"detector": done["detector"]}, files={"image": b"x"}
    )
    assert gone.status_code == 404
    assert not list((tmp_path / "jobs").glob("*/photos"))


def test_a_zip_with_folders_hidden_files_and_climbing_names_is_read(client, photos, tmp_path):
    inside = {f"../../{name}": content for name, content in photos.items()}
    inside |= {"__MACOSX/._a.png": b"x", "notes.txt": b"x", "a/.hidden.png": b"x"}
    made = client.post(ADDRESS, files={"photos": ("parts.ZIP", zipped(inside))}).json()
    assert [one["name"] for one in made["photos"]] == sorted(photos)
    assert made["problems"] == []
    assert not list(tmp_path.parent.glob("*.png"))


def bomb():
    """A picture whose header promises a hundred thousand pixels a side."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = (b"IHDR" + header, b"IDAT" + zlib.compress(b""), b"IEND")
    lengths = (struct.pack(">I", len(chunk) - 4) for chunk in chunks)
    checks = (struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    parts = zip(lengths, chunks, checks, strict=True)
    return b"\x89PNG\r\n\x1a\n" + b"".join(b"".join(part) for part in parts)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"not a picture", "not a whole image"),
        ("a.png", bomb(), "too large to decode"),
        ("a.png", b"", "not a whole image"),
        ("a.zip", b"not a zip", "not a ZIP file"),
        ("a.zip", zipped({"a.txt": b"x"}), "no image in this ZIP"),
        ("a.zip", zipped({"a.png": bytes(64 * 2**20)}), "at most 10 MB"),
        ("a.zip", zipped({"a.png": b"x"})[:-30], "not a ZIP file"),
    ],
    ids=["text", "pixels", "empty", "no zip", "no image", "zip bomb", "cut zip"],
)
def test_a_file_that_is_refused_is_named_and_stops_nothing(client, photos, name, content, message):
    made = client.post(ADDRESS, files=[*form(photos), ("photos", (name, content))])
    assert made.status_code == 201
    assert message in made.json()["problems"][0]
    assert len(made.json()["photos"]) == 6


def test_a_zip_of_a_million_entries_is_refused_by_its_end():
    """Opening it would take gigabytes: the list alone is refused, before Python reads it."""
    from rd4ad.data.archives import open_zip
    from rd4ad.data.folders import DatasetError

    content = zipped({f"{i:05d}.png": b"" for i in range(10)})
    at = content.rfind(b"PK\x05\x06")
    for size in (MAX_LIST_BYTES + 1, 0xFFFFFFFF):
        changed = content[: at + 12] + struct.pack("<L", size) + content[at + 16 :]
        with pytest.raises(DatasetError, match="too many entries"):
            open_zip(changed)


def test_an_encrypted_or_damaged_entry_is_named(client, photos):
    content = bytearray(zipped({"a.png": next(iter(photos.values())), "b.png": b"xyz"}))
    start = content.find(b"PK\x01\x02")
    content[start + 8] |= 1  # the flag of encryption
    made = client.post(ADDRESS, files=[*form(photos), ("photos", ("a.zip", bytes(content)))])
    problems = made.json()["problems"]
    assert [problem.split(":")[0] for problem in problems] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("limits", "status", "message"),
    [
        ({"is_on": False}, 503, "switched off"),
        ({"jobs": 1}, 503, "too many jobs"),
        ({"jobs_per_client": 1}, 503, "delete one first"),
        ({"photos": 5}, 400, "at most 5"),
    ],
)
def test_more_than_the_quota_is_refused(open_client, photos, limits, status, message):
    client = open_client(**limits)
    for _ in range(1 + ("jobs" in limits or "jobs_per_client" in limits)):
        answer = client.post(ADDRESS, files=form(photos))
    assert answer.status_code == status
    assert message in answer.json()["detail"]


def test_too_few_photos_leave_no_job(client, photos, tmp_path):
    few = dict(list(photos.items())[:3])
    answer = client.post(ADDRESS, files=form(few))
    assert answer.status_code == 400
    assert "at least 5" in answer.json()["detail"]
    assert not list((tmp_path / "jobs").glob("*/job.json"))


@pytest.mark.parametrize("values", [{"false_alarms": 0}, {"false_alarms": "nan"}, {"name": "../x"}])
def test_values_out_of_range_are_refused(client, photos, values):
    assert client.post(ADDRESS, files=form(photos), params=values).status_code == 422


@pytest.mark.parametrize(
    "path",
    [
        "0" * 32,
        "..",
        "../../etc/passwd",
        "%2e%2e%2f%2e%2e",
        "A" * 32,
        "0" * 33,
        f"{'0' * 32}/files/report.html",
    ],
)
def test_a_token_that_is_none_finds_nothing(client, path):
    for method in (client.get, client.delete):
        assert method(f"{ADDRESS}/{path}").status_code in (404, 405, 422)


@pytest.mark.parametrize(
    "name", ["job.json", "practice.log", "../job.json", "photos", "first.safetensors", "means.npy"]
)
def test_no_other_file_of_a_job_is_given_out(client, photos, name):
    token = client.post(ADDRESS, files=form(photos)).json()["token"]
    assert client.get(f"{ADDRESS}/{token}/files/{name}").status_code == 404


def test_a_training_cannot_be_asked_for_too_early_or_too_long(client, photos):
    token = client.post(ADDRESS, files=form(photos)).json()["token"]
    ready(client, token)
    answer = client.post(f"{ADDRESS}/{token}/training", params={"minutes": 11})
    assert answer.status_code == 400
    assert client.delete(f"{ADDRESS}/{token}/training").status_code == 202


def test_twelve_visitors_at_once_all_get_their_turn(open_client, photos):
    client = open_client(jobs_per_client=12)
    tokens, lock = [], threading.Lock()

    def visit():
        token = client.post(ADDRESS, files=form(photos)).json()["token"]
        with lock:
            tokens.append(token)

    threads = [threading.Thread(target=visit) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    places = [client.get(f"{ADDRESS}/{token}").json()["lesson"]["place"] for token in tokens]
    assert max(places) >= 5
    assert all(ready(client, token)["lesson"]["state"] == "ready" for token in tokens)


@pytest.mark.slow
def test_five_hundred_photos_of_twelve_megapixels_are_taught(open_client, tmp_path):
    client = open_client()
    rng = np.random.default_rng(0)
    large = []
    for i in range(20):
        lit = (render("nut", "good", i, split="train")[0] * rng.uniform(0.9, 1)).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(lit).resize((4000, 3000)).save(file, "JPEG", quality=30)
        large.append(file.getvalue())
    files = {f"{i:03d}.jpg": large[i % 20] for i in range(500)}
    names = sorted(files)
    halves = [zipped({n: files[n] for n in part}) for part in (names[:250], names[250:])]
    sent = [("photos", (f"{i}.zip", half)) for i, half in enumerate(halves)]
    made = client.post(ADDRESS, files=sent)
    assert made.status_code == 201, made.text
    assert len(made.json()["photos"]) == 500
    assert ready(client, made.json()["token"])["lesson"]["state"] == "ready"


def test_the_routes_import_no_torch():
    code = "import sys, rd4ad.web.teach.routes; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
