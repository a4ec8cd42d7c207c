"""One line of JSON a request: route, status, milliseconds, bytes; nothing that names a person.

A route is a path without what the visitor chose: no file names, no tokens, no addresses. The
client's address is written only where the operator asks for it (RD4AD_LOG_ADDRESSES=1).
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_DEPTHS = {"api": 3, "live": 3, "_stcore": 2}  # how many parts of a path are ours
_KNOWN = re.compile(r"[a-z_][a-z0-9_]*")
_OURS = {"api", "live", "_stcore", "static", "media", "healthz", "component", "vendor"}


def route(path: str, pages: frozenset[str] = frozenset()) -> str:
    """Return the route of a path, for the log.

    >>> route("/api/v1/runs/my-run"), route("/live/gradio_api/file=/tmp/a.png")
    ('/api/v1/runs', '/live/gradio_api/file')
    >>> route("/static/js/index.abc.js"), route("/secret"), route("/about", frozenset({"about"}))
    ('/static', '/*', '/about')

    Args:
        path: of a request.
        pages: names of the explorer's pages.
    """
    parts = path.split("=")[0].strip("/").split("/")
    first = parts[0]
    if not first or first in pages:
        return f"/{first}"
    if first not in _OURS:
        return "/*"
    kept = parts[: _DEPTHS.get(first, 1)]
    return "/" + "/".join(part if _KNOWN.fullmatch(part) else "*" for part in kept)


class AccessLog:
    """Writes a line when a request has been answered, or a session has ended.

    Args:
        app: that answers.
        pages: names of the explorer's pages.
        address_of: gives the client's address of a request.
        to: where lines go; standard error by default.
    """

    def __init__(
        self,
        app: ASGIApp,
        pages: frozenset[str],
        address_of: Callable[[Scope], str],
        to: TextIO | None = None,
    ) -> None:
        self.app, self.pages, self.to = app, pages, to or sys.stderr
        self.address_of = address_of if os.environ.get("RD4AD_LOG_ADDRESSES") == "1" else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note how it ended."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        began, status, sent = time.perf_counter(), 0, 0

        async def noted(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            sent += len(message.get("body") or message.get("bytes") or b"")
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            line = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "method": scope.get("method", "WEBSOCKET"),
                "route": route(scope["path"], self.pages),
                "status": status,
                "ms": round(1000 * (time.perf_counter() - began), 1),
                "bytes": sent,
            }
            if self.address_of:
                line["client"] = self.address_of(scope)
            print(json.dumps(line), file=self.to, flush=True)
