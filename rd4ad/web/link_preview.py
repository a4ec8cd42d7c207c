"""What a messenger or a forum shows of a shared link: title, description and a picture of the page.

Streamlit answers every page with one and the same HTML, so what tells the pages apart is added to
it on its way out; nothing of what comes in is touched.
"""

import ast
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PICTURE = "/preview.png"
_NAME = "RD4AD Explorer"
_HOST = re.compile(r"[\w.-]{1,253}(:\d{1,5})?")
_NOT_OF_THE_PLAIN_PAGE = ("content-length", "etag", "last-modified")


def descriptions(home: Path) -> dict[str, tuple[str, str]]:
    """Return title and description of every page by its path, from the first line of its file.

    >>> from rd4ad.home import HOME
    >>> descriptions(HOME)["complexity"]
    ('Complexity', 'Table 3: what the methods cost, as published and as measured on named hosts.')

    Args:
        home: folder of app.py and pages/.
    """
    files = {"": home / "app.py"} | {path.stem: path for path in (home / "pages").glob("*.py")}
    found = {}
    for name, path in files.items():
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        title = name.replace("_", " ").capitalize() if name else _NAME
        found[name] = (title.replace("Pro ", "PRO "), said.partition("\n")[0])
    return found


class LinkPreview:
    """Adds the tags of Open Graph to the explorer's HTML.

    Args:
        app: the explorer.
        pages: title and description by path; see `descriptions`.
        has_picture: whether `PICTURE` is there.
    """

    def __init__(
        self, app: ASGIApp, pages: Mapping[str, tuple[str, str]], *, has_picture: bool
    ) -> None:
        self.app, self.pages, self.has_picture = app, pages, has_picture

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; of a page's HTML, return it with its tags."""
        page = self.pages.get(scope.get("path", "").strip("/"))
        if scope["type"] != "http" or scope["method"] != "GET" or page is None:
            await self.app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def changed(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and _is_plain_html(message):
                start = message
            elif start is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body"):
                    await self._send(start, body, self.tags(page, scope), send)

        await self.app(scope, receive, changed)

    async def _send(self, start: Message, body: bytes, tags: str, send: Send) -> None:
        whole = body.replace(b"</head>", tags.encode() + b"</head>", 1)
        headers = MutableHeaders(raw=list(start["headers"]))
        for name in _NOT_OF_THE_PLAIN_PAGE:
            del headers[name]
        headers["content-length"] = str(len(whole))
        await send({**start, "headers": headers.raw})
        await send({"type": "http.response.body", "body": whole})

    def tags(self, page: tuple[str, str], scope: Scope) -> str:
        """Return the tags of a page; the picture's address takes the host that was asked."""
        title, description = page
        told = {
            "og:title": title if title == _NAME else f"{title} - {_NAME}",
            "og:description": description,
            "og:type": "website",
        }
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.has_picture and _HOST.fullmatch(host):
            is_secure = headers.get("x-forwarded-proto", scope.get("scheme", "http")) == "https"
            told["og:image"] = f"{'https' if is_secure else 'http'}://{host}{PICTURE}"
        return "".join(
            f'<meta property="{name}" content="{escape(said)}">' for name, said in told.items()
        )


def _is_plain_html(message: Message) -> bool:
    headers = Headers(raw=message["headers"])
    is_html = headers.get("content-type", "").startswith("text/html")
    return message["status"] == 200 and is_html and "content-encoding" not in headers
