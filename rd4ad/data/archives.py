"""ZIP files from strangers: opened only if their list of entries is short."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath

from rd4ad.data.folders import IMAGE_SUFFIXES, DatasetError

MAX_LIST_BYTES = 4 * 2**20
"""Of the list at a ZIP file's end: Python takes thirteen times as much for it when it opens one."""
_END, _END_BYTES, _COMMENT_BYTES = b"PK\x05\x06", 22, 65_535
# RuntimeError: encrypted, or of a compression that Python does not know (NotImplementedError).
UNREADABLE = (
    OSError, EOFError, ValueError, RuntimeError, zlib.error, struct.error, zipfile.BadZipFile,
)  # fmt: skip
"""What reading a ZIP file that is damaged, truncated or encrypted raises."""


def open_zip(content: bytes) -> zipfile.ZipFile:
    """Return a ZIP file.

    Raises:
        DatasetError: it is none, it is damaged, or its list of entries is over `MAX_LIST_BYTES`.

    Source: PKWARE, APPNOTE.TXT, sections 4.3.6 and 4.3.16; as Python's zipfile finds the end.
    """
    at = len(content) - _END_BYTES
    if at < 0 or content[at : at + 4] != _END or content[-2:] != b"\0\0":
        at = content.rfind(_END, max(0, len(content) - _END_BYTES - _COMMENT_BYTES))
    if at < 0 or len(content) < at + _END_BYTES:
        raise DatasetError("This is not a ZIP file.")
    (size,) = struct.unpack_from("<L", content, at + 12)
    if size > MAX_LIST_BYTES:
        raise DatasetError("This ZIP file lists too many entries.")
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except UNREADABLE as error:
        raise DatasetError("This ZIP file is damaged.") from error


def image_entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the entries that are images by their name, sorted by it; hidden ones are left out."""
    found = []
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename)
        folders = [part for part in path.parts if part != ".."]
        is_hidden = any(part.startswith((".", "__MACOSX")) for part in folders)
        if not entry.is_dir() and not is_hidden and path.suffix.lower() in IMAGE_SUFFIXES:
            found.append(entry)
    return sorted(found, key=lambda entry: entry.filename)


def read_entries(
    archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], at_most: int
) -> Iterator[tuple[str, bytes]]:
    """Yield each entry's name without folders, and at most `at_most` + 1 bytes of its content.

    Nothing is written under a name that the archive chose. What cannot be read yields no bytes.
    """
    for entry in entries:
        name = PurePosixPath(entry.filename).name
        try:
            with archive.open(entry) as file:
                yield name, file.read(at_most + 1)
        except UNREADABLE:
            yield name, b""
