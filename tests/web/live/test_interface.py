"""The live demo through its own client, and what strangers cannot do with the server."""

import urllib.error
import urllib.request

import pytest
from gradio_client import Client, handle_file
from PIL import Image

from rd4ad.data.parts import render


@pytest.fixture(scope="module")
def client(address):
    # The first to ask waits until the demo is built, on a busy machine for longer than by default.
    return Client(f"{address}/live/", verbose=False, httpx_kwargs={"timeout": 120})


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("photo") / "part.png"
    Image.fromarray(render("transistor", "misplaced", 0)[0]).save(path)
    return str(path)


def status(request) -> int:
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_stable_name_gives_score_regions_and_map(client, photo):
    said = client.predict(handle_file(photo), "transistor", api_name="/predict")
    assert said["verdict"] in ("normal", "defective")
    assert said["map"]["shape"] == [64, 64]
    assert {"score", "threshold", "regions", "layer_shares"} <= set(said)


def test_every_control_was_meant_to_be_there(client):
    sliders = [one for one in client.config["components"] if one["type"] == "slider"]
    assert [one["props"]["label"] for one in sliders] == ["Opacity of the heatmap", "Threshold"]


def test_two_names_are_public(client):
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(named) == ["/predict", "/list_detectors"]


@pytest.mark.parametrize("detector", ["none", "../detectors/transistor", "/etc/passwd"])
def test_an_unknown_detector_is_an_error_that_says_what_to_do(client, photo, detector):
    with pytest.raises(Exception, match=r"[Cc]hoose a detector|not in the list"):
        client.predict(handle_file(photo), detector, api_name="/predict")


def test_a_file_that_is_no_image_is_refused_with_the_reason(client, tmp_path):
    file = tmp_path / "fake.png"
    file.write_text("hello")
    with pytest.raises(Exception, match="not a whole image"):
        client.predict(handle_file(str(file)), "transistor", api_name="/predict")


def test_a_path_on_the_server_is_not_an_upload(client):
    with pytest.raises(Exception, match=r"."):
        client.predict(
            {"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}},
            "transistor", api_name="/predict",
        )  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        "/live/gradio_api/file=/etc/passwd",
        "/live/gradio_api/file=../../../../etc/passwd",
        "/live/gradio_api/file=app.py",
        "/live/gradio_api/file=requirements.txt",
        "/live/gradio_api/file%3D/etc/passwd",
    ],
)
def test_no_file_of_the_server_can_be_fetched(address, path):
    assert status(address + path) in (400, 403, 404, 500)
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(address + path)


@pytest.mark.parametrize("path", ["/app/static/../../etc/passwd", "/..%2f..%2fetc/passwd"])
def test_no_path_leads_out_of_the_explorer(address, path):
    try:
        content = urllib.request.urlopen(address + path).read()
    except urllib.error.HTTPError:
        return
    assert b"root:" not in content


def test_an_upload_over_the_limit_is_refused(address):
    body = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        + bytes(11 * 2**20)
        + b"\r\n--x--\r\n"
    )
    request = urllib.request.Request(
        f"{address}/live/gradio_api/upload", body,
        {"Content-Type": "multipart/form-data; boundary=x"},
    )  # fmt: skip
    assert status(request) == 413


def test_the_demo_is_found_without_its_slash(address):
    assert b"gradio" in urllib.request.urlopen(f"{address}/live").read()


def test_the_api_is_described_without_loading_anything_from_elsewhere(address):
    page = urllib.request.urlopen(f"{address}/api/docs").read().decode()
    assert "swagger" in page
    assert "cdn." not in page
    assert status(f"{address}/api/openapi.json") == 200
