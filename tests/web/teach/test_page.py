"""The page Teach without a browser: what it says, and what it refuses."""

import time

import pytest

from rd4ad.data.parts import render
from rd4ad.teach.jobs.classroom import server_classroom
from rd4ad.teach.photos import photo_of


@pytest.fixture
def room(monkeypatch, tmp_path):
    monkeypatch.setenv("RD4AD_TEACH_FOLDER", str(tmp_path / "jobs"))
    server_classroom.cache_clear()
    yield server_classroom
    server_classroom.cache_clear()


def taught(room):
    job = room().open()
    photos = [photo_of(f"{i}.png", render("nut", "good", i, split="train")[0]) for i in range(6)]
    room().add_photos(job, photos)
    room().learn(job)
    end = time.monotonic() + 120
    while job.state()["lesson"]["state"] in ("queued", "working"):
        assert time.monotonic() < end
        time.sleep(0.1)
    return job


def test_it_asks_for_photos_first(results, opened, room):
    page = opened("pages/teach.py")
    assert [one.label for one in page.select_slider] == ["Accepted false alarms"]
    assert not page.subheader


def test_what_more_photos_buy_is_shown_before_the_first_upload(results, opened, room):
    (results / "teach").mkdir()
    rows = [
        "category,n_photos,draw,image_auroc,pixel_auroc,aupro,rate_at_most,n_normal,"
        "n_false_alarms,share_found,backbone,size_px",
        "pill,5,0,0.8,0.9,0.7,0.45,26,1,0.2,distilled,256",
        "pill,30,0,0.9,0.95,0.8,0.1,26,0,0.5,distilled,256",
    ]
    (results / "teach" / "photos.csv").write_text("\n".join(rows))
    page = opened("pages/teach.py")
    assert page.subheader[0].value == "How many photos does it take?"
    assert page.dataframe[0].value["false alarms"].tolist() == ["1 of 26", "0 of 26"]


def test_a_job_is_shown_by_its_link_with_every_step(results, opened, room):
    job = taught(room)
    page = opened("pages/teach.py")
    page.query_params["job"] = job.token
    page.run()
    assert not page.exception
    assert [one.value[0] for one in page.subheader] == ["1", "2", "3", "4", "5", "6"]
    assert any("6 photos" in one.value for one in page.markdown)
    assert any("Fewer than 20" in warning.value for warning in page.warning)
    assert any("synthetic" in caption.value.lower() for caption in page.caption)


def test_a_job_that_is_gone_is_said_once(results, opened, room):
    page = opened("pages/teach.py")
    page.query_params["job"] = "0" * 32
    page.run()
    assert "is gone" in page.info[0].value
    page.run()
    assert not page.info


def test_an_operator_can_switch_it_off(results, opened, room, monkeypatch):
    monkeypatch.setenv("RD4AD_TEACH", "0")
    page = opened("pages/teach.py")
    assert "switched off" in page.info[0].value
    assert "rd4ad teach" in page.code[0].value


def test_publishing_is_offered_where_the_operator_allows_it_and_says_what_it_lacks(
    results, opened, room, monkeypatch
):
    monkeypatch.setenv("RD4AD_TEACH_PUBLISH", "1")
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    job = taught(room)
    page = opened("pages/teach.py")
    page.query_params["job"] = job.token
    page.run()
    page.text_input[0].input("somebody/nut")
    next(one for one in page.button if one.label == "Publish").click().run()
    assert not page.exception
    assert page.error
