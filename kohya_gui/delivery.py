"""How scripts and styles reach the browser fast: packed once, kept here, and kept by the browser.

A page of Gradio is some forty small files. Without this each is read, compressed and asked for anew
at every visit, which costs more of a core than the page itself.
Source: RFC 8246 (immutable).
"""

from __future__ import annotations

import gzip
import hashlib
import re
from functools import cache
from importlib import resources
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kohya_gui.route_path import route_path

OWN_FOLDER: Final = "/kg"
KEEP: Final = "public, max-age=31536000, immutable"
_KEPT: Final = re.compile(rf"(?:/assets|{OWN_FOLDER})/[\w-]+-[\w-]{{8,}}\.(?:js|css)")
"""Names with the hash of what is in the file: what is under such a name never changes."""
_WORTH_PACKING: Final = 400


@cache
def asset(name: str) -> str:
    """Return the text of a file in `kohya_gui/assets`."""
    return resources.files("kohya_gui").joinpath("assets", *name.split("/")).read_text("utf-8")


class KeptFiles:
    """ASGI middleware: answers from memory what was asked for before, packed where that is taken.

    Only what is there is kept, so that the files of Gradio's installation bound the memory.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._known: dict[tuple[str, bool], Response] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on whatever is no such file."""
        if not _is_kept(scope):
            await self._app(scope, receive, send)
            return
        packed = "gzip" in Headers(scope=scope).get("accept-encoding", "")
        key = (route_path(scope), packed)
        if key not in self._known:
            # Whole, whatever part of it this request wants.
            found = await _answer(self._app, {**scope, "headers": []}, receive)
            if found.status_code != 200:
                await found(scope, receive, send)
                return
            self._known[key] = _to_keep(found, packed)
        await self._known[key](scope, receive, send)


def _is_kept(scope: Scope) -> bool:
    plain = scope["type"] == "http" and scope["method"] == "GET"
    return plain and _KEPT.fullmatch(route_path(scope)) is not None


async def _answer(app: ASGIApp, scope: Scope, receive: Receive) -> Response:
    """Return the whole answer of an application."""
    begun: dict[str, Any] = {}
    body = bytearray()

    async def take(message: Message) -> None:
        if message["type"] == "http.response.start":
            begun.update(message)
        elif message["type"] == "http.response.body":
            body.extend(message.get("body", b""))

    await app(scope, receive, take)
    kind = Headers(raw=begun["headers"]).get("content-type")
    return Response(bytes(body), begun["status"], media_type=kind)


def _to_keep(found: Response, packed: bool) -> Response:
    """Return an answer in the form in which it is kept."""
    headers = {"Cache-Control": KEEP, "Vary": "Accept-Encoding"}
    body = bytes(found.body)
    if packed and len(body) >= _WORTH_PACKING:
        body = gzip.compress(body, 6, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(body, 200, headers, media_type=found.media_type)


class OwnScript:
    """The scripts of our pages as one file, under a name that changes with what is in it."""

    def __init__(self, text: str) -> None:
        self._text = text
        digest = hashlib.blake2b(text.encode("utf-8"), digest_size=8).hexdigest()
        self._path = f"{OWN_FOLDER}/pages-{digest}.js"

    @property
    def address(self) -> str:
        """Where it is, relative to a page."""
        return f".{self._path}"

    def route(self) -> BaseRoute:
        """Return the route that serves it."""

        def answer(_: Request) -> Response:
            return Response(self._text, media_type="text/javascript")

        return Route(self._path, answer, methods=["GET"])
