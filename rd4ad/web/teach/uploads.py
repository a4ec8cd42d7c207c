"""Uploaded photos and ZIP files of them, decoded a few at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from threading import BoundedSemaphore

from rd4ad.data.archives import image_entries, open_zip, read_entries
from rd4ad.data.folders import DatasetError
from rd4ad.teach.jobs.classroom import Classroom
from rd4ad.teach.jobs.folder import Job
from rd4ad.teach.jobs.quota import QuotaError
from rd4ad.teach.photos import Photo, photo_of
from rd4ad.web.live.uploads import MAX_BYTES, RefusedError, read_upload

MASK = "_mask"
MAX_ZIP_BYTES = 100 * 2**20  # as `rd4ad.web.limits.BODIES` has it for uploads to the explorer
_DECODING = BoundedSemaphore(2)  # an image of 25 megapixels takes 75 MB while it is read
_AT_ONCE = 16  # photos, at the detector's size, between two writes


@dataclass
class Received:
    """What became of an upload.

    Args:
        n_photos: that were taken.
        problems: a sentence for each file that was not.
    """

    n_photos: int = 0
    problems: list[str] = field(default_factory=list)


def receive(room: Classroom, job: Job, files: Iterable[tuple[str, bytes]]) -> Received:
    """Add the photos of uploaded files to a job; a file that is refused is named and stops nothing.

    Args:
        room: that has the job.
        job: that gets them.
        files: names and contents; a name ending in .zip is opened.
    """
    received, waiting = Received(), []
    try:
        for one in _photos(room, job, files):
            if isinstance(one, str):
                received.problems.append(one)
                continue
            waiting.append(one)
            if len(waiting) == _AT_ONCE:
                received.n_photos += _added(room, job, waiting)
        received.n_photos += _added(room, job, waiting)
    except QuotaError as error:
        received.problems.append(str(error))
    except OSError:
        received.problems.append("The server's disk is full: the last photos were not kept.")
    return received


def receive_defects(room: Classroom, job: Job, files: list[tuple[str, bytes]]) -> Received:
    """Add photos of defective parts; a file named like another with _mask at the end is its mask.

    Args:
        room: that has the job.
        job: that gets them.
        files: names and contents.
    """
    received = Received()
    masks = {_stem(name).removesuffix(MASK): content for name, content in files if _is_mask(name)}
    photos = [(name, content) for name, content in files if not _is_mask(name)]
    try:
        room.check_room(job, len(photos))
        for name, content in photos:
            photo = _photo(name, content)
            mask = _photo(name + MASK, masks[_stem(name)]) if _stem(name) in masks else None
            for problem in (photo, mask):
                if isinstance(problem, str):
                    received.problems.append(problem)
            if isinstance(photo, Photo):
                drawn = mask.image.max(2) > 127 if isinstance(mask, Photo) else None
                job.add_defect(photo, drawn)
                received.n_photos += 1
    except QuotaError as error:
        received.problems.append(str(error))
    except OSError:
        received.problems.append("The server's disk is full: the last photos were not kept.")
    return received


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _is_mask(name: str) -> bool:
    return _stem(name).endswith(MASK)


def _added(room: Classroom, job: Job, waiting: list[Photo]) -> int:
    photos, n_photos = list(waiting), len(waiting)
    waiting.clear()
    if photos:
        room.add_photos(job, photos)
    return n_photos


def _photos(room: Classroom, job: Job, files: Iterable[tuple[str, bytes]]) -> Iterator[Photo | str]:
    for name, content in files:
        if not name.lower().endswith(".zip"):
            yield _photo(name, content)
            continue
        if len(content) > MAX_ZIP_BYTES:
            yield f"{name}: over the {MAX_ZIP_BYTES // 2**20} MB that are read of a ZIP file."
            continue
        try:
            archive = open_zip(content)
        except DatasetError as error:
            yield f"{name}: {error}"
            continue
        with archive:
            entries = image_entries(archive)
            room.check_room(job, len(entries))
            if not entries:
                yield f"{name}: no image in this ZIP file."
            for inner, inner_content in read_entries(archive, entries, MAX_BYTES):
                yield _photo(inner, inner_content)


def _photo(name: str, content: bytes) -> Photo | str:
    try:
        with _DECODING:
            return photo_of(name, read_upload(content))
    except RefusedError as error:
        return f"{name}: {error}"
