"""The JSON API: answers, refusals, and fuzzing from its own description."""

import io
import re

import numpy as np
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from PIL import Image
from starlette.testclient import TestClient

from rd4ad.data.parts import render
from rd4ad.runs.index import read_index
from rd4ad.web import api
from rd4ad.web.limits import BodyLimit
from rd4ad.web.live.detectors import BusyError, Detectors, Judgment
from rd4ad.web.live.judgments import Kept
from rd4ad.web.live.uploads import MAX_BYTES

KEPT = Kept()


@pytest.fixture(scope="module")
def app(part_results):
    app = FastAPI()
    app.add_middleware(BodyLimit)
    app.include_router(api.router(part_results, Detectors([part_results / "detectors"]), KEPT))
    return app


@pytest.fixture(scope="module")
def client(app):
    return TestClient(app)


@pytest.fixture(scope="module")
def photo() -> bytes:
    file = io.BytesIO()
    Image.fromarray(render("transistor", "misplaced", 0)[0]).save(file, "PNG")
    return file.getvalue()


def test_the_leaderboard_holds_the_papers_metrics_and_ours(client, part_results):
    rows = client.get("/api/v1/leaderboard", params={"metric": "pixel_auroc"}).json()
    cell = [
        r for r in rows
        if (r["method"], r["by"], r["size_px"], r["category"])
        == ("RD4AD", "RD4AD paper", 256, "transistor")
    ]  # fmt: skip
    assert cell[0]["value"] == 0.925
    assert cell[0]["kind"] == "reported"
    ours = client.get("/api/v1/leaderboard", params={"dataset": "Generated parts"}).json()
    stored = read_index(part_results, is_default=True)["pixel_auroc"]
    assert ours[0]["value"] == pytest.approx(stored.item())
    assert ours[0]["kind"] == "reproduced"


def test_an_unknown_dataset_has_no_rows_and_an_unknown_metric_is_refused(client):
    assert client.get("/api/v1/leaderboard", params={"dataset": "none"}).json() == []
    assert client.get("/api/v1/leaderboard", params={"metric": "none"}).status_code == 422


def test_runs_are_listed_and_each_can_be_read(client):
    runs = client.get("/api/v1/runs").json()
    assert len(runs) == 1
    run = client.get(f"/api/v1/runs/{runs[0]['run_id']}").json()
    assert run["record"]["seed"] == 0
    assert {row["metric"] for row in run["metrics"]} >= {"image_auroc", "aupro"}


@pytest.mark.parametrize(
    "name", ["none", "..", "..%2F..%2Fpublished", ".hidden", "%2Fetc%2Fpasswd", "a" * 300]
)
def test_no_name_leads_out_of_the_runs(client, name):
    assert client.get(f"/api/v1/runs/{name}").status_code in (404, 422)


def test_a_link_below_the_runs_is_not_followed(client, part_results, tmp_path):
    link = part_results / "runs" / "link"
    link.symlink_to(tmp_path)
    try:
        assert client.get("/api/v1/runs/link").status_code == 404
    finally:
        link.unlink()


def test_an_image_is_judged(client, photo):
    done = client.post(
        "/api/v1/predict", params={"detector": "transistor"}, files={"image": ("a.png", photo)}
    )
    assert done.status_code == 200
    said = done.json()
    assert said["map"]["shape"] == [64, 64]
    assert said["verdict"] in ("normal", "defective")
    assert said["image"] == {"width": 256, "height": 256}


def test_a_threshold_of_ones_own_changes_the_verdict_and_the_map_can_be_left_out(client, photo):
    for threshold, verdict in ((0, "defective"), (50, "normal")):
        said = client.post(
            "/api/v1/predict",
            params={"detector": "transistor", "threshold": threshold, "with_map": False},
            files={"image": photo},
        ).json()
        assert said["verdict"] == verdict
        assert "map" not in said
        assert said["threshold_is_calibrated"] is False


def test_a_file_that_is_no_image_is_refused_with_the_reason(client):
    done = client.post(
        "/api/v1/predict", params={"detector": "transistor"}, files={"image": b"hello"}
    )
    assert done.status_code == 400
    assert "not a whole image" in done.json()["detail"]


@pytest.mark.parametrize("name", ["none", "../detectors/transistor", "/etc/passwd"])
def test_an_unknown_detector_is_refused_with_the_names_there_are(client, photo, name):
    done = client.post("/api/v1/predict", params={"detector": name}, files={"image": photo})
    assert done.status_code == 404
    assert "transistor" in done.json()["detail"]


def test_other_methods_are_refused(client):
    for method in ("PUT", "DELETE", "PATCH"):
        assert client.request(method, "/api/v1/runs").status_code == 405
    assert client.get("/api/v1/predict").status_code == 405


def test_a_body_over_the_limit_is_refused(client):
    done = client.post(
        "/api/v1/predict",
        params={"detector": "transistor"},
        files={"image": bytes(MAX_BYTES + 100_000)},
    )
    assert done.status_code == 413


def test_a_body_that_hides_its_length_is_refused_as_it_comes(client):
    def parts():
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(MAX_BYTES // 65536 + 4):
            yield bytes(65536)
        yield b"\r\n--x--\r\n"

    done = client.post(
        "/api/v1/predict",
        params={"detector": "transistor"},
        content=parts(),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert done.status_code == 413


def test_too_many_at_once_are_told_to_come_again(client, photo, monkeypatch):
    def busy(self, name, image):
        raise BusyError("Too many images are waiting")

    monkeypatch.setattr(Detectors, "judge", busy)
    done = client.post("/api/v1/predict", params={"detector": "transistor"}, files={"image": photo})
    assert done.status_code == 503
    assert done.headers["Retry-After"] == "5"


def test_the_files_of_a_kept_judgment_can_be_fetched(client, part_results):
    detectors = Detectors([part_results / "detectors"])
    token = KEPT.keep(detectors.judge("transistor", np.zeros((32, 48, 3), np.uint8)))
    at = {"threshold": 0.4}
    overlay = client.get(f"/api/v1/judgments/{token}/overlay.png", params=at)
    assert Image.open(io.BytesIO(overlay.content)).size == (48, 32)
    assert "attachment" in overlay.headers["Content-Disposition"]
    assert client.get(f"/api/v1/judgments/{token}/map.tiff", params=at).content[:2] == b"II"
    assert client.get(f"/api/v1/judgments/{token}/answer.json", params=at).json()["score"] > 0
    assert client.get(f"/api/v1/judgments/{token}/passwd", params=at).status_code == 422
    assert client.get("/api/v1/judgments/guess/map.tiff", params=at).status_code == 404


def test_every_token_is_a_name_that_the_address_takes():
    kept, one = Kept(at_most=1), np.zeros((1, 1), np.float32)
    judged = Judgment(
        "a", np.zeros((1, 1, 3), np.uint8), (1, 1), 0.0, None, (), one, {1: one}, {1: 1.0}
    )
    pattern = api.Name.__metadata__[0].metadata[1].pattern
    assert all(re.fullmatch(pattern, kept.keep(judged)) for _ in range(1000))


def test_without_any_run_the_lists_are_empty(results):
    app = FastAPI()
    app.include_router(api.router(results, Detectors([]), Kept()))
    client = TestClient(app)
    assert client.get("/api/v1/runs").json() == []
    assert client.get("/api/v1/detectors").json() == []
    assert client.get("/api/v1/leaderboard").status_code == 200


def test_it_survives_fuzzing_from_its_own_description(app):
    described = schemathesis.openapi.from_asgi("/openapi.json", app)
    calm = settings(
        max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    operations = [result.ok() for result in described.get_all_operations()]
    assert len(operations) == 6
    for operation in operations:

        @calm
        @given(case=operation.as_strategy())
        def fuzz(case):
            response = case.call()
            assert response.status_code < 500, f"{response.status_code}: {response.text}"

        fuzz()
