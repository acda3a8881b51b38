"""What users ask of a running job: stop, save, sample, pause, by signals or request files."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from sd_scripts.runs.control import ControlBox
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.seat import Seat

_POLL_SECONDS: Final = 0.2
_SIGNALS: Final = ("SIGTERM", "SIGINT", "SIGBREAK")
_ECHO_SECONDS: Final = 1.0
"""A launcher of several processes passes on a Ctrl-C that the terminal has sent to all of them."""


class StopRequested(Exception):
    """Raised where work cannot simply return when a stop was asked for."""


class Requests:
    """Collects requests; the folder is looked at five times a second at most, or by `look`."""

    def __init__(self, run: RunFolder, reporter: Reporter, seat: Seat | None = None) -> None:
        """Where `seat` is not that of the leader nothing is ever asked for: that one decides."""
        self._box = ControlBox(run)
        self._reporter = reporter
        self._heeds = seat is None or seat.leads
        self._echo_seconds = _ECHO_SECONDS if seat is not None and seat.size > 1 else 0.0
        self._stop = False
        self._signalled = False
        self._signal_time = 0.0
        self._seen: set[str] = set()
        self._polled = float("-inf")
        self._waiting: frozenset[str] = frozenset()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Turn the first SIGTERM or Ctrl-C into a stop request; a second Ctrl-C interrupts."""
        before = {}
        for name in _SIGNALS:
            if (number := getattr(signal, name, None)) is not None:
                before[number] = signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._heeds:
            return
        if not self._signalled:
            self._signalled, self._signal_time = True, now
        elif number == signal.SIGINT and now - self._signal_time >= self._echo_seconds:
            raise KeyboardInterrupt

    def look(self) -> None:
        """Look at the folder now, however short ago it was: what was asked before counts after."""
        self._polled = float("-inf")
        self._poll()

    def stop(self) -> bool:
        """Tell whether the job shall save and end; cheap enough for every small step of work."""
        self._poll()
        return self._stop

    def raise_if_stopped(self) -> None:
        """Raise `StopRequested` if the job shall end."""
        if self.stop():
            raise StopRequested

    def due(self, name: str) -> bool:
        """Tell whether `save` or `sample` was asked for; tell `done` afterwards."""
        self._poll()
        return name in self._waiting

    def done(self, name: str) -> None:
        """Acknowledge that a request was obeyed, and forget it."""
        if not self._heeds:
            return
        self._box.clear(name)
        self._seen.discard(name)
        self._waiting -= {name}
        self._reporter.control(name, done=True)

    def wait_while_paused(self) -> bool:
        """Sleep while `pause` is asked for (a stop ends it); tells whether it slept."""
        if not self.due("pause"):
            return False
        self._reporter.phase("paused", 0, 0, "remove the request to go on")
        while self.due("pause") and not self._stop:
            time.sleep(_POLL_SECONDS)
        self._seen.discard("pause")
        self._reporter.control("pause", done=True)
        return True

    def _poll(self) -> None:
        if not self._heeds:
            return
        now = time.monotonic()
        if self._signalled and not self._stop:
            self._accept_stop()
        if now - self._polled < _POLL_SECONDS:
            return
        self._polled = now
        self._waiting = self._box.poll()
        for name in self._waiting - self._seen - {"stop"}:
            self._seen.add(name)
            self._reporter.control(name)
        if "stop" in self._waiting and not self._stop:
            self._accept_stop()

    def _accept_stop(self) -> None:
        self._stop = True
        self._reporter.control("stop")
        self._reporter.say("Stopping: what is done so far is saved first")

    def acknowledge_stop(self) -> None:
        """Tell that a stop was obeyed; its file stays until `clear`, after the run's last event."""
        if self._stop:
            self._reporter.control("stop", done=True)

    def clear(self) -> None:
        """Remove every request: the run is over."""
        if not self._heeds:
            return
        for name in self._box.poll():
            self._box.clear(name)
