"""Security headers on every response: what a page may load, and who may show it in a frame."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

FRAMED_BY = "'self' https://huggingface.co https://*.hf.space"
"""Who may embed the pages: the explorer, which shows the live demo, and Hugging Face's Spaces."""

_PAGE = (
    "default-src 'self'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; frame-src 'self'; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors " + FRAMED_BY
)
_DATA = "default-src 'none'; frame-ancestors 'none'"


def content_policy(path: str, inline_scripts: str) -> str:
    """Return the Content-Security-Policy of a path.

    >>> ["'unsafe-eval'" in content_policy(path, "") for path in ("/live/", "/", "/api/v1/runs")]
    [True, False, False]

    The explorer runs its own files, the scripts that its page holds, known by their hashes, and
    modules that a script of it made in the browser (blob:), as Streamlit does with components.
    Gradio writes its configuration into a script of its page and builds functions from text, so
    the live demo needs both; FastAPI's page of documentation has a script too.

    Args:
        path: of the request.
        inline_scripts: hashes of the scripts in the explorer's page, as CSP sources.
    """
    if path.startswith("/live"):
        return _PAGE.format(scripts="'unsafe-inline' 'unsafe-eval'")
    if path == "/api/docs":
        return _PAGE.format(scripts="'unsafe-inline'")
    if path.startswith("/api/v1") or path in ("/healthz", "/api/openapi.json"):
        return _DATA
    return _PAGE.format(scripts=f"blob: {inline_scripts}")


class SecurityHeaders:
    """Adds the headers to every response of an application.

    Args:
        app: that answers.
        inline_scripts: see `content_policy`.
    """

    def __init__(self, app: ASGIApp, inline_scripts: str) -> None:
        self.app, self.inline_scripts = app, inline_scripts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and add the headers to its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        added = [
            (b"content-security-policy", content_policy(scope["path"], self.inline_scripts)),
            (b"x-content-type-options", "nosniff"),
            (b"referrer-policy", "same-origin"),
            (b"permissions-policy", "camera=(self), microphone=(), geolocation=()"),
        ]

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in added}
                others = [h for h in message.get("headers", []) if h[0].lower() not in names]
                message["headers"] = [*others, *((name, value.encode()) for name, value in added)]
            await send(message)

        await self.app(scope, receive, with_headers)
