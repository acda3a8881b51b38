"""What captioning pages show of runs: texts as they come, with small pictures, and undoing them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from kohya_gui.context import Context
from kohya_gui.jobs import stop
from kohya_gui.jobs.feed import RunFeed
from kohya_gui.locales.speaking import told
from kohya_gui.reasons import failure, first_problem, told_line, told_warnings
from kohya_gui.thumbnails import Thumbnails
from kohya_gui.waiting import leave_queue, look_queued, next_queued
from sd_scripts.errors import UserError
from sd_scripts.options.toml_file import read_toml
from sd_scripts.runs import undo
from sd_scripts.runs.events import CaptionEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import read_record

ROWS: Final = 48
_THUMBNAILS_PER_LOOK: Final = 12
_NUM_FEEDS: Final = 4


class CaptionResults:
    """The functions that the page's script calls; each takes one mapping, returns plain data."""

    def __init__(self, context: Context, job_name: str) -> None:
        self._context = context
        self._job_name = job_name
        self._thumbnails = Thumbnails(context.thumbnails)
        self._lock = threading.Lock()
        self._feeds: dict[str, RunFeed] = {}

    @property
    def functions(self) -> list[Callable[[object], Any]]:
        """What the script may call."""
        return [
            self.newest_run,
            self.next_queued,
            self.look_results,
            self.stop_run,
            self.change_back,
        ]

    def newest_run(self, _: object = None) -> str | None:
        """Return the run of this page's job that is at work, to look at it again."""
        for summary in self._context.store.running():
            record = read_record(summary.folder)
            if record is not None and record.job == self._job_name:
                return summary.id
        return None

    def next_queued(self, _: object = None) -> str | None:
        """Return the first job of this page that waits in the queue, to follow it."""
        return next_queued(self._context, self._job_name)

    def look_results(self, request: object = None) -> dict[str, Any]:
        """Return how a run stands and one page of its texts, the newest first.

        A job that is named by `queued` is looked up in the queue, see `look_queued`.
        """
        if queue_id := _given(request, "queued"):
            return look_queued(self._context, queue_id)
        run_id, page = _given(request, "run"), _number(request, "page")
        summary = self._context.store.summary(run_id)
        if summary is None:
            return {"missing": True}
        feed = self._feed(run_id, summary.folder)
        feed.poll()
        status, captions, phase = summary.status, feed.captions, feed.phase
        start = page * ROWS
        rows = captions[::-1][start : start + ROWS]
        budget = _THUMBNAILS_PER_LOOK
        shown = []
        for event in rows:
            row, made = self._row(event, make=budget > 0)
            budget -= made
            shown.append(row)
        return {
            "run": run_id,
            "name": summary.name,
            "state": status.state,
            "state_text": self._context.text(f"state.{status.state}"),
            "detail": told(status.detail),
            "hint": told(status.hint),
            "problems": [told_line(one) for one in status.problems],
            "active": status.active,
            "doing": told(phase.text or phase.name) if phase else "",
            "done": phase.done if phase else 0,
            "total": phase.total if phase else None,
            "count": len(captions),
            "pages": -(-len(captions) // ROWS),
            "rows": shown,
            "more_thumbnails": budget <= 0,
            **told_warnings(feed),
            "undo": None if status.active else _undo_state(summary.folder),
            "pictures": None if status.active else _pictures_of(summary.folder),
        }

    def _feed(self, run_id: str, run: RunFolder) -> RunFeed:
        with self._lock:
            if run_id not in self._feeds:
                while len(self._feeds) >= _NUM_FEEDS:
                    self._feeds.pop(next(iter(self._feeds)))
                self._feeds[run_id] = RunFeed(run.events)
            return self._feeds[run_id]

    def _row(self, event: CaptionEvent, *, make: bool) -> tuple[dict[str, Any], int]:
        path = Path(event.picture)
        small, made = self._thumbnails.find(path), 0
        if small is None and make:
            small, made = self._thumbnails.make(path), 1
        row = {
            "name": path.name,
            "folder": path.parent.name,
            "text": event.text,
            "kept": event.kept,
            "small": str(small) if small else None,
        }
        return row, made

    def stop_run(self, request: object = None) -> dict[str, Any]:
        """Ask a run to stop after the pictures it is at; take a `queued` job out of the queue."""
        if queue_id := _given(request, "queued"):
            leave_queue(self._context, queue_id)
            return {}
        run = self._context.store.get(_given(request, "run"))
        if run is None:
            return {"problem": self._context.text("run.unknown")}
        try:
            stop.stop(run)
        except OSError as error:
            return {"problem": failure(error)}
        return {}

    def change_back(self, request: object = None) -> dict[str, Any]:
        """Put back what a run changed ("undo"), take that back ("redo"), or let it go ("clear")."""
        run = self._context.store.get(_given(request, "run"))
        if run is None:
            return {"problem": self._context.text("run.unknown")}
        try:
            match _given(request, "what"):
                case "undo":
                    return {"text": _told_lines(undo.undo(run).text)}
                case "redo":
                    return {"text": _told_lines(undo.redo(run).text)}
                case "clear":
                    undo.clear(run)
                    return {"text": self._context.text("captioning.cleared")}
        except UserError as error:
            return {"problem": told_line(first_problem(error))}
        except OSError as error:
            return {"problem": failure(error)}
        return {}


def _told_lines(text: str) -> str:
    return "\n".join(told(line) for line in text.splitlines())


def _pictures_of(run: RunFolder) -> str | None:
    """Return the folder whose pictures a run captioned; None where that cannot be read."""
    try:
        return str(read_toml(run.config.read_text("utf-8"))["train_data_dir"])
    except (OSError, UserError, KeyError):
        return None


def _undo_state(run: RunFolder) -> dict[str, Any] | None:
    """Return what can be put back or redone; None when nothing is kept."""
    times = {}
    for name in (undo.CHANGES, undo.UNDONE):
        try:
            times[name] = (run.undo / name).stat().st_mtime_ns
        except OSError:
            continue
    if not times:
        return None
    is_undone = times.get(undo.UNDONE, 0) > times.get(undo.CHANGES, 0)
    return {"what": "redo" if is_undone else "undo"}


def _given(request: object, name: str) -> str:
    return str(request.get(name) or "") if isinstance(request, Mapping) else ""


def _number(request: object, name: str) -> int:
    value = request.get(name) if isinstance(request, Mapping) else 0
    return value if isinstance(value, int) and value >= 0 else 0
