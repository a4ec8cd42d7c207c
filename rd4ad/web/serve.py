"""One process, one port: API, live demo and explorer as one ASGI application."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pyarrow as pa
import streamlit as st
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import rd4ad
from rd4ad.web import api, live_address, reading
from rd4ad.web.answers import Kept
from rd4ad.web.judging import Detectors
from rd4ad.web.live_mount import LiveMount
from rd4ad.web.uploads import MAX_BYTES

HOME = Path(__file__).resolve().parents[2]
_FORM_BYTES = 64 * 1024  # what a form adds around its file


def create_app() -> FastAPI:
    """Return the application: /healthz, /api, /live/, and the Streamlit explorer below /.

    Raises:
        FileNotFoundError: app.py is not beside the package (installed without its repository).
    """
    script = HOME / "app.py"
    if not script.is_file():
        raise FileNotFoundError(
            f"no explorer at {script}: run from a checkout of the repository (pip install -e .)"
        )
    detectors, kept = Detectors(detector_folders()), Kept()
    live = LiveMount(detectors, kept)
    explorer = st.App(script)  # reads .streamlit/config.toml beside the script

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with explorer.lifespan()(app), live.running():
            yield

    app = FastAPIOffline(  # its page of documentation loads nothing from other hosts
        title="RD4AD Explorer",
        version=rd4ad.__version__,
        lifespan=lifespan,
        docs_url="/api/docs",
        openapi_url="/api/openapi.json",
        redoc_url=None,
        static_url="/api/docs-static",
    )
    app.add_middleware(BodyLimit, at_most=MAX_BYTES + _FORM_BYTES)

    @app.get("/healthz")
    def health() -> dict[str, str]:
        """Say that the server answers."""
        return {"status": "ok", "version": rd4ad.__version__}

    @app.get("/live", include_in_schema=False)
    def with_slash() -> RedirectResponse:
        return RedirectResponse(live_address.PATH)

    app.include_router(api.router(reading.RESULTS, detectors, kept))
    app.mount(live_address.PATH.rstrip("/"), live)
    live_address.announce()
    app.mount("/", explorer)  # last: it answers every path
    return app


def detector_folders() -> list[Path]:
    """Return the folder of bundled detectors and the operator's, RD4AD_DETECTORS, if it is set."""
    own = os.environ.get("RD4AD_DETECTORS")
    return [reading.RESULTS / "detectors", *([Path(own)] if own else [])]


class BodyLimit:
    """Refuses bodies to /api over a size with 413, by their length or as they come."""

    def __init__(self, app: ASGIApp, at_most: int) -> None:
        self.app, self.at_most = app, at_most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting its bytes."""
        if scope["type"] != "http" or not scope["path"].startswith("/api/"):
            await self.app(scope, receive, send)
            return
        too_large = HTTPException(413, f"the body is over {MAX_BYTES // 2**20} MB")
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if not stated.isdigit() or int(stated) > self.at_most:
            refusal = JSONResponse({"detail": too_large.detail}, too_large.status_code)
            await refusal(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.at_most:
                raise too_large
            return message

        await self.app(scope, counted, send)


def serve(host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serve the explorer until stopped with Ctrl-C.

    Sessions live in memory, so there is one worker.

    Args:
        host: address to listen on; 0.0.0.0 for every address of the machine.
        port: port to listen on.
    """
    pa.set_memory_pool(pa.system_memory_pool())  # the default one keeps 9 MiB more while idle
    app = create_app()
    print(f"RD4AD Explorer on http://{'localhost' if host == '127.0.0.1' else host}:{port}")
    with suppress(KeyboardInterrupt):
        uvicorn.run(
            app,
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=3,  # open pages hold a connection each
        )
