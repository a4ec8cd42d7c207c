"""A visitor's lesson as a folder: photos, state, detectors, report. Nothing of it lies elsewhere.

    <token>/job.json         state; see `new_state`
    <token>/photos/          good parts at the detector's size, PNG
    <token>/defects/         photos of defects, if any were added, and their masks
    <token>/lesson.json      what `Lesson.record` returns
    <token>/progress.json    where reverse distillation stands, written by its own process
    <token>/*.jpg            pictures of the lesson
    <token>/*.safetensors    detectors

Whoever knows the token, 128 random bits, may see and delete the job; there is no list of them.
"""

import json
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rd4ad.inference.checkpoint import replace_file
from rd4ad.teach.photos import Photo

SCHEMA = 1
FIRST, STUDENT = "first.safetensors", "student.safetensors"
_TOKEN = re.compile(r"[0-9a-f]{32}")
_ONE_AT_A_TIME = RLock()  # job.json is read, changed and written by several threads


def new_state(rate: float) -> dict[str, Any]:
    """Return the state of a job without photos.

    `lesson.state` and `student.state` are none, queued, working, ready or failed; with `step` or
    `error` in words.
    """
    now = time.time()
    return {
        "schema": SCHEMA,
        "created": now,
        "changed": now,
        "rate": rate,
        "name": "part",
        "photos": [],
        "defects": [],
        "megapixels": 0.0,
        "lesson": {"state": "none"},
        "student": {"state": "none"},
    }


@dataclass(frozen=True)
class Job:
    """A job's folder.

    Args:
        folder: named by the token.
    """

    folder: Path

    @classmethod
    def create(cls, root: Path, rate: float) -> "Job":
        """Return a new job in a new folder that its owner alone can read."""
        folder = root / secrets.token_hex(16)
        (folder / "photos").mkdir(parents=True, mode=0o700)
        job = cls(folder)
        job._write(new_state(rate))
        return job

    @classmethod
    def find(cls, root: Path, token: str) -> "Job | None":
        """Return the job of a token; None if there is none, or never was."""
        job = cls(root / token)
        return job if _TOKEN.fullmatch(token) and job.exists else None

    @classmethod
    def all_in(cls, root: Path) -> "list[tuple[Job, dict[str, Any]]]":
        """Return every job with its state, oldest first; one that goes meanwhile is left out."""
        found = []
        for path in root.glob("*"):
            if _TOKEN.fullmatch(path.name):
                with suppress(FileNotFoundError):
                    found.append((cls(path), cls(path).state()))
        return sorted(found, key=lambda pair: pair[1]["created"])

    @property
    def token(self) -> str:
        """What finds the job again."""
        return self.folder.name

    @property
    def exists(self) -> bool:
        """Whether it was not deleted."""
        return (self.folder / "job.json").is_file()

    def state(self) -> dict[str, Any]:
        """Return job.json.

        Raises:
            FileNotFoundError: the job was deleted.
        """
        state: dict[str, Any] = json.loads((self.folder / "job.json").read_text(encoding="utf-8"))
        return state

    def change(self, edit: Callable[[dict[str, Any]], None], *, is_work: bool = False) -> None:
        """Change the state.

        Args:
            edit: changes it in place.
            is_work: of the server's own doing, which does not put off the deletion.

        Raises:
            FileNotFoundError: the job was deleted.
        """
        with _ONE_AT_A_TIME:
            state = self.state()
            edit(state)
            if not is_work:
                state["changed"] = time.time()
            self._write(state)

    def set_step(self, part: str, state: str, **more: Any) -> None:
        """Say where "lesson" or "student" stands."""

        def edit(whole: dict[str, Any]) -> None:
            whole[part] = {"state": state, **more}

        self.change(edit, is_work=True)

    def _write(self, state: dict[str, Any]) -> None:
        self.write("job.json", json.dumps(state))

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file of the job, beside first and then renamed.

        Raises:
            FileNotFoundError: the job was deleted.
        """
        data = content.encode() if isinstance(content, str) else content
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder}: the job was deleted")
        replace_file(self.folder / name, lambda beside: beside.write_bytes(data))

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return a JSON file of the job; None where it is not there."""
        path = self.folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def add_photos(self, photos: Iterable[Photo]) -> None:
        """Keep photos, each under its own name; a second one of a name gets a number."""
        self._add("photos", [(photo, None) for photo in photos])

    def add_defect(self, photo: Photo, mask: NDArray[np.bool_] | None) -> None:
        """Keep a photo of a defective part, with its mask (S, S) where it was drawn."""
        (self.folder / "defects").mkdir(exist_ok=True)
        self._add("defects", [(photo, mask)])

    def _add(self, kind: str, added: list[tuple[Photo, NDArray[np.bool_] | None]]) -> None:
        files = [f"{kind}/{secrets.token_hex(8)}.png" for _ in added]
        try:
            for file, (photo, mask) in zip(files, added, strict=True):
                Image.fromarray(photo.image).save(self.folder / file, compress_level=1)
                if mask is not None:
                    Image.fromarray(mask).save(self.folder / f"{file}.mask.png")
        except OSError:  # a full disk: what was written of these photos gives its room back
            for file in files:
                (self.folder / file).unlink(missing_ok=True)
            raise

        def edit(state: dict[str, Any]) -> None:
            names = {one["name"] for one in state[kind]}
            for file, (photo, mask) in zip(files, added, strict=True):
                name = unique(photo.name, names)
                names.add(name)
                kept = {"name": name, "file": file, "size": photo.size, "is_left_out": False}
                state[kind].append(kept | {"has_mask": mask is not None})
                state["megapixels"] += photo.size[0] * photo.size[1] / 1e6

        self.change(edit)

    def photos(self) -> list[Photo]:
        """Return the photos that were not left out."""
        return self._read("photos")

    def defects(self) -> list[tuple[Photo, NDArray[np.bool_] | None]]:
        """Return the photos of defects with their masks."""
        kept = [one for one in self.state()["defects"] if not one["is_left_out"]]
        masks = [
            np.asarray(Image.open(self.folder / f"{one['file']}.mask.png"))
            if one["has_mask"]
            else None
            for one in kept
        ]
        return list(zip(self._read("defects"), masks, strict=True))

    def _read(self, kind: str) -> list[Photo]:
        kept = [one for one in self.state()[kind] if not one["is_left_out"]]
        return [
            Photo(
                one["name"], np.asarray(Image.open(self.folder / one["file"])), tuple(one["size"])
            )
            for one in kept
        ]

    def leave_out(self, names: Sequence[str]) -> None:
        """Leave exactly these photos out of what is fitted."""

        def edit(state: dict[str, Any]) -> None:
            for one in state["photos"]:
                one["is_left_out"] = one["name"] in names

        self.change(edit)

    def detector(self) -> Path | None:
        """Return the checkpoint that is recommended; None before there is one."""
        lesson = self.read_json("lesson.json") or {}
        student, first = self.folder / STUDENT, self.folder / FIRST
        if lesson.get("is_student_kept") and student.is_file():
            return student
        return first if first.is_file() else None

    def forget_training(self) -> None:
        """Remove what a training left, finished or not: another one shall not go on from it."""
        for pattern in ("*student*", "progress.json", "comparison.json", "stop"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)

    def delete(self) -> None:
        """Remove the folder and all in it."""
        with _ONE_AT_A_TIME:
            (self.folder / "job.json").unlink(missing_ok=True)  # from here on it is gone
        shutil.rmtree(self.folder, ignore_errors=True)


def unique(name: str, taken: set[str]) -> str:
    """Return a name that is not taken yet, at most 80 characters long.

    >>> unique("a.png", {"a.png", "a (2).png"})
    'a (3).png'
    """
    name = name[-80:] or "photo"
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{stem} ({number}){dot}{suffix}"
    return found
