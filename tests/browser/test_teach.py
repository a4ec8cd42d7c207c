"""Teach in a real Chromium: from thirty photos to a judged one, and back by the link."""

import io
import re
from pathlib import Path

import httpx2 as httpx
import pytest
from PIL import Image
from playwright.sync_api import expect

from rd4ad import Detector
from rd4ad.data.parts import render

pytestmark = pytest.mark.browser
LONG_MS = 120_000


@pytest.fixture(scope="module")
def server(running, tmp_path_factory):
    """The application as it comes, with jobs of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RD4AD_TEACH_FOLDER", str(tmp_path_factory.mktemp("jobs")))
        with running("-m", "rd4ad.cli", "serve") as url:
            yield url


@pytest.fixture
def taught(server, watched):
    """A page with a detector that was taught twelve photos over HTTP."""
    photos = []
    for i in range(12):
        file = io.BytesIO()
        Image.fromarray(render("bottle", "good", i, split="train")[0]).save(file, "PNG")
        photos.append(("photos", (f"{i:02d}.png", file.getvalue())))
    token = httpx.post(f"{server}/api/v1/teach", files=photos, timeout=60).json()["token"]
    page = watched(viewport={"width": 1280, "height": 1200}).page
    page.goto(f"{server}/teach?job={token}")
    page.get_by_text("What would it find?").wait_for(timeout=LONG_MS)
    yield page
    httpx.delete(f"{server}/api/v1/teach/{token}")


def example_taught(one, server):
    """The page after one click on the server examples."""
    page = one.open(f"{server}/teach", "Teach")
    page.get_by_text("Our examples").click()
    page.get_by_role("button", name="Use 30 of these").click()
    return page


def test_a_visitor_teaches_a_part_judges_a_photo_takes_it_along_and_deletes_it(
    server, watched, tmp_path
):
    one = watched(viewport={"width": 1280, "height": 1200})
    page = example_taught(one, server)
    page.get_by_text("What would it find?").wait_for(timeout=LONG_MS)
    expect(page.get_by_text("30 photos", exact=True)).to_be_visible()
    bad = tmp_path / "bad.png"
    Image.fromarray(render("bottle", "contamination", 0)[0]).save(bad)
    chosen = page.locator("[data-testid=stFileUploader]").filter(has_text="Photos to judge")
    chosen.locator("input[type=file]").set_input_files(str(bad))
    page.get_by_text("bad.png: defective").wait_for(timeout=LONG_MS)
    expect(page.get_by_text("The most similar good photo")).to_be_visible()
    one.settle()  # a button that is drawn again offers its file under another name
    with page.expect_download(timeout=LONG_MS) as started:
        page.get_by_role("button", name="ONNX model").click()
    path = tmp_path / "detector.onnx"
    path.write_bytes(Path(started.value.path()).read_bytes())
    assert Detector.load(path).predict(bad)[0].is_anomalous
    other = watched().open(page.url, "Teach")  # by the link, in another browser
    other.get_by_text("What would it find?").wait_for(timeout=LONG_MS)
    page.get_by_role("button", name="Delete all now").click()
    page.get_by_text("Accepted false alarms").wait_for(timeout=LONG_MS)
    other.reload()
    other.get_by_text("This job is gone").wait_for(timeout=LONG_MS)


def test_a_photo_is_taken_out_and_the_others_are_fitted_again(taught):
    taught.get_by_role("button", name="Take it out").first.click()
    taught.get_by_text("11 photos").first.wait_for(timeout=LONG_MS)
    taught.get_by_text("Put back").first.wait_for(timeout=LONG_MS)


def test_a_training_is_watched_and_stopped(taught):
    taught.get_by_role("button", name="Train reverse distillation").click()
    taught.get_by_text("epoch").first.wait_for(timeout=LONG_MS)
    taught.get_by_role("button", name="Stop, and keep what it has").click()
    taught.get_by_text("Recommended:").wait_for(timeout=LONG_MS)


def test_a_real_defect_is_painted_in_the_live_demo(taught, watched, tmp_path):
    bad = tmp_path / "bad.png"
    Image.fromarray(render("bottle", "contamination", 0)[0]).save(bad)
    link = taught.get_by_role("link", name="Judge by camera stream").get_attribute("href")
    page = watched(viewport={"width": 1280, "height": 1200}).page
    page.goto(taught.url.split("/teach")[0] + link)
    page.get_by_role("tab", name="Real defects").click(timeout=LONG_MS)
    page.locator("#defect canvas").first.wait_for(timeout=LONG_MS)
    page.wait_for_timeout(2000)  # until the editor has drawn its empty picture
    page.locator("#defect input[type=file]").first.set_input_files(str(bad))
    page.get_by_role("button", name="Add this defect").click()
    page.get_by_text("1 defect: image AUROC").wait_for(timeout=LONG_MS)


def test_a_burst_of_the_camera_becomes_photos(server, watched):
    one = watched(viewport={"width": 1280, "height": 1200}, permissions=["camera"])
    page = one.open(f"{server}/teach", "Teach")
    page.get_by_text("Camera", exact=True).click()
    page.get_by_role("button", name="Take a burst instead").click()
    link = page.get_by_role("link", name="Open the burst").get_attribute("href", timeout=LONG_MS)
    token = link.split("job=")[1]
    page.goto(page.url.split("/teach")[0] + link)
    page.get_by_role("tab", name="Good parts").click(timeout=LONG_MS)
    tab = page.get_by_role("tabpanel").filter(has_text="Start the camera").last
    tab.get_by_text("Click to Access Webcam").click()
    tab.get_by_text("Record").click(timeout=LONG_MS)
    page.get_by_text("3 photos").first.wait_for(timeout=LONG_MS)
    page.get_by_text("Stop", exact=True).locator("visible=true").first.click()
    page.wait_for_timeout(2000)  # the last picture is on its way
    page = watched().open(f"{server}/teach?job={token}", "Teach")
    page.get_by_text("Good parts").first.wait_for(timeout=LONG_MS)
    expect(page.get_by_text(re.compile(r"^[3-9]\d? photos$"))).to_be_visible()


def test_a_browser_closed_half_way_finds_its_job_again(server, watched):
    page = example_taught(watched(), server)
    page.wait_for_url("**job=**", timeout=LONG_MS)
    link = page.url
    page.close()
    page = watched().open(link, "Teach")
    page.get_by_text("What would it find?").wait_for(timeout=LONG_MS)


def test_files_from_a_folder_are_taken_and_a_broken_one_is_named(server, watched, tmp_path):
    for i in range(6):
        Image.fromarray(render("nut", "good", i, split="train")[0]).save(tmp_path / f"{i}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    page = watched(viewport={"width": 390, "height": 900}).open(f"{server}/teach", "Teach")
    files = [str(path) for path in sorted(tmp_path.glob("*.png"))]
    page.locator("input[type=file]").first.set_input_files(files)
    page.get_by_text("broken.png: This is not a whole image").wait_for(timeout=LONG_MS)
    page.get_by_text("What would it find?").wait_for(timeout=LONG_MS)
    expect(page.get_by_text("Fewer than 20 photos")).to_be_visible()
