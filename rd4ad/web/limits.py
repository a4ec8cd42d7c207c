"""How much one client, and all of them together, may ask for: body sizes, rates, sessions."""

import asyncio
import ipaddress
import os
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rd4ad.config import number_setting
from rd4ad.web.live.uploads import MAX_BYTES

MAX_PHOTOS_BYTES = 256 * 2**20  # that a job is taught from, in one request
_FORM_BYTES = 64 * 1024  # what a form adds around its file
_MESSAGE_BYTES = 1024 * 1024  # an event of the live demo, without the files it names
BODIES = (
    ("/api/v1/teach", MAX_PHOTOS_BYTES + _FORM_BYTES),
    ("/api/", MAX_BYTES + _FORM_BYTES),
    ("/live/gradio_api/upload", 16 * MAX_BYTES + _FORM_BYTES),  # several files at once
    ("/live/gradio_api/component_server", MAX_BYTES + _FORM_BYTES),
    ("/live/gradio_api/mcp", MAX_BYTES * 4 // 3 + _FORM_BYTES),  # an image in base64
    ("/live", _MESSAGE_BYTES),
    ("/_stcore/upload_file", 100 * 2**20 + _FORM_BYTES),  # as the page's own limit
    ("/", _FORM_BYTES),
)
"""Largest body by the beginning of a path, in bytes; the first that fits counts."""
_DRAINED_BYTES, _DRAINING_SECONDS = 256 * 2**20, 30.0
COSTLY = re.compile(
    r"/api/v1/(?:predict|teach(?:/.*)?)|/live/gradio_api/(?:queue/join|upload|component_server|(?:call|run|api|mcp)/.*)"
    r"|/_stcore/upload_file/.*"
)
"""Paths of requests that cost the server work; only other methods than GET count."""
_BURST_SECONDS = 30.0  # what a client has saved up at most
_REMEMBERED = 10_000  # clients with a bucket of their own


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The operator's settings; see docs/HOSTING.md. Zero switches a limit off.

    Args:
        per_minute: costly requests per minute that one client may send.
        per_minute_total: costly requests per minute of all clients.
        sessions: explorer pages that one client may hold open.
        sessions_total: explorer pages of all clients.
        uploads_mib: what uploads of the live demo may take on disk.
        proxies: networks whose X-Forwarded-For is believed.
    """

    per_minute: float = 300
    per_minute_total: float = 1500
    sessions: int = 30
    sessions_total: int = 200
    uploads_mib: float = 1024
    proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    @classmethod
    def from_environment(cls) -> "Limits":
        """Return the limits that the RD4AD_ variables name.

        Raises:
            ValueError: a variable is not a number, or not a list of networks; names it.
        """
        defaults = cls()
        per_minute = number_setting("RD4AD_PER_MINUTE", defaults.per_minute)
        per_minute_total = number_setting("RD4AD_PER_MINUTE_TOTAL", defaults.per_minute_total)
        sessions = int(number_setting("RD4AD_SESSIONS", defaults.sessions))
        sessions_total = int(number_setting("RD4AD_SESSIONS_TOTAL", defaults.sessions_total))
        text = os.environ.get("RD4AD_TRUSTED_PROXIES", "")
        try:
            proxies = tuple(ipaddress.ip_network(one.strip()) for one in text.split(",") if one)
        except ValueError as error:
            raise ValueError(
                f"RD4AD_TRUSTED_PROXIES: {error}; expected addresses or networks, with commas"
            ) from error
        return cls(
            per_minute=per_minute,
            per_minute_total=per_minute_total,
            sessions=sessions,
            sessions_total=sessions_total,
            uploads_mib=number_setting("RD4AD_UPLOADS_MIB", defaults.uploads_mib) or float("inf"),
            proxies=proxies,
        )


def client_address(scope: Scope, limits: Limits) -> str:
    """Return the address that a request came from.

    >>> trusting = Limits(proxies=(ipaddress.ip_network("10.0.0.0/8"),))
    >>> headers = [(b"x-forwarded-for", b"1.1.1.1, 203.0.113.7, 10.0.0.9")]
    >>> client_address({"client": ("10.0.0.1", 1), "headers": headers}, trusting)
    '203.0.113.7'
    >>> client_address({"client": ("192.0.2.1", 1), "headers": headers}, trusting)
    '192.0.2.1'

    A proxy appends the address that it saw, and what stands further left is the client's own word:
    so the list is read from its end, as long as trusted proxies say it.
    """
    address = str((scope.get("client") or ("", 0))[0])
    sent = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    hops = [hop.strip() for hop in b",".join(sent).decode("latin-1").split(",") if hop.strip()]
    while hops and _is_in(address, limits.proxies):
        if not _is_address(hops[-1]):
            break
        address = hops.pop()
    return address


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_in(address: str, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    return _is_address(address) and any(ipaddress.ip_address(address) in net for net in networks)


class Buckets:
    """A token bucket a client: `per_minute` tokens flow in, at most half a minute's are saved.

    >>> buckets = Buckets(per_minute=2)
    >>> buckets.wait("a", now=0.0), round(buckets.wait("a", now=0.0)), buckets.wait("a", now=30.0)
    (0.0, 30, 0.0)
    """

    def __init__(self, per_minute: float) -> None:
        self.rate = per_minute / 60
        self.capacity = max(1.0, self.rate * _BURST_SECONDS)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, seen at

    def wait(self, client: str, now: float) -> float:
        """Take a token; return 0, or the seconds until there will be one, and take none."""
        if not self.rate:
            return 0.0
        tokens, seen = self._left.pop(client, (self.capacity, now))
        tokens = min(self.capacity, tokens + (now - seen) * self.rate)
        has_one = tokens >= 1
        self._left[client] = (tokens - has_one, now)
        while len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)
        return 0.0 if has_one else (1 - tokens) / self.rate


class RateLimit:
    """Answers 429 to a client that asks for too much, and 503 to one page too many."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app, self.limits = app, limits
        self._own = Buckets(limits.per_minute)
        self._all = Buckets(limits.per_minute_total)
        self._sessions: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if there is room for it."""
        if scope["type"] == "websocket":
            await self._session(scope, receive, send)
        elif (
            scope["type"] == "http"
            and scope["method"] not in ("GET", "HEAD", "OPTIONS")
            and COSTLY.fullmatch(scope["path"])
            and (seconds := self._wait(scope)) > 0
        ):
            again = str(max(1, round(seconds + 0.5)))
            said = f"Too many requests: try again in {again} s."
            refusal = JSONResponse({"detail": said}, 429, {"Retry-After": again})
            await refuse(refusal, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _wait(self, scope: Scope) -> float:
        now = time.monotonic()
        own = self._own.wait(client_address(scope, self.limits), now)
        return own or self._all.wait("", now)

    async def _session(self, scope: Scope, receive: Receive, send: Send) -> None:
        client, limits = client_address(scope, self.limits), self.limits
        if (limits.sessions and self._sessions[client] >= limits.sessions) or (
            limits.sessions_total and self._sessions.total() >= limits.sessions_total
        ):
            await receive()
            await send({"type": "websocket.close", "code": 1013})  # try again later
            return
        self._sessions[client] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._sessions[client] -= 1
            self._sessions += Counter()  # forgets who has none


class BodyLimit:
    """Refuses bodies over the size of their path with 413, by their length or as they come."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting its bytes."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        at_most = next(size for start, size in BODIES if scope["path"].startswith(start))
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        said = f"The body is larger than the {_readable(at_most)} that are read."
        refusal = JSONResponse({"detail": said}, 413)
        if not stated.isdigit() or int(stated) > at_most:
            await refuse(refusal, scope, receive, send)
            return
        seen, has_started = 0, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > at_most:
                raise HTTPException(413, said)
            return message

        async def watched(message: Message) -> None:
            nonlocal has_started
            if seen > at_most and not has_started:
                return  # whatever the application makes of it; the answer is below
            has_started = True
            await send(message)

        try:
            await self.app(scope, counted, watched)
        except HTTPException:
            if seen <= at_most:
                raise
        if seen > at_most and not has_started:
            await refuse(refusal, scope, receive, send)


def _readable(size: int) -> str:
    return f"{size // 2**20} MB" if size >= 2**20 else f"{size // 1024} KB"


async def refuse(refusal: JSONResponse, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a refusal to a client that may still be sending.

    One that sends everything before it reads would see a broken pipe and no answer, so what comes
    is read and dropped first, up to a limit. A client that asked whether to send is told at once.
    """
    if b"expect" not in dict(scope["headers"]):
        try:
            async with asyncio.timeout(_DRAINING_SECONDS):
                await _drain(receive)
        except TimeoutError:
            pass
    refusal.headers["Connection"] = "close"
    await refusal(scope, receive, send)


async def _drain(receive: Receive) -> None:
    seen = 0
    while seen < _DRAINED_BYTES:
        message = await receive()
        seen += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return
