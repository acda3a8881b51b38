"""What the run view shows: one look at a run's files, as plain data for the page's script."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from kohya_gui.failures import failure_row
from kohya_gui.jobs.continuing import FORK_OPTIONS
from kohya_gui.jobs.feed import RunFeed
from kohya_gui.jobs.launch import JOB_PAGES
from kohya_gui.jobs.log_tail import LogTail
from kohya_gui.jobs.remedies import diagnose
from kohya_gui.jobs.series import Chart, Curve
from kohya_gui.jobs.store import RunStore, RunSummary
from kohya_gui.locales import Texts
from kohya_gui.locales.speaking import told
from kohya_gui.reasons import reason, told_row
from kohya_gui.thumbnails import Thumbnails
from sd_scripts.errors import Problem
from sd_scripts.runs.control import is_requested
from sd_scripts.runs.events import SampleEvent, SaveEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import read_record

CHART_POINTS: Final = 400
NUM_KEPT: Final = 12
"""So many runs are followed at once; the one that was not looked at for longest is let go."""
_THUMBNAILS_PER_LOOK: Final = 8
_UNREAD: Final = "unread"

_T = TypeVar("_T")


class _Kept(OrderedDict[str, _T]):
    """The things that were asked for last, by name."""

    def get_or_make(self, name: str, make: Callable[[], _T]) -> _T:
        if name not in self:
            self[name] = make()
        self.move_to_end(name)
        while len(self) > NUM_KEPT:
            self.popitem(last=False)
        return self[name]


@dataclass(frozen=True)
class Look:
    """What a page already has: the stamp of its last look, and the log line it goes on from."""

    run_id: str
    stamp: str
    log_from: int

    @classmethod
    def from_request(cls, request: object) -> Look:
        """Read what the script sent; anything unfit counts as nothing."""
        data = request if isinstance(request, Mapping) else {}
        number = data.get("log_from")
        return cls(
            run_id=str(data.get("run") or ""),
            stamp=str(data.get("stamp") or ""),
            log_from=number if isinstance(number, int) and number >= 0 else 0,
        )


class RunViews:
    """Looks at runs for any number of pages: files are read on from where the last look ended."""

    def __init__(self, store: RunStore, thumbnails: Path, text: Texts) -> None:
        self._store = store
        self._thumbnails = Thumbnails(thumbnails)
        self._text = text
        self._lock = threading.Lock()
        self._feeds: _Kept[RunFeed] = _Kept()
        self._logs: _Kept[LogTail] = _Kept()

    def look(self, request: object) -> dict[str, Any]:
        """Return how a run stands, and what changed since the look with that stamp.

        `{"missing": True}` when there is no such run.
        """
        look = Look.from_request(request)
        summary = self._store.summary(look.run_id)
        if summary is None:
            return {"missing": True, "run": look.run_id}
        run = summary.folder
        feed = self.feed(run)
        with self._lock:
            log = self._logs.get_or_make(run.id, lambda: LogTail(run.log))
        answer = self._status(summary)
        stamp = _stamp(run)
        try:
            log.poll()
            if stamp != look.stamp:
                feed.poll()
        except OSError as error:  # what was read before is shown; the next look tries again
            answer["unreadable"] = self._text("run.unreadable", reason=reason(error))
            stamp = _UNREAD
        answer["log"] = self._log(log, look.log_from)
        answer["stamp"] = stamp
        if stamp != look.stamp:
            answer["data"] = self._data(run, feed)
        return answer

    def feed(self, run: RunFolder) -> RunFeed:
        """Return the feed of a run, which goes on where its last look ended."""
        with self._lock:
            return self._feeds.get_or_make(run.id, lambda: RunFeed(run.events))

    def _status(self, summary: RunSummary) -> dict[str, Any]:
        status, run, state = summary.status, summary.folder, summary.status.resume_from
        record = read_record(run)
        asked = [name for name in ("stop", "save", "sample", "pause") if is_requested(run, name)]
        return {
            "run": run.id,
            "name": summary.name,
            "state": status.state,
            "state_text": self._text(f"state.{status.state}"),
            "detail": told(status.detail),
            "hint": told(status.hint),
            "problems": [_problem(problem) for problem in status.problems],
            "active": status.active,
            "alive": status.alive,
            "paused": status.paused,
            "step": status.step,
            "total_steps": status.total_steps,
            "epoch": status.epoch,
            "num_epochs": status.num_epochs,
            "fraction": status.fraction,
            "loss": status.loss,
            "seconds_per_step": status.seconds_per_step,
            "eta_seconds": status.eta_seconds,
            "started": status.started,
            "ended": status.ended,
            "family": status.family,
            "asked": asked,
            "resume_from": str(state) if state is not None and state.is_dir() else None,
            "folder": str(run.path),
            "log_file": str(run.log),
            "argv": list(record.argv) if record else [],
            "page": JOB_PAGES.get(record.job) if record else None,
            "forks": bool(record and record.job in FORK_OPTIONS),
            "failure": failure_row(summary, found, self._text)
            if (found := diagnose(summary)) is not None
            else None,
            "doctor": "setup.bat doctor" if sys.platform == "win32" else "./setup.sh doctor",
        }

    def _data(self, run: RunFolder, feed: RunFeed) -> dict[str, Any]:
        chart = feed.chart(CHART_POINTS)
        budget = _THUMBNAILS_PER_LOOK
        samples = []
        for sample in feed.samples:
            row, made = self.sample_row(run, sample, make=budget > 0)
            budget -= made
            samples.append(row)
        start, phase = feed.start, feed.phase
        return {
            "chart": _chart(chart),
            "samples": samples,
            "more_thumbnails": budget <= 0,
            "saves": [_save(run, save) for save in feed.saves],
            "warnings": [
                {**told_row(Problem(w.text, None, w.hint), "text"), "option": w.option}
                for w in feed.warnings
            ],
            "phase": None
            if phase is None
            else {"text": told(phase.text or phase.name), "done": phase.done, "total": phase.total},
            "num_images": start.num_images if start else None,
            "trainable_parameters": start.trainable_parameters if start else None,
            "output_dir": (start.output_dir if start else "") or str(run.output),
        }

    def sample_row(
        self, run: RunFolder, sample: SampleEvent, *, make: bool
    ) -> tuple[dict[str, Any], int]:
        """Return a sample for the page, and whether a small copy had to be made (1 or 0)."""
        path = _inside(run, sample.path)
        small, made = None, 0
        if path is not None:
            small = self._thumbnails.find(path)
            if small is None and make:
                small, made = self._thumbnails.make(path), 1
        row = {
            "file": str(path) if path else None,
            "small": str(small) if small else None,
            "prompt": sample.prompt,
            "seed": sample.seed,
            "step": sample.step,
            "index": sample.index,
        }
        return row, made

    @staticmethod
    def _log(log: LogTail, log_from: int) -> dict[str, Any]:
        view = log.view()
        begin = max(log_from, view.first_number)
        lines = view.lines[begin - view.first_number :]
        if not lines and view.lines and log_from > view.first_number + len(view.lines):
            # The page knows more lines than there are: the log was replaced.
            begin, lines = view.first_number, view.lines
        return {
            "first": view.first_number,
            "from": begin,
            "lines": list(lines),
            "note": view.note,
        }


def run_row(summary: RunSummary, text: Texts) -> dict[str, Any]:
    """Return a row of the list of runs for the page's script."""
    status = summary.status
    return {
        "id": summary.id,
        "name": summary.name,
        "state": status.state,
        "state_text": text(f"state.{status.state}"),
        "detail": told(status.detail),
        "active": status.active,
        "busy": summary.busy,
        "created": summary.created,
        "step": status.step,
        "total_steps": status.total_steps,
        "fraction": status.progress,
        "phase_done": status.phase_done,
        "phase_total": status.phase_total,
        "eta_seconds": status.eta_seconds,
        "loss": status.loss,
        "family": status.family,
        "job": text.optional(f"job_name.{summary.job}", summary.job),
        "note": summary.note.note[:200],
        "tags": list(summary.note.tags),
    }


def _problem(problem: Problem) -> dict[str, str | None]:
    return {**told_row(problem), "option": problem.option, "severity": problem.severity}


def _stamp(run: RunFolder) -> str:
    """Return what changes whenever the events do."""
    try:
        stat = run.events.stat()
    except OSError:
        return "none"
    return f"{stat.st_ino}.{stat.st_size}.{stat.st_mtime_ns}"


def curve_row(curve: Curve) -> dict[str, list[Any]]:
    """Return a curve for the page's chart."""
    return {"x": list(curve.steps), "y": [float(f"{value:.6g}") for value in curve.values]}


def _chart(chart: Chart) -> dict[str, Any]:
    return {
        "loss": curve_row(chart.loss),
        "smoothed": curve_row(chart.smoothed),
        "validation": curve_row(chart.validation),
        "rates": {name: curve_row(curve) for name, curve in chart.rates.items()},
        "num_not_finite": chart.num_not_finite,
    }


def _save(run: RunFolder, save: SaveEvent) -> dict[str, Any]:
    path = run.path / save.path  # an absolute path stays what it is
    try:
        size = path.stat().st_size if path.is_file() else None
        there = path.exists()
    except OSError:
        size, there = None, False
    return {
        "file": str(path),
        "name": path.name,
        "step": save.step,
        "kind": save.kind,
        "bytes": size,
        "there": there,
        "servable": path.is_file() and _inside(run, str(path)) is not None,
    }


def _inside(run: RunFolder, path: str) -> Path | None:
    """Return the real path of a file of the run, or None: nothing else is served."""
    try:
        real = (run.path / path).resolve()
        return real if real.is_relative_to(run.path.resolve()) and real.is_file() else None
    except (OSError, ValueError):
        return None
