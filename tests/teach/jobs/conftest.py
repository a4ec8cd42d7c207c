"""A classroom of its own and photos for it."""

import time

import pytest

from rd4ad.data.parts import render
from rd4ad.teach.jobs.classroom import Classroom
from rd4ad.teach.jobs.folder import Job
from rd4ad.teach.jobs.quota import Quota
from rd4ad.teach.memory import Recipe
from rd4ad.teach.photos import photo_of


@pytest.fixture(scope="session")
def photos():
    return [photo_of(f"{i:03d}.png", render("nut", "good", i, split="train")[0]) for i in range(6)]


@pytest.fixture
def open_room(tmp_path):
    """Open a classroom in the test's folder, with limits of its own; closed at the end."""
    rooms = []

    def open_it(**limits):
        rooms.append(Classroom(tmp_path / "jobs", Quota(**limits), Recipe(n_rows=512)))
        return rooms[-1]

    yield open_it
    for room in rooms:
        for job, _ in Job.all_in(room.root):
            room.delete(job)


@pytest.fixture
def wait_for():
    """Wait until a part of a job is neither queued nor at work; return its state."""

    def wait(job, part="lesson", seconds=120):
        end = time.monotonic() + seconds
        while job.state()[part]["state"] in ("queued", "working"):
            assert time.monotonic() < end, job.state()[part]
            time.sleep(0.05)
        return job.state()[part]

    return wait
