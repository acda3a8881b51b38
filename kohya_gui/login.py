"""The login: names compared in constant time, and not more than so many guesses a minute."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from threading import Lock
from typing import Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_FAILURES: Final = 10
WINDOW_SECONDS: Final = 60.0
MAX_CLIENTS: Final = 10_000
WAIT_WORDS: Final = "Too many wrong logins. Wait a minute, then try again."


class Attempts:
    """Counts wrong logins by where they come from; after too many, that place has to wait.

    A flood from very many places forgets the oldest of them: memory is bounded.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def must_wait(self, client: str) -> bool:
        """Tell whether a place has used up its tries for now."""
        with self._lock:
            return len(self._recent(client)) >= MAX_FAILURES

    def failed(self, client: str) -> None:
        """Note a wrong login."""
        with self._lock:
            self._failures[client] = [*self._recent(client), time.monotonic()][-MAX_FAILURES:]
            self._failures.move_to_end(client)
            while len(self._failures) > MAX_CLIENTS:
                self._failures.popitem(last=False)

    def _recent(self, client: str) -> list[float]:
        since = time.monotonic() - WINDOW_SECONDS
        return [moment for moment in self._failures.get(client, ()) if moment > since]


def same_login(given: tuple[str, str], right: tuple[str, str]) -> bool:
    """Compare name and password in a time that does not tell where they differ."""
    name = secrets.compare_digest(given[0].encode(), right[0].encode())
    password = secrets.compare_digest(given[1].encode(), right[1].encode())
    return name and password


class LoginLimit:
    """ASGI middleware: the page's login form answers a place only so many wrong guesses."""

    def __init__(self, app: ASGIApp, attempts: Attempts) -> None:
        self._app = app
        self._attempts = attempts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what the login form refuses; answer 429 to a place that has to wait."""
        is_login = scope["type"] == "http" and scope["method"] == "POST"
        if not is_login or str(scope["path"]).rstrip("/") != "/login":
            await self._app(scope, receive, send)
            return
        client = client_of(scope)
        if self._attempts.must_wait(client):
            await JSONResponse({"detail": WAIT_WORDS}, 429)(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 400:
                self._attempts.failed(client)
            await send(message)

        await self._app(scope, receive, counted)


def client_of(scope: Scope) -> str:
    """Return the address that a request came from."""
    client = scope.get("client")
    return str(client[0]) if client else ""
