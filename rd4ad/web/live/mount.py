"""The live demo as a part of the application, built in the background or when first asked for.

Importing Gradio takes longer than all else that a start needs, and most visitors come for the
explorer. So the server answers first; the demo is built some seconds later, or at once if somebody
asks for it.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from rd4ad.web.live import address
from rd4ad.web.live.detectors import Detectors
from rd4ad.web.live.judgments import Kept
from rd4ad.web.live.uploads import MAX_BYTES

WAIT_SECONDS = 10.0  # the first page of a start is painted by then
_AWAKE_SECONDS, _RESTING_SECONDS, _QUIET_SECONDS = 0.005, 0.2, 30.0

_ROUTES = re.compile(
    r"/(?:config/?|theme\.css|favicon\.ico|manifest\.json|robots\.txt|(?:assets|static|svelte)/.+"
    r"|gradio_api/(?:stream/[0-9a-f]{32}(?:/close)?|info/?|startup-events|app_id/?|cancel|reset/?|upload|upload_progress"
    r"|component_server/?|theme\.css|(?:heartbeat|call|run|api|mcp)/.*|queue/(?:join|data|status)"
    r"|file=.+))?"
)


class LiveMount:
    """The demo as an ASGI application, to be mounted at `PATH`.

    Args:
        detectors: to choose from.
        kept: where judgments wait to be drawn again.
        uploads_mib: what uploads may take on disk before more are turned away.
    """

    def __init__(self, detectors: Detectors, kept: Kept, uploads_mib: float) -> None:
        self.detectors, self.kept, self.uploads_mib = detectors, kept, uploads_mib

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as soon as the demo is built."""
        path = scope["path"].removeprefix(address.PATH.rstrip("/"))
        if scope["type"] == "http" and not is_open(path):
            await JSONResponse({"detail": "Not Found"}, 404)(scope, receive, send)
            return
        self.wanted.set()
        demo, pace = await asyncio.shield(self.demo)
        pace.quicken()
        if path.endswith("/upload") and await run_in_threadpool(self._is_full):
            said = {"detail": "There is no room for uploads at the moment: try again later."}
            await JSONResponse(said, 503, {"Retry-After": "600"})(scope, receive, send)
            return
        await demo(scope, receive, send)

    def _is_full(self) -> bool:
        from rd4ad.web.live.door import stored_bytes  # loads Gradio, which is there by now

        return stored_bytes() > self.uploads_mib * 2**20

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Build the demo in the background and keep it alive inside the context."""
        loop = asyncio.get_running_loop()
        self.wanted, stop = asyncio.Event(), asyncio.Event()
        self.demo: asyncio.Future[tuple[ASGIApp, Pace]] = loop.create_future()
        timer = loop.call_later(WAIT_SECONDS, self.wanted.set)
        alive = asyncio.create_task(self._live_until(stop))
        try:
            yield
        finally:
            timer.cancel()
            stop.set()
            self.wanted.set()
            await alive

    async def _live_until(self, stop: asyncio.Event) -> None:
        await self.wanted.wait()
        if stop.is_set():
            return
        parent, demo, queue = await run_in_threadpool(build, self.detectors, self.kept)
        async with parent.router.lifespan_context(parent):
            self.demo.set_result((demo, Pace(queue)))
            await stop.wait()


class Pace:
    """How often Gradio's queue looks for work: seldom while nobody is there.

    Its own pace of a millisecond takes 6% of a core from an idle server.

    Args:
        queue: of the demo.
    """

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self._timer: asyncio.TimerHandle | None = None
        queue.progress_update_sleep_when_free = _RESTING_SECONDS  # no event here tells progress
        self._rest()

    def quicken(self) -> None:
        """Look often for the next while, since somebody asked for something."""
        self._queue.sleep_when_free = _AWAKE_SECONDS
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_QUIET_SECONDS, self._rest)

    def _rest(self) -> None:
        self._queue.sleep_when_free = _RESTING_SECONDS


def is_open(path: str) -> bool:
    """Return whether a path below the demo's address is one that the demo needs.

    Gradio has more: it fetches other sites' files, cuts videos, writes links with their state.

    >>> is_open("/gradio_api/queue/join"), is_open("/gradio_api/deep_link")
    (True, False)
    >>> is_open("/gradio_api/file=/tmp/gradio/a.png"), is_open("/gradio_api/file=http://10.0.0.1/")
    (True, False)
    """
    return bool(_ROUTES.fullmatch(path)) and not re.search(r"file=\s*\w[\w+.-]*:", path)


def build(detectors: Detectors, kept: Kept) -> tuple[FastAPI, ASGIApp, Any]:
    """Return an application whose lifespan is the demo's, the demo as mounted in it, its queue."""
    import gradio as gr

    from rd4ad.web.live import interface, layout

    parent = FastAPI()
    blocks = interface.build(detectors, kept)
    gr.mount_gradio_app(
        parent,
        blocks,
        path=address.PATH.rstrip("/"),
        max_file_size=MAX_BYTES,
        ssr_mode=False,
        show_error=True,
        footer_links=[],
        allowed_paths=[str(interface.EXAMPLES)],
        theme=layout.THEME,
        css=layout.CSS,
        enable_monitoring=False,
        pwa=False,
        mcp_server=find_spec("mcp") is not None and os.environ.get("RD4AD_MCP") != "0",
    )
    demo = next(route.app for route in parent.routes if isinstance(route, Mount))
    # For its page: its files are compressed already, its streams must not be.
    return parent, GZipMiddleware(demo), blocks._queue
