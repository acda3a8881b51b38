"""Who may use the REST routes: the page's own session, or name and password with each request."""

from __future__ import annotations

import base64
import binascii

from starlette.requests import Request

from kohya_gui.arguments import Login
from kohya_gui.login import WAIT_WORDS, Attempts, client_of, has_session
from kohya_gui.rest.answers import refusal


class Access:
    """Lets requests in: all of them without a login, else those that show it."""

    def __init__(self, login: Login | None, attempts: Attempts) -> None:
        self._login = login
        self._attempts = attempts

    def check(self, request: Request) -> None:
        """Raise `Refused` for a request that may not come in."""
        if self._login is None or has_session(request):
            return
        client = client_of(request.scope)
        if not self._attempts.begin(client):
            raise refusal(429, WAIT_WORDS)
        given = _basic(request.headers.get("authorization", ""))
        is_right = given is not None and self._login.is_same(*given)
        if given is None or is_right:
            self._attempts.was_right(client)
        if given is None:
            hint = "Send name and password with HTTP Basic, or log in in the page."
            raise refusal(401, "This needs the login.", hint=hint)
        if not is_right:
            hint = "They are those that the GUI was started with."
            raise refusal(401, "Name or password is wrong.", hint=hint)


def _basic(header: str) -> tuple[str, str] | None:
    """Read an Authorization header. Source: RFC 7617."""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(rest, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon else None
