"""One process, one port: the explorer and its health check as one ASGI application."""

import os
from contextlib import AbstractAsyncContextManager
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
    os.chdir(HOME)  # Streamlit reads .streamlit/config.toml from the working directory
    explorer = st.App(script)

    def lifespan(app: FastAPI) -> AbstractAsyncContextManager[None]:
        return explorer.lifespan()(app)

    app = FastAPI(title="RD4AD Explorer", version=rd4ad.__version__, lifespan=lifespan)

    @app.get("/healthz")
    def health() -> dict[str, str]:
        """Say that the server answers."""
        return {"status": "ok", "version": rd4ad.__version__}

    app.mount("/", explorer)  # last: it answers every path
    return app


def serve(host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serve the explorer until stopped.

    Sessions live in memory, so there is one worker.
    """
    print(f"RD4AD Explorer on http://{'localhost' if host == '127.0.0.1' else host}:{port}")
    uvicorn.run(create_app(), host=host, port=port, log_level="warning", access_log=False)
