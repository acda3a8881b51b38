"""What scripts call is looked at before Gradio reads it: what no page sends is refused in words.

Gradio answers with a fault of its own (500, and a trace in the log) when a call names no function,
has too few values, or values that a control cannot have. Such calls come from a tab that is older
than the program, or from somebody who tries what happens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kohya_gui.locales import Texts
from kohya_gui.login import has_session
from kohya_gui.quick_gradio import gr
from kohya_gui.route_path import route_path

DEEPEST: Final = 50
"""So deep may lists lie in lists."""
LARGEST: Final = 2**63
"""A whole number beyond this is none that a program works with."""
_EVENTS: Final = "/gradio_api/run/"
_FUNCTIONS: Final = "/gradio_api/component_server"
_LONGEST_SESSION: Final = 100
_SENT: Final = frozenset(("data", "event_data", "fn_index", "trigger_id", "session_hash"))
"""What a page says of an event. Gradio reads more: batches, tokens, other forms of answers."""

_refused: ContextVar[list[str] | None] = ContextVar("controls refuse what was sent", default=None)


def refuse_values() -> None:
    """Note that a control cannot have the value that a call sends for it."""
    if (noted := _refused.get()) is not None:
        noted.append("values")


class Calls:
    """ASGI middleware around the two addresses that scripts call functions by."""

    def __init__(self, app: ASGIApp, blocks: gr.Blocks, text: Texts, has_login: bool) -> None:
        self._app = app
        self._blocks = blocks
        self._text = text
        self._has_login = has_login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on as it came; answer what no page sends with 4xx and a sentence."""
        look = self._look_for(scope)
        if look is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        if self._has_login and not has_session(request):  # Gradio refuses it, whatever is in it
            await self._app(scope, receive, send)
            return
        try:
            body = await request.body()
        except ClientDisconnect:  # or too large: it has been told
            body = b""
        status = look(body) if _is_json(request) else 415
        if status is not None:
            await self._refusal(status)(scope, receive, send)
            return
        await self._answered(scope, _again(body, receive), send)

    def _look_for(self, scope: Scope) -> Callable[[bytes], int | None] | None:
        """Return what looks at a call, None if this is no call."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        path = route_path(scope)
        if path.startswith(_EVENTS):
            return self._look_at_event
        return self._look_at_function if path.rstrip("/") == _FUNCTIONS else None

    def _look_at_event(self, body: bytes) -> int | None:
        """Return why a call of an event is refused, as an HTTP status; None if it is not."""
        call = _read(body)
        if call is None:
            return 400
        event = self._blocks.fns.get(_number(call.get("fn_index")))
        if event is None or event.fn is None:  # gone, or done by the browser alone
            return 404
        given = call.get("data")
        fits = isinstance(given, list) and len(given) == len(event.inputs)
        fits = fits and call.keys() <= _SENT and _is_told(call.get("event_data"))
        return None if fits and _is_session(call) else 422

    def _look_at_function(self, body: bytes) -> int | None:
        """Return why a call of a widget's function is refused; None if it is not."""
        call = _read(body)
        if call is None:
            return 400
        block = self._blocks.blocks.get(_number(call.get("component_id")))
        name = call.get("fn_name")
        function = vars(block).get(name) if block and isinstance(name, str) else None
        if not getattr(function, "_is_server_fn", False):
            return 404
        return None if "data" in call and _is_session(call) else 422

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the call be answered; a value that a control refused is no fault of the program."""
        noted: list[str] = []

        async def tell(message: Message) -> None:
            if not noted or message["type"] not in ("http.response.start", "http.response.body"):
                await send(message)
            elif message["type"] == "http.response.start":
                await self._refusal(422)(scope, receive, send)

        before = _refused.set(noted)
        try:
            await self._app(scope, receive, tell)
        finally:
            _refused.reset(before)

    def _refusal(self, status: int) -> JSONResponse:
        return JSONResponse({"error": self._text("calls.not_understood")}, status)


def _is_json(request: Request) -> bool:
    """Tell whether the body is said to be JSON: no form of another site can say so unasked."""
    kind = request.headers.get("content-type", "").partition(";")[0]
    return kind.strip().lower() == "application/json"


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read once more, then whatever comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def given() -> Message:
        return messages.pop() if messages else await receive()

    return given


def _read(body: bytes) -> dict[str, Any] | None:
    """Return a call as JSON says it; None for what is none, or holds what cannot be worked with."""
    try:
        call = json.loads(body.decode("utf-8"), parse_constant=_no_number)
        if b"\\u" in body:  # half of a character that is made of two
            json.dumps(call, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return call if isinstance(call, dict) and _is_usual(call) else None


def _no_number(name: str) -> float:
    raise ValueError(name)


def _levels(value: Any) -> Iterator[list[Any]]:
    """Yield a value, then what is in it, then what is in that, and so on."""
    level = [value]
    while level:
        yield level
        level = [part for one in level for part in _parts(one)]


def _is_usual(call: dict[str, Any]) -> bool:
    """Tell whether numbers are those of programs, and nothing lies deeper than pages put it."""
    for depth, level in enumerate(_levels(call)):
        if depth == DEEPEST or any(_is_beyond(one) for one in level):
            return False
    return True


def _is_told(told: Any) -> bool:
    """Tell whether a control can have told this with its event. What names a `path` is a file for
    Gradio, and no event brings one."""
    return not any("path" in one for level in _levels(told) for one in level if type(one) is dict)


def _parts(one: Any) -> list[Any]:
    if isinstance(one, dict):
        return list(one.values())
    return one if isinstance(one, list) else []


def _is_beyond(one: Any) -> bool:
    if isinstance(one, float):
        return not math.isfinite(one)
    return isinstance(one, int) and not -LARGEST <= one < LARGEST


def _number(given: object) -> int:
    """Return a whole number as it stands in a call, -1 for anything else."""
    return given if isinstance(given, int) and not isinstance(given, bool) else -1


def _is_session(call: Mapping[str, Any]) -> bool:
    session = call.get("session_hash")
    return isinstance(session, str) and len(session) <= _LONGEST_SESSION
