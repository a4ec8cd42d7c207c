"""Several images, or ZIP files of images, judged one after another: pictures, table and CSV."""

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from rd4ad.data.archives import UNREADABLE, image_entries, open_zip, read_entries
from rd4ad.data.folders import DatasetError
from rd4ad.web.explorer.downloads import csv
from rd4ad.web.live import judgments, layout
from rd4ad.web.live.detectors import Judgment
from rd4ad.web.live.uploads import MAX_BYTES, RefusedError, read_upload, read_upload_file

_THUMBNAIL_PX = 384
_PROBLEM = "not judged: at most {} images at once"


@dataclass(frozen=True)
class Row:
    """One image of a batch: what was decided, or why it could not be; a small picture as JPEG."""

    file: str
    score: float | None = None
    verdict: str = ""
    problem: str = ""
    picture: bytes = b""


Judge = Callable[[NDArray[np.uint8]], Judgment]


def judged(paths: Sequence[str], judge: Judge) -> list[Row]:
    """Return a row an image, in order; one that is refused is named and stops nothing.

    Args:
        paths: of uploads: images, or ZIP files of images.
        judge: judges one image; what it raises as ValueError or RuntimeError is the row's problem.
    """
    rows: list[Row] = []
    n_judged = 0
    for name, read in _images(paths):
        if n_judged >= layout.BATCH:
            rows.append(Row(name, problem=_PROBLEM.format(layout.BATCH)))
            continue
        try:
            one = judge(read())
        except (ValueError, RuntimeError, FileNotFoundError) as error:
            rows.append(Row(name, problem=str(error)))
            continue
        n_judged += 1
        at = one.starting_threshold()
        verdict = "another part" if one.is_foreign() else one.verdict(at)
        small = _jpeg(judgments.drawn(one, at, layout.OPACITY))
        rows.append(Row(name, round(one.score, 4), verdict, picture=small))
    return rows


def _images(paths: Sequence[str]) -> Iterator[tuple[str, Callable[[], NDArray[np.uint8]]]]:
    """Yield the name of every image, and what reads it."""
    for path in map(Path, paths):
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
        if is_zip:
            yield from _entries(path)
        else:
            yield path.name, lambda path=path: read_upload_file(path)  # type: ignore[misc]


def _entries(path: Path) -> Iterator[tuple[str, Callable[[], NDArray[np.uint8]]]]:
    def refuse(reason: str) -> NDArray[np.uint8]:
        raise RefusedError(reason)

    try:
        if path.stat().st_size > MAX_BYTES:
            raise DatasetError(f"This ZIP file is larger than {MAX_BYTES // 2**20} MB.")
        with open_zip(path.read_bytes()) as archive:
            entries = image_entries(archive)
            if not entries:
                raise DatasetError("This ZIP file holds no image.")
            for name, content in read_entries(archive, entries[: layout.BATCH], MAX_BYTES):
                yield name, lambda content=content: read_upload(content)  # type: ignore[misc]
            reason = _PROBLEM.format(layout.BATCH)
            for entry in entries[layout.BATCH :]:
                yield Path(entry.filename).name, lambda: refuse(reason)
    except (DatasetError, *UNREADABLE) as error:
        said = str(error)
        yield path.name, lambda: refuse(said)


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(picture)
    image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


def pictures(rows: Sequence[Row], order: str) -> list[tuple[NDArray[np.uint8], str]]:
    """Return the pictures with their captions, the most anomalous first or by name.

    Args:
        rows: see `judged`.
        order: "score" or "file".
    """
    shown = [row for row in rows if row.picture]
    if order == "score":
        shown.sort(key=lambda row: -(row.score or 0.0))
    else:
        shown.sort(key=lambda row: row.file)
    return [
        (
            np.asarray(Image.open(io.BytesIO(row.picture))),
            f"{row.file}: {row.verdict}, {row.score:.3f}",
        )
        for row in shown
    ]


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """Return the rows without their pictures."""
    values: list[list[Any]] = [[row.file, row.score, row.verdict, row.problem] for row in rows]
    return pd.DataFrame(values, columns=list(layout.BATCH_COLUMNS))


def csv_link(rows: Sequence[Row]) -> str:
    """Return a link that downloads the table as CSV; its content is in the link."""
    coded = base64.b64encode(csv(table(rows))).decode()
    address = f"data:text/csv;base64,{coded}"
    return f"<div class='files'><a href='{address}' download='scores.csv'>Scores as CSV</a></div>"
