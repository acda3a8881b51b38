"""Long looks at files in the background: started when a page needs them, dropped when none does.

A look is known by its key (what is looked at, with which options). Pages ask for it again and
again until it is done; nothing belongs to a page, so tabs and people share what was found.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal

from sd_scripts.errors import Problem, UserError

Progress = Callable[[str, int, int], None]
Work = Callable[[Progress], Any]

NUM_THREADS: Final = 2
NUM_KEPT: Final = 24
"""So many looks that no page asks for any more are kept; what a page asks for stays beside them."""
MOST_KEPT: Final = 400
UNWANTED_SECONDS: Final = 12.0
"""A look that no page asked for so long is given up."""
FRESH_SECONDS: Final = 20.0
"""So long a finished look is taken as it is; older ones are done anew while they are shown."""


class UnwantedError(Exception):
    """Raised inside a look that nobody waits for any more."""


@dataclass(frozen=True)
class Scan:
    """How far a look is. `found` is its result (the last one while it is done anew)."""

    state: Literal["working", "done", "failed"]
    found: Any = None
    doing: str = ""
    done: int = 0
    total: int = 0
    problems: tuple[Problem, ...] = ()


class _Look:
    """One look: its result, its progress, and when it was last asked for."""

    def __init__(self) -> None:
        self.future: Future[Any] | None = None
        self.found: Any = None
        self.problems: tuple[Problem, ...] = ()
        self.finished: float | None = None
        self.wanted = time.monotonic()
        self.progress: tuple[str, int, int] = ("", 0, 0)

    def tell(self, doing: str, done: int, total: int) -> None:
        """Take progress; end the work when nobody wants it."""
        self.progress = (doing, done, total)
        if self.is_unwanted():
            raise UnwantedError

    def is_unwanted(self) -> bool:
        """Tell whether no page has asked for it for some time."""
        return time.monotonic() - self.wanted > UNWANTED_SECONDS


class Scans:
    """All looks of this program; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looks: OrderedDict[Hashable, _Look] = OrderedDict()
        self._pool = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="scan")

    def look(self, key: Hashable, work: Work, *, wait: float = 0.15) -> Scan:
        """Return how the look for `key` stands, starting `work` if needed.

        Waits up to `wait` seconds for a look just started, since most are done by then.
        """
        started = False
        with self._lock:
            look = self._looks.get(key)
            if look is None:
                look = self._looks[key] = _Look()
            self._looks.move_to_end(key)
            look.wanted = time.monotonic()
            self._forget_some()
            stale = look.finished is None or time.monotonic() - look.finished > FRESH_SECONDS
            if look.future is None and stale:
                look.future = self._pool.submit(work, look.tell)
                started = True
            future = look.future
        if future is not None:
            ended = threading.Event()
            if started:
                future.add_done_callback(functools.partial(self._ended, look))
            future.add_done_callback(lambda _: ended.set())
            ended.wait(wait)
        with self._lock:
            return self._state(look)

    def forget(self, key: Hashable) -> None:
        """Do the look anew when it is asked for next, as after a wish to look again."""
        with self._lock:
            if (look := self._looks.get(key)) is not None:
                look.finished = None

    @staticmethod
    def _state(look: _Look) -> Scan:
        if look.future is not None and look.finished is None:
            doing, done, total = look.progress
            return Scan("working", look.found, doing, done, total)
        if look.problems:
            return Scan("failed", problems=look.problems)
        return Scan("done", look.found)

    def _ended(self, look: _Look, future: Future[Any]) -> None:
        """Keep what came out of a look, whatever it was."""
        error = future.exception()
        with self._lock:
            look.future, look.progress = None, ("", 0, 0)
            if isinstance(error, UnwantedError):
                return
            look.finished = time.monotonic()
            look.found = None if error else future.result()
            look.problems = _problems_of(error) if error else ()

    def _forget_some(self) -> None:
        # A page may need many at once (the runs of a sweep): while it asks, none of them goes.
        finished = [(key, look) for key, look in self._looks.items() if look.future is None]
        unwanted = [key for key, look in finished if look.is_unwanted()]
        for key in unwanted[: max(0, len(self._looks) - NUM_KEPT)]:
            del self._looks[key]
        for key, _ in finished[: max(0, len(self._looks) - MOST_KEPT)]:
            self._looks.pop(key, None)


def _problems_of(error: BaseException) -> tuple[Problem, ...]:
    if isinstance(error, UserError):
        return error.problems
    if isinstance(error, OSError):
        return (Problem(str(error), hint="Check that it is there and may be read."),)
    if isinstance(error, MemoryError):
        return (Problem("There is not enough memory to look at this."),)
    # A fault of ours: where it can be seen, and a word about it in the page.
    traceback.print_exception(error, file=sys.stderr)
    hint = "The whole message stands in the window from which the page was started."
    return (Problem("Looking at this failed by a fault of this program.", hint=hint),)
