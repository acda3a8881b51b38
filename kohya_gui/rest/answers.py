"""How the REST routes answer: JSON, problems in the house's form, bodies of limited size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from kohya_gui.jobs.submitting import MAX_TOML_BYTES
from kohya_gui.jobs.told import problems_told
from sd_scripts.errors import Problem, UserError

MAX_NUMBER: Final = 2**53
"""The largest whole number that every reader of JSON keeps exactly."""

_CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="kohya_gui", charset="UTF-8"'}


class Refused(Exception):
    """A request that is answered with problems and this status."""

    def __init__(self, status: int, problems: Iterable[Problem]) -> None:
        super().__init__(status)
        self.status = status
        self.problems = tuple(problems)


TELLABLE: Final = (Refused, UserError, HTTPException, OSError)
"""What a route may raise and is answered; anything else is a fault of ours."""


def refusal(
    status: int, message: str, *, option: str | None = None, hint: str | None = None
) -> Refused:
    """Return a refusal for one reason."""
    return Refused(status, [Problem(message, option, hint)])


def problems_answer(status: int, problems: Iterable[Problem]) -> JSONResponse:
    """Return problems as JSON."""
    headers = _CHALLENGE if status == 401 else None
    return JSONResponse({"problems": problems_told(problems)}, status, headers)


def answer_for(error: Exception) -> JSONResponse:
    """Return the answer for what a route raised: everything a caller can mend is a problem."""
    match error:
        case Refused():
            return problems_answer(error.status, error.problems)
        case UserError():
            return problems_answer(422, error.problems)
        case HTTPException():
            return problems_answer(error.status_code, [Problem(str(error.detail))])
        case OSError():
            reason = error.strerror or str(error)
            hint = "Look at the free space and the rights of the workspace folder."
            return problems_answer(507, [Problem(reason, "workspace", hint)])
    raise error


async def text_body(request: Request) -> str:
    """Return the body as text. Refuses what is too large, while it comes in, or not UTF-8."""
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > MAX_TOML_BYTES:
                raise refusal(
                    413,
                    f"The body is larger than {MAX_TOML_BYTES:,} bytes.",
                    hint="Send the TOML of one job.",
                )
            parts.append(part)
    except ClientDisconnect as error:
        raise refusal(400, "The body did not come in whole.", hint="Send it again.") from error
    try:
        return b"".join(parts).decode("utf-8")
    except UnicodeDecodeError as error:
        raise refusal(400, "The body is not UTF-8 text.", hint="Send TOML in UTF-8.") from error


def number_given(request: Request, name: str, otherwise: int, most: int = MAX_NUMBER) -> int:
    """Return a whole number of the address's query, from 0 to `most`."""
    text = request.query_params.get(name)
    if text is None:
        return otherwise
    # isdecimal, and short: int() takes long on very many digits.
    if not text.isdecimal() or len(text) > 16 or int(text) > most:
        raise refusal(
            400, f"{name} is not a number from 0 to {most}.", option=name, hint=f"?{name}=0"
        )
    return int(text)
