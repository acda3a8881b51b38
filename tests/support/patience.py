"""How tests wait for others: often looking, and long, since a busy machine is no fault."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

PATIENCE_SECONDS: Final = 60.0
START_SECONDS: Final = 300.0
"""For a process that has to begin, load libraries and get so far."""
_LOOK_SECONDS: Final = 0.02
Answer = TypeVar("Answer")


def eventually(happened: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
    """Wait until something that others do has happened; False if it does not in so many seconds."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def last_answer(ask: Callable[[], Answer], over: Callable[[Answer], bool]) -> Answer:
    """Ask until an answer is the last one, and return it; fails when there is none."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not over(answer := ask()):
        assert time.monotonic() < deadline, f"no other answer than: {answer}"
        time.sleep(_LOOK_SECONDS)
    return answer
