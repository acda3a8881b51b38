"""Around the login: not more than so many guesses a minute, and a cookie that neither scripts nor
other sites get."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from threading import Lock
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kohya_gui.route_path import route_path

MAX_FAILURES: Final = 10
MAX_FAILURES_OF_ALL: Final = 200
WINDOW_SECONDS: Final = 60.0
MAX_CLIENTS: Final = 10_000
THIS_MACHINE: Final = "this\nmachine"
"""The place of whoever sits at it; no header can name it, for none holds a line break."""
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")
WAIT_WORDS: Final = "Too many wrong logins. Wait a minute, then try again."


class Attempts:
    """Counts wrong logins by where they come from; after too many, that place has to wait.

    A try counts as wrong from its beginning, so that many at once get no more guesses than one
    after the other. All places together have a limit too: behind a proxy, where a request comes
    from is what its sender says. A flood from very many places forgets the oldest of them: memory
    is bounded.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._failures: OrderedDict[str, list[float]] = OrderedDict()
        self._of_all: list[float] = []

    def begin(self, client: str) -> bool:
        """Note a try; False if that place, or all together, have used up their tries for now."""
        with self._lock:
            recent = _recent(self._failures.get(client, []))
            self._of_all = _recent(self._of_all)
            # Else guesses from everywhere would keep the owner out, too.
            is_shared = client != THIS_MACHINE
            is_full = is_shared and len(self._of_all) >= MAX_FAILURES_OF_ALL
            if len(recent) >= MAX_FAILURES or is_full:
                return False
            now = time.monotonic()
            if is_shared:
                self._of_all.append(now)
            self._failures[client] = [*recent, now]
            self._failures.move_to_end(client)
            while len(self._failures) > MAX_CLIENTS:
                self._failures.popitem(last=False)
            return True

    def was_right(self, client: str) -> None:
        """Take back the last try of a place: it was no wrong one."""
        with self._lock:
            if client != THIS_MACHINE and self._of_all:
                self._of_all.pop()
            if noted := self._failures.get(client):
                noted.pop()


def _recent(moments: list[float]) -> list[float]:
    since = time.monotonic() - WINDOW_SECONDS
    return [moment for moment in moments if moment > since]


class LoginLimit:
    """ASGI middleware: the page's login form answers a place only so many wrong guesses."""

    def __init__(self, app: ASGIApp, attempts: Attempts) -> None:
        self._app = app
        self._attempts = attempts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what the login form refuses; answer 429 to a place that has to wait."""
        is_login = scope["type"] == "http" and scope["method"] == "POST"
        if not is_login or route_path(scope).rstrip("/") != "/login":
            await self._app(scope, receive, send)
            return
        client = client_of(scope)
        if not self._attempts.begin(client):
            await JSONResponse({"detail": WAIT_WORDS}, 429)(scope, receive, send)
            return

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] != 400:
                    self._attempts.was_right(client)
                _guard_cookies(message, is_secure(scope))
            await send(message)

        await self._app(scope, receive, answered)


def _guard_cookies(message: Message, secure: bool) -> None:
    """Make the session's cookies invisible to scripts and other sites.

    Gradio gives two: one for secure connections, which it lets every site send along, and one for
    plain ones, without a word about other sites. Each connection keeps only its own.
    """
    headers = []
    for name, value in message["headers"]:
        if name.lower() != b"set-cookie":
            headers.append((name, value))
        elif is_for_plain(value) != secure:
            pair = value.split(b";", 1)[0]
            end = b"; Secure" if secure else b""
            headers.append((name, pair + b"; Path=/; HttpOnly; SameSite=Lax" + end))
    message["headers"] = headers


def is_for_plain(cookie: bytes) -> bool:
    """Tell whether Gradio means a cookie for connections that are not secure."""
    return cookie.startswith(b"access-token-unsecure-")


def is_secure(scope: Scope) -> bool:
    """Tell whether the browser's connection is secure, here or at a proxy before us."""
    forwarded = Headers(scope=scope).get("x-forwarded-proto", "")
    return "https" in (scope.get("scheme"), forwarded.split(",")[0].strip().lower())


def has_session(request: Request) -> bool:
    """Tell whether the page's login was done in this browser: Gradio's cookies and its list."""
    app = request.app
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    tokens = [request.cookies.get(name) for name in names]
    return any(token is not None and token in app.tokens for token in tokens)


def client_of(scope: Scope) -> str:
    """Return the address that a request came from; `THIS_MACHINE` if no other can have sent it."""
    client = scope.get("client")
    address = str(client[0]) if client else ""
    headers = Headers(scope=scope)
    is_direct = not any(name in headers for name in _FORWARDED)
    return THIS_MACHINE if is_direct and _is_loopback(address) else address


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False  # a name that a proxy made up
    inner = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (inner or found).is_loopback
