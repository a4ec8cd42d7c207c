"""The door of the live demo: what a visitor's message may name before Gradio handles it.

Gradio checks that a path is an upload of its own only in a demo that was launched. A mounted one
counts as not launched, so any path of the server would be opened, copied or fetched. Here that
check is switched on again (`has_launched`), and every message of every event is checked first: it
may name nothing but files that Gradio itself stored. A drawing comes by a second way, as bytes,
and has the same limits. This module decides; it changes nothing that Gradio does afterwards.
"""

import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import HTTPException
from gradio.components.base import server
from gradio.components.image_editor import AcceptBlobs
from gradio.utils import get_upload_folder

from rd4ad.web.live.uploads import RefusedError, check_header, check_header_of_file

NOT_AN_UPLOAD = "This is not a file that was uploaded here: upload it first."
"""Said of every other path, whether something is there or not."""
_STORED_IN = re.compile(r"[0-9a-f]{64}")  # the folder of an upload: a keyed hash of its content
_FRAME = "data:image/jpeg;base64,"
_DRAWINGS = 32  # kept while their visitors have not asked for a judgment yet


def uploaded(path: object) -> Path:
    """Return the real path of a file that Gradio stored; links are resolved before the check.

    Raises:
        RefusedError: `NOT_AN_UPLOAD`.
    """
    try:
        real = Path(path).resolve(strict=True)  # type: ignore[arg-type]
        folder, _ = real.relative_to(Path(get_upload_folder()).resolve()).parts
    except (OSError, ValueError, TypeError, RuntimeError):
        raise RefusedError(NOT_AN_UPLOAD) from None
    if not (Path(str(path)).is_absolute() and _STORED_IN.fullmatch(folder) and real.is_file()):
        raise RefusedError(NOT_AN_UPLOAD)
    return real


def stored_bytes() -> int:
    """Return the size of all that Gradio keeps: uploads, and the pictures that it shows."""
    files = (path for path in Path(get_upload_folder()).glob("*/*") if path.is_file())
    return sum(path.stat().st_size for path in files)


def files_named(message: Any) -> Iterator[object]:
    """Yield every path, and every address that is not empty, at any depth of a message.

    >>> list(files_named([{"path": "/a"}, {"layers": [{"path": "b", "url": "data:,"}]}, "c"]))
    ['/a', 'b', 'data:,']
    """
    waiting = [message]
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, dict):
            if "path" in value:
                yield value["path"]
            url = value.get("url")
            if url and not (isinstance(url, str) and url.startswith(("http://", "https://", "/"))):
                yield url  # Gradio decodes `data:` addresses; it ignores the others here
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def is_frame(value: Any) -> bool:
    """Return whether a message is one picture of a webcam's stream, and names no file.

    >>> is_frame({"url": "data:image/jpeg;base64,AAAA"}), is_frame({"path": "/a", "url": _FRAME})
    (True, False)
    """
    return (
        isinstance(value, dict)
        and isinstance(value.get("url"), str)
        and value["url"].startswith(_FRAME)
        and not any(found for key, found in value.items() if key not in ("url", "meta"))
    )


def check_frame(url: str) -> None:
    """Refuse a picture of a stream that is no image, or too large; nothing is decoded.

    Raises:
        RefusedError: says why.
    """
    try:
        content = b64decode(url.removeprefix(_FRAME), validate=True)
    except ValueError:
        raise RefusedError("This is not a picture of a camera.") from None
    check_header(content)


class GuardedBlocks(gr.Blocks):
    """Gradio's Blocks, each of whose messages passes the door, whichever way it came."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.has_launched = True  # else Gradio skips its own check of paths

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> Any:
        """Refuse what names anything but an upload, or a picture too large; then as in Gradio."""
        try:
            for block, value in zip(block_fn.inputs, inputs, strict=False):
                if isinstance(block, gr.Image) and block.streaming and is_frame(value):
                    check_frame(value["url"])
                    continue
                for path in files_named(value):
                    file = uploaded(path)
                    if isinstance(block, (gr.Image, gr.ImageEditor)):
                        check_header_of_file(file)
        except RefusedError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return await super().preprocess_data(block_fn, inputs, state, explicit_call)


class Drawings(dict[str, Any]):
    """Drawings on their way to a judgment; the oldest go when there are too many."""

    def __setitem__(self, key: str, drawing: Any) -> None:
        super().pop(key, None)
        super().__setitem__(key, drawing)
        while len(self) > _DRAWINGS:
            super().pop(next(iter(self)))


def guard_pad(pad: gr.ImageEditor) -> None:
    """Put limits on what can be sent to a pad of one layer; what passes, Gradio takes as ever."""
    take = pad.accept_blobs

    @server
    def accept_blobs(data: AcceptBlobs) -> None:
        try:
            if not isinstance(data, AcceptBlobs) or len(data.files) != 1:
                raise RefusedError("A drawing is sent as one file.")
            if str(data.data["index"] or 0) not in ("0", "null") or len(data.data["id"]) > 64:
                raise RefusedError("A drawing here has one layer.")
            check_header(data.files[0][1])
        except (RefusedError, KeyError, TypeError) as error:
            raise HTTPException(400, str(error)) from None
        take(data)

    pad.accept_blobs = accept_blobs
    pad.blob_storage = Drawings()
