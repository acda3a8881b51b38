"""A page for addresses that there is nothing at, in the reader's language, with a way back."""

from __future__ import annotations

from html import escape
from string import Template
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kohya_gui.delivery import asset
from kohya_gui.locales.speaking import SpokenTexts
from kohya_gui.route_path import route_path

PROGRAMS: Final = ("/api/", "/gradio_api/")
"""Addresses for programs: what is not there is told in JSON."""


class NotFoundPage:
    """ASGI middleware: whoever opens an unknown address in a browser gets a page, not JSON."""

    def __init__(self, app: ASGIApp, text: SpokenTexts) -> None:
        self._app = app
        self._text = text

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the page in the place of a 404."""
        if not _opens_a_page(scope):
            await self._app(scope, receive, send)
            return
        is_missing = False

        async def look(message: Message) -> None:
            nonlocal is_missing
            if message["type"] == "http.response.start":
                is_missing = message["status"] == 404
            if not is_missing:
                await send(message)

        await self._app(scope, receive, look)
        if is_missing:
            page = not_found_page(self._text, route_path(scope))
            await HTMLResponse(page, 404)(scope, receive, send)


def _opens_a_page(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return False
    wants = "text/html" in Headers(scope=scope).get("accept", "")
    return wants and not route_path(scope).startswith(PROGRAMS)


def not_found_page(text: SpokenTexts, path: str) -> str:
    """Return the page for an address. Its links are relative: they hold behind a proxy's path."""
    return Template(asset("not_found.html")).substitute(
        language=text.code(),
        style=asset("app.css"),
        top="../" * (path.count("/") - 1) or "./",
        app=escape(text("app.title")),
        title=escape(text("not_found.title")),
        lead=escape(text("not_found.lead")),
        back=escape(text("not_found.back")),
        runs=escape(text("not_found.runs")),
    )
