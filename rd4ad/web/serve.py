"""One process, one port: API, live demo and explorer as one ASGI application."""

import base64
import ctypes
import hashlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pyarrow as pa
import streamlit as st
import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse, RedirectResponse, Response
from fastapi_offline import FastAPIOffline
from starlette.concurrency import run_in_threadpool

import rd4ad
from rd4ad.home import HOME
from rd4ad.teach.jobs.classroom import has_jobs, server_classroom
from rd4ad.web import api, link_preview
from rd4ad.web.access_log import AccessLog
from rd4ad.web.compressed_files import CompressedFiles
from rd4ad.web.explorer import index_cache
from rd4ad.web.headers import SecurityHeaders
from rd4ad.web.limits import BodyLimit, Limits, RateLimit, client_address
from rd4ad.web.live import address
from rd4ad.web.live.detectors import Detectors
from rd4ad.web.live.judgments import Kept
from rd4ad.web.live.mount import LiveMount
from rd4ad.web.teach import routes
from rd4ad.web.upload_room import UploadRoom

_MIB = 2**20
_TRIMMED_FROM, _MAPPED_FROM, _ARENAS = -1, -3, -8  # malloc.h
STREAMLIT = Path(st.__file__).resolve().parent / "static"


def create_app() -> FastAPI:
    """Return the application: /healthz, /api, /live/, and the Streamlit explorer below /.

    Raises:
        FileNotFoundError: app.py is neither beside the package nor in it.
    """
    script = HOME / "app.py"
    if not script.is_file():
        raise FileNotFoundError(
            f"no explorer at {script}: the installation is damaged; install rd4ad-explorer again"
        )
    detectors, kept = (
        Detectors(detector_folders(), taught=lambda token: server_classroom().detector(token)),
        Kept(),
    )
    limits = Limits.from_environment()
    live = LiveMount(detectors, kept, limits.uploads_mib)
    explorer = st.App(script)  # reads .streamlit/config.toml beside the script

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if has_jobs():
            await run_in_threadpool(server_classroom)  # goes on with what a killed server left
        async with explorer.lifespan()(app), live.running():
            yield
        if server_classroom.cache_info().currsize:
            server_classroom().close()

    app = FastAPIOffline(  # its page of documentation loads nothing from other hosts
        title="RD4AD Explorer",
        version=rd4ad.__version__,
        lifespan=lifespan,
        docs_url="/api/docs",
        openapi_url="/api/openapi.json",
        redoc_url=None,
        static_url="/api/docs-static",
    )
    app.add_middleware(BodyLimit)
    app.add_middleware(UploadRoom, at_most_mib=limits.uploads_mib)
    app.add_middleware(RateLimit, limits=limits)
    app.add_middleware(SecurityHeaders, inline_scripts=inline_scripts(STREAMLIT / "index.html"))
    pages = frozenset(path.stem for path in (HOME / "pages").glob("*.py"))
    app.add_middleware(  # the last one added is the first to see a request
        AccessLog, pages=pages, address_of=partial(client_address, limits=limits)
    )

    @app.get("/healthz")
    def health() -> dict[str, str]:
        """Say that the server answers."""
        return {"status": "ok", "version": rd4ad.__version__}

    @app.get("/live", include_in_schema=False)
    def with_slash() -> RedirectResponse:
        return RedirectResponse(address.PATH)

    app.include_router(api.router(index_cache.RESULTS, detectors, kept))
    app.include_router(
        routes.router(server_classroom, lambda request: client_address(request.scope, limits))
    )
    app.mount(address.PATH.rstrip("/"), live)
    address.announce()
    app.mount("/static", CompressedFiles(directory=STREAMLIT / "static"))
    picture = HOME / "docs/explorer.png"

    @app.get(link_preview.PICTURE, include_in_schema=False)
    def preview() -> Response:
        return FileResponse(picture) if picture.is_file() else Response(status_code=404)

    told = link_preview.descriptions(HOME)
    # Last: the explorer answers every path.
    app.mount("/", link_preview.LinkPreview(explorer, told, has_picture=picture.is_file()))
    return app


def detector_folders() -> list[Path]:
    """Return the folder of bundled detectors and the operator's, RD4AD_DETECTORS, if it is set."""
    own = os.environ.get("RD4AD_DETECTORS")
    return [index_cache.RESULTS / "detectors", *([Path(own)] if own else [])]


def inline_scripts(page: Path) -> str:
    """Return the hashes of the scripts that stand in a page itself, as sources of a CSP."""
    scripts = re.findall(r"<script>(.*?)</script>", page.read_text(encoding="utf-8"), re.DOTALL)
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def keep_little_memory() -> None:
    """Let Arrow and the C library give memory back that pages used for a moment.

    Arrow's own pool keeps 9 MiB more while idle. glibc keeps an arena a thread and never returns
    what lies below a block in use: 190 MiB after a visit to every page. Elsewhere nothing is done.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(OSError, AttributeError):
        set_option = ctypes.CDLL("libc.so.6").mallopt
        set_option(_ARENAS, 2)
        set_option(_MAPPED_FROM, _MIB)
        set_option(_TRIMMED_FROM, _MIB)


def run_server(host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serve the explorer until stopped with Ctrl-C.

    Sessions live in memory, so there is one worker.

    Args:
        host: address to listen on; 0.0.0.0 for every address of the machine.
        port: port to listen on.
    """
    keep_little_memory()
    app = create_app()
    print(f"RD4AD Explorer on http://{'localhost' if host == '127.0.0.1' else host}:{port}")
    with suppress(KeyboardInterrupt):
        uvicorn.run(
            app,
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            proxy_headers=False,  # `Limits.proxies` says whose word about addresses counts
            timeout_graceful_shutdown=3,  # open pages hold a connection each
        )
