"""Files whose names hold a hash of their content: compressed once, kept by the browser for good."""

import os
from functools import lru_cache
from pathlib import Path

import brotli
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_FOR_GOOD = "public, max-age=31536000, immutable"
_TEXT = {".js", ".css", ".svg", ".json", ".wasm", ".ttf", ".map", ".html"}
_QUALITY = 9  # 3% smaller than 5; the largest file takes 0.4 s, once
_KEPT = 256  # compressed files; all of a visit to every page are fewer, about 6 MB


class CompressedFiles(StaticFiles):
    """A folder of such files, in Brotli for clients that read it."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file, compressed if that helps, or what `StaticFiles` answers."""
        response = await super().get_response(path, scope)
        if response.status_code == 200:
            response.headers["Cache-Control"] = _FOR_GOOD
            response.headers["Vary"] = "Accept-Encoding"
            headers = Headers(scope=scope)
            accepts = headers.get("accept-encoding", "")
            if Path(path).suffix in _TEXT and "br" in accepts and "range" not in headers:
                return await self._compressed(path, response)
        return response

    async def _compressed(self, path: str, plain: Response) -> Response:
        full_path, stat = await run_in_threadpool(self.lookup_path, path)
        assert stat is not None  # it was found a moment ago
        content = await run_in_threadpool(_compress, full_path, stat.st_mtime_ns)
        headers = {name: value for name, value in plain.headers.items() if name != "content-length"}
        return Response(content, headers=headers | {"Content-Encoding": "br"})


@lru_cache(maxsize=_KEPT)
def _compress(path: str | os.PathLike[str], changed_ns: int) -> bytes:
    """Return a file in Brotli, from memory after the first time while it is unchanged."""
    return bytes(brotli.compress(Path(path).read_bytes(), quality=_QUALITY))
