"""Jobs on a server: their turns, their limits, their end, and what survives a kill."""

import os
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from rd4ad import Detector
from rd4ad.data.parts import render
from rd4ad.teach.jobs import work
from rd4ad.teach.jobs.classroom import Classroom, can_train
from rd4ad.teach.jobs.folder import Job
from rd4ad.teach.jobs.quota import Quota, QuotaError
from rd4ad.teach.photos import photo_of

needs_torch = pytest.mark.skipif(not can_train(), reason="reverse distillation needs torch")


@pytest.fixture
def taught(open_room, photos, wait_for):
    room = open_room()
    job = room.open()
    room.add_photos(job, photos)
    room.learn(job)
    assert wait_for(job)["state"] == "ready"
    return room, job


def test_a_lesson_leaves_a_detector_a_report_and_pictures(taught):
    _, job = taught
    detector = Detector.load(job.detector())
    bad = detector.predict(Image.fromarray(render("nut", "chipped", 0)[0]))[0]
    assert bad.is_anomalous
    names = {path.name for path in job.folder.iterdir()}
    assert {"report.html", "lesson.json", "mean.jpg", "least-0.jpg", "found-0.jpg"} <= names


def test_a_photo_that_is_left_out_is_not_fitted_and_can_come_back(taught, wait_for):
    room, job = taught
    job.leave_out(["002.png"])
    room.learn(job)
    wait_for(job)
    assert "002.png" not in job.read_json("lesson.json")["photos"]
    job.leave_out([])
    room.learn(job)
    wait_for(job)
    assert job.read_json("lesson.json")["n_photos"] == 6


def test_photos_that_a_second_tab_adds_meanwhile_are_fitted_too(open_room, photos, wait_for):
    room = open_room()
    job = room.open()
    room.add_photos(job, photos[:5])
    room.learn(job)
    while job.state()["lesson"]["state"] == "queued":
        time.sleep(0.005)
    room.add_photos(job, photos[5:])
    room.learn(job)
    assert wait_for(job)["state"] == "ready"
    assert job.read_json("lesson.json")["n_photos"] == 6


def test_a_line_goes_on_after_an_error_in_one_job(open_room, photos, wait_for):
    room = open_room()
    bad, good = room.open("a"), room.open("b")
    for job in (bad, good):
        room.add_photos(job, photos)
    for path in (bad.folder / "photos").iterdir():
        path.write_bytes(b"no picture")
    room.learn(bad)
    room.learn(good)
    assert wait_for(bad)["state"] == "failed"
    assert wait_for(good)["state"] == "ready"


def test_real_defects_are_measured_with_their_masks(taught):
    _, job = taught
    image, mask = render("nut", "chipped", 1)
    assert image.shape == (256, 256, 3)
    job.add_defect(photo_of("chipped.png", image), mask > 0)
    job.add_defect(photo_of("rust.png", render("nut", "rust", 1)[0]), None)
    work.write_report(job)
    real = job.read_json("lesson.json")["real"]
    assert real["image_auroc"] == 1
    assert real["pixel_auroc"] > 0.9
    assert "Real defects" in (job.folder / "report.html").read_text(encoding="utf-8")


@needs_torch
def test_a_training_reports_its_way_can_be_stopped_and_keeps_what_it_has(taught, wait_for):
    room, job = taught
    room.train(job, 5)
    end = time.monotonic() + 90
    while not (job.read_json("progress.json") or {}).get("losses"):
        assert job.state()["student"]["state"] != "failed", job.state()["student"]
        assert time.monotonic() < end
        time.sleep(0.1)
    room.stop(job)
    assert wait_for(job, "student") == {"state": "ready"}
    lesson = job.read_json("lesson.json")
    assert len(lesson["compared"]) == 3
    assert (job.folder / "student.jpg").exists()
    kept = "reverse_distillation" if lesson["is_student_kept"] else "patchcore"
    assert Detector.load(job.detector()).engine.method == kept


@needs_torch
def test_a_training_that_the_system_kills_has_failed_and_the_next_one_starts_again(
    taught, wait_for
):
    room, job = taught
    (job.folder / "student.128.safetensors").write_bytes(b"of other photos")
    room.train(job, 5)
    room.train(job, 4)  # a second tab: it is on its way
    while room._child is None:
        time.sleep(0.05)
    room._child.kill()
    state = wait_for(job, "student")
    assert state["state"] == "failed"
    assert "memory" in state["error"]
    room.train(job, 0.02)
    assert wait_for(job, "student") == {"state": "ready"}


@needs_torch
def test_a_training_ends_with_its_job_and_the_next_one_gets_its_turn(taught, photos, wait_for):
    room, job = taught
    other = room.open()
    room.add_photos(other, photos)
    room.learn(other)
    wait_for(other)
    room.train(job, 9)
    room.train(other, 0.02)
    assert room.place(other, "student") == 1
    room.delete(job)
    assert wait_for(other, "student") == {"state": "ready"}
    assert not job.folder.exists()


def test_a_job_of_a_killed_server_is_taken_up_by_the_next(tmp_path, photos, wait_for):
    root = tmp_path / "jobs"
    code = (
        "import sys, time; from pathlib import Path; "
        "from rd4ad.teach.jobs.classroom import Classroom; "
        "from rd4ad.teach.jobs.folder import Job; from rd4ad.teach.jobs.quota import Quota; "
        "room = Classroom(Path(sys.argv[1]), Quota()); room.learn(Job(Path(sys.argv[2]))); "
        "print('began', flush=True); time.sleep(60)"
    )
    job = Classroom(root, Quota()).open()
    job.add_photos(photos)
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(root), str(job.folder)], stdout=subprocess.PIPE
    )
    assert server.stdout.readline() == b"began\n"
    server.send_signal(signal.SIGKILL)
    server.wait()
    server.stdout.close()
    assert job.state()["lesson"]["state"] in ("queued", "working")
    Classroom(root, Quota())
    assert wait_for(job)["state"] == "ready"


def test_jobs_go_when_their_time_is_over(open_room, photos):
    room = open_room(hours=1)
    job = room.open()
    job.change(lambda state: state.update(changed=time.time() - 3599), is_work=True)
    assert room.find(job.token)
    job.change(lambda state: state.update(changed=time.time() - 3601), is_work=True)
    assert room.find(job.token) is None
    assert not job.folder.exists()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"jobs_per_client": 1}, "delete one first"),
        ({"jobs": 1}, "too many jobs"),
        ({"is_on": False}, "switched off"),
    ],
)
def test_one_job_too_many_is_refused(open_room, limits, message):
    room = open_room(**limits)
    if room.quota.is_on:
        room.open("a")
    with pytest.raises(QuotaError, match=message):
        room.open("a" if "jobs_per_client" in limits else "b")


def test_a_deleted_job_makes_room_for_another(open_room):
    room = open_room(jobs_per_client=1)
    room.delete(room.open("a"))
    room.open("a")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"photos": 5}, "at most 5"),
        ({"megapixels": 0.1}, "megapixels"),
        ({"mib": 0.01}, "no room"),
    ],
)
def test_more_photos_than_the_quota_are_refused(open_room, photos, limits, message):
    room = open_room(**limits)
    job = room.open()
    room.add_photos(job, photos[:5])
    with pytest.raises(QuotaError, match=message):
        room.add_photos(job, photos[5:])


def test_a_full_disk_is_said_and_nothing_is_lost(open_room, photos, wait_for, monkeypatch):
    room = open_room()
    job = room.open()
    room.add_photos(job, photos)

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rd4ad.teach.lesson.write_checkpoint", fails)
    room.learn(job)
    state = wait_for(job)
    assert state["state"] == "failed"
    assert "disk is full" in state["error"]
    monkeypatch.undo()
    room.learn(job)
    assert wait_for(job)["state"] == "ready"


def test_what_cannot_be_asked_for_is_refused(open_room, photos):
    room = open_room(minutes=3)
    job = room.open()
    room.add_photos(job, photos[:4])
    with pytest.raises(QuotaError, match="at least 5"):
        room.learn(job)
    with pytest.raises(QuotaError, match=r"not ready yet|torch"):
        room.train(job, 1)
    with pytest.raises(QuotaError, match=r"Between 0 and 3|torch"):
        room.train(job, 4)
    with pytest.raises(ValueError, match="false alarms"):
        room.open(rate=0.9)


def test_a_folder_is_its_owners_alone_and_its_name_cannot_be_guessed_or_climbed(open_room):
    room = open_room()
    job = room.open()
    assert len(job.token) == 32
    assert stat.S_IMODE(os.stat(room.root).st_mode) == 0o700
    for token in ("", ".", "..", "../jobs", f"{job.token}/photos", job.token[:-1], "g" * 32):
        assert room.find(token) is None


def test_two_photos_of_one_name_are_both_kept(open_room, photos):
    job = open_room().open()
    job.add_photos([photos[0], photos[0]])
    assert [photo.name for photo in job.photos()] == ["000.png", "000 (2).png"]
    np.testing.assert_array_equal(job.photos()[0].image, photos[0].image)


def test_settings_of_the_environment_are_read_and_checked(monkeypatch):
    monkeypatch.setenv("RD4AD_TEACH_PHOTOS", "30")
    monkeypatch.setenv("RD4AD_TEACH", "0")
    assert (Quota.from_environment().photos, Quota.from_environment().is_on) == (30, False)
    monkeypatch.setenv("RD4AD_TEACH_HOURS", "soon")
    with pytest.raises(ValueError, match="RD4AD_TEACH_HOURS is 'soon'"):
        Quota.from_environment()


def test_every_job_is_found_oldest_first(open_room):
    room = open_room()
    made = [room.open(str(i)).token for i in range(3)]
    assert [job.token for job, _ in Job.all_in(room.root)] == made
