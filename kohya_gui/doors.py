"""Open the addresses that our pages use, and bodies as large as they send; shut everything else.

Gradio serves more than that, some of it without its login: routes that take files of any number,
that fetch an address for whoever asks, that tell a script the session's secret, that record, stream
or wait in a queue that no page of ours uses. What is shut needs no trust in how it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kohya_gui.route_path import route_path

LARGEST_BODY: Final = 32 * 2**20
"""A painted mask of a very large picture is the largest thing that a page sends."""

_EXACT: Final = (
    "/",
    "/config",
    "/login",
    "/logout",
    "/theme.css",
    "/favicon.ico",
    "/robots.txt",
    "/manifest.json",
    "/gradio_api/startup-events",
    "/gradio_api/app_id",
    "/gradio_api/theme.css",
    "/gradio_api/component_server",
)
_BELOW: Final = ("/assets/", "/static/", "/svelte/", "/gradio_api/run/")
_FILE: Final = "/gradio_api/file="
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)
"""What an address begins with; a drive of Windows has one letter."""


class Doors:
    """ASGI middleware; `ours` are the pages' addresses, and those of our own routes end in "/"."""

    def __init__(self, app: ASGIApp, ours: Iterable[str]) -> None:
        self._app = app
        paths = tuple(ours)
        self._exact = frozenset((*_EXACT, *(path.rstrip("/") for path in paths)))
        self._below = (*_BELOW, *(path for path in paths if path.endswith("/") and path != "/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what pages send; answer 404 to other addresses and 413 to what is too large."""
        if scope["type"] == "websocket":  # no page of ours speaks that way
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not self.is_open(route_path(scope)):
            await PlainTextResponse("Not found.", 404)(scope, receive, send)
            return
        if _told_length(scope) > LARGEST_BODY:
            await _too_large()(scope, receive, send)
            return
        await self._app(scope, _Counted(receive), send)

    def is_open(self, path: str) -> bool:
        """Tell whether a page of ours, or a program that uses our routes, may ask for a path."""
        if path.startswith(_FILE):
            return _SCHEME.match(path.removeprefix(_FILE)) is None
        return (path.rstrip("/") or "/") in self._exact or path.startswith(self._below)


class _Counted:
    """Receives a body, no more of it than allowed: what comes after that reads as cut off."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            if self._size > LARGEST_BODY:
                return {"type": "http.disconnect"}
        return message


def _told_length(scope: Scope) -> int:
    told = dict(scope["headers"]).get(b"content-length", b"")
    return int(told) if told.isdigit() and len(told) < 20 else 0


def _too_large() -> PlainTextResponse:
    return PlainTextResponse(
        f"This is larger than {LARGEST_BODY // 2**20} MB.", 413, headers={"Connection": "close"}
    )
