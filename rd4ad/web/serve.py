"""One process, one port: the explorer and its health check as one ASGI application."""

from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

import streamlit as st
import uvicorn
from fastapi import FastAPI

import rd4ad

HOME = Path(__file__).resolve().parents[2]


def create_app() -> FastAPI:
    """Return the application: /healthz, and the Streamlit explorer below /.

    Raises:
        FileNotFoundError: app.py is not beside the package (installed without its repository).
    """
    script = HOME / "app.py"
    if not script.is_file():
        raise FileNotFoundError(
            f"no explorer at {script}: run from a checkout of the repository (pip install -e .)"
        )
    explorer = st.App(script)  # reads .streamlit/config.toml beside the script

    def lifespan(app: FastAPI) -> AbstractAsyncContextManager[None]:
        return explorer.lifespan()(app)

    app = FastAPI(
        title="RD4AD Explorer",
        version=rd4ad.__version__,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages of documentation load scripts from other hosts
        redoc_url=None,
    )

    @app.get("/healthz")
    def health() -> dict[str, str]:
        """Say that the server answers."""
        return {"status": "ok", "version": rd4ad.__version__}

    app.mount("/", explorer)  # last: it answers every path
    return app


def serve(host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serve the explorer until stopped with Ctrl-C.

    Sessions live in memory, so there is one worker.

    Args:
        host: address to listen on; 0.0.0.0 for every address of the machine.
        port: port to listen on.
    """
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
