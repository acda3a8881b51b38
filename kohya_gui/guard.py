"""Keep other sites out: a web page somewhere must not steer this program through the browser.

Gradio withholds its *answers* from other origins, but it carries out what they send: a page on any
site could post to 127.0.0.1 and so end or delete runs, or reach it under a name of its own that
resolves to 127.0.0.1 (DNS rebinding). So what is posted must come from our own pages, and without
a login the server answers under the names of this machine only.
Source: Fetch Metadata Request Headers, https://www.w3.org/TR/fetch-metadata/
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kohya_gui.arguments import is_loopback

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES: Final = ("same-origin", "none")
_FRAMES: Final = ((b"content-security-policy", b"frame-ancestors 'self'"),)


class Guard:
    """ASGI middleware; `only_this_machine` is for a server without a login."""

    def __init__(self, app: ASGIApp, only_this_machine: bool) -> None:
        self._app = app
        self._only_this_machine = only_this_machine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 403 and the reason."""
        refusal = None
        if scope["type"] == "http":
            refusal = self._refusal(str(scope["method"]), Headers(scope=scope))
        if refusal is None:
            await self._app(scope, receive, _not_framed(send))
            return
        await PlainTextResponse(refusal, status_code=403)(scope, receive, send)

    def _refusal(self, method: str, headers: Headers) -> str | None:
        host = host_name(headers.get("host", ""))
        if self._only_this_machine and not _is_this_machine(host):
            return (
                f"Without a login this page is open under the names of its own machine only, not "
                f"as “{host}”. Start it with --username and --password to reach it otherwise."
            )
        if method not in SAFE_METHODS and not comes_from_our_pages(headers):
            return "This was sent by a page of another site and is refused."
        return None


def _not_framed(send: Send) -> Send:
    """Tell browsers that no other site may show our pages inside its own, to steal clicks."""

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *_FRAMES]
        await send(message)

    return told


def comes_from_our_pages(headers: Headers) -> bool:
    """Tell whether a request was made by a page of this server, or by a program.

    Browsers say so in Sec-Fetch-Site where the connection is secure or local; else the page's
    origin must be the host that was asked for, as seen here or by a proxy before us. Programs send
    neither.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in _OWN_SITES
    origin = headers.get("origin")
    if origin is None:
        return True
    hosts = (headers.get("host", ""), headers.get("x-forwarded-host", ""))
    return _name_of_origin(origin) in {host_name(host) for host in hosts if host}


def _name_of_origin(origin: str) -> str | None:
    try:
        return host_name(urlsplit(origin).netloc)
    except ValueError:
        return None


def host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets, in lower case."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_this_machine(host: str) -> bool:
    # A name is not looked up: that it resolves to this machine is just what an attacker arranges.
    if host == "localhost" or host.endswith(".localhost"):
        return True
    is_address = ":" in host or all(part.isdigit() for part in host.split("."))
    return is_address and is_loopback(host)
