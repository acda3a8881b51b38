"""Follow a run in a terminal: its log as it grows, or its events for programs."""

from __future__ import annotations

import json
import sys
import time
from typing import Final

from kohya_gui.jobs.log_tail import LogTail
from kohya_gui.jobs.store import RunStore, RunSummary
from kohya_gui.jobs.told import events_told, run_told
from sd_scripts.errors import EXIT_FAULT, EXIT_OK, EXIT_USER

LOOK_SECONDS: Final = 0.5


def follow(store: RunStore, run: RunSummary, *, as_json: bool) -> int:
    """Show a run until it is over; return its exit code. Ctrl-C leaves the run alone.

    In JSON, each event is a line, and the last line is the run's status.
    """
    shown = _Events(run) if as_json else _Log(run)
    try:
        while True:
            # The status first: what the run told before its end is then surely shown.
            now = store.summary(run.id)
            shown.show_new()
            if now is None:
                print(f"The run {run.id} was deleted.", file=sys.stderr)
                return EXIT_USER
            if not now.busy:
                return _ended(now, as_json=as_json)
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        print(
            f"\nThis only ended the view: {run.id} goes on.\n"
            f"To end it: python -m kohya_gui stop {run.id}",
            file=sys.stderr,
        )
        return EXIT_OK


def _ended(run: RunSummary, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(run_told(run), ensure_ascii=False), flush=True)
    else:
        print(f"— {run.status.state}: {run.status.detail}", flush=True)
        if run.status.hint:
            print(f"  {run.status.hint}", flush=True)
    return exit_code(run)


def exit_code(run: RunSummary) -> int:
    """Return what a run that is over ended with, in the exit codes of a job."""
    if run.status.state in ("finished", "stopped"):
        return EXIT_OK
    return EXIT_USER if run.status.problems else EXIT_FAULT


class _Log:
    """Prints the lines of a log as they come; a progress bar that is drawn anew when it changed."""

    def __init__(self, run: RunSummary) -> None:
        self._tail = LogTail(run.folder.log)
        self._last: str | None = None
        self._last_number = 0

    def show_new(self) -> None:
        self._tail.poll()
        view = self._tail.view()
        number = max(self._last_number, view.first_number)
        lines = view.lines[number - view.first_number :]
        if not lines:
            return
        if number == self._last_number and lines[0] == self._last:
            lines = lines[1:]
        for line in lines:
            print(line)
        self._last = view.lines[-1]
        self._last_number = view.first_number + len(view.lines) - 1
        sys.stdout.flush()


class _Events:
    """Prints events as they come, one a line."""

    def __init__(self, run: RunSummary) -> None:
        self._path = run.folder.events
        self._offset = 0

    def show_new(self) -> None:
        more = True
        while more:
            told = events_told(self._path, self._offset)
            for event in told["events"]:
                print(json.dumps(event, ensure_ascii=False))
            self._offset, more = told["offset"], told["more"] and told["offset"] > self._offset
        sys.stdout.flush()
