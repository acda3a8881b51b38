"""What programs are told of runs and of the queue: plain data, the same by REST and by `--json`."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from kohya_gui.jobs.queue import QueueContent
from kohya_gui.jobs.store import RunSummary
from sd_scripts.errors import Problem
from sd_scripts.runs.control import is_requested
from sd_scripts.runs.events import SampleEvent, read_events
from sd_scripts.runs.folder import RunFolder

MAX_EVENT_BYTES: Final = 1024 * 1024
"""So much of the events is told at once; a reader goes on from the offset it is given."""
MAX_FILES: Final = 5000
_REQUESTS: Final = ("stop", "save", "sample", "pause")

# Numbers that JSON cannot say are told as JSON's null.
Plain = dict[str, Any]


def problem_told(problem: Problem) -> Plain:
    """Return a problem: its message, option, hint and severity."""
    return dataclasses.asdict(problem)


def problems_told(problems: Iterable[Problem]) -> list[Plain]:
    """Return problems in their order."""
    return [problem_told(problem) for problem in problems]


def run_told(summary: RunSummary) -> Plain:
    """Return one run: who it is and how it stands. Times are Unix seconds."""
    status = dataclasses.asdict(summary.status)
    status["problems"] = problems_told(summary.status.problems)
    status["resume_from"] = str(status["resume_from"]) if status["resume_from"] else None
    told = {
        "run": summary.id,
        "name": summary.name,
        "job": summary.job,
        "created": summary.created,
        "folder": str(summary.folder.path),
        "device": summary.device,
        "parent": summary.parent,
        "active": summary.status.active,
        "busy": summary.busy,
        "fraction": summary.status.fraction,
        **status,
    }
    return {name: finite(value) for name, value in told.items()}


def status_told(summary: RunSummary) -> Plain:
    """Return one run with the requests that wait for it."""
    asked = [name for name in _REQUESTS if is_requested(summary.folder, name)]
    return {**run_told(summary), "asked": asked}


def queue_told(content: QueueContent) -> Plain:
    """Return the jobs that wait, next first, and whether the queue is paused."""
    jobs = [
        {
            "id": job.id,
            "name": job.request.name,
            "job": job.request.job_name,
            "position": position,
            "queued": job.queued,
            "device": job.request.device,
            "problem": job.problem,
        }
        for position, job in enumerate(content.jobs, 1)
    ]
    return {"paused": content.paused, "jobs": jobs}


def events_told(path: Path, offset: int, limit: int = MAX_EVENT_BYTES) -> Plain:
    """Return whole events from byte `offset` on, and the offset to go on from.

    A file that is shorter than `offset` is read from its start, and so is told. A line that is no
    JSON object (after a power cut) is passed over. Raises `OSError`.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = offset if 0 <= offset <= size else 0
            file.seek(start)
            block = file.read(limit)
    except FileNotFoundError:
        return {"events": [], "offset": 0, "more": False}
    end = block.rfind(b"\n") + 1
    if end == 0 and len(block) == limit:
        end = limit  # a single line above the limit is no event: step over it
    lines = block[:end].split(b"\n")
    events = [event for line in lines if (event := _object(line)) is not None]
    return {"events": events, "offset": start + end, "more": start + len(block) < size}


def _object(line: bytes) -> Plain | None:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return finite(data) if isinstance(data, dict) else None


def finite(value: Any) -> Any:
    """Return plain data without the numbers that JSON has no word for."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def samples_told(run: RunFolder) -> list[Plain]:
    """Return the preview pictures; `file` is the path below the run folder, None if elsewhere."""
    told: list[Plain] = []
    offset = 0
    while True:
        events, after = read_events(run.events, offset)
        told += [_sample(run, event) for event in events if isinstance(event, SampleEvent)]
        if after <= offset:
            return told
        offset = after


def _sample(run: RunFolder, event: SampleEvent) -> Plain:
    path = Path(event.path)
    inside = path.is_relative_to(run.path) and ".." not in path.parts and path.is_file()
    return {
        "file": path.relative_to(run.path).as_posix() if inside else None,
        "prompt": event.prompt,
        "seed": event.seed,
        "step": event.step,
        "index": event.index,
    }


def files_told(run: RunFolder) -> Plain:
    """Return the files of a run, by their path below its folder; links are left out."""
    found: list[Plain] = []
    for place, folders, names in os.walk(run.path, followlinks=False):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            try:
                stat = path.lstat()
            except OSError:
                continue  # written or removed meanwhile
            if path.is_symlink() or not _can_be_sent(name):
                continue
            if len(found) == MAX_FILES:
                return {"files": found, "complete": False}
            file = path.relative_to(run.path).as_posix()
            found.append({"file": file, "bytes": stat.st_size, "modified": stat.st_mtime})
    return {"files": found, "complete": True}


def _can_be_sent(name: str) -> bool:
    """Tell whether a name is proper Unicode."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def file_of_run(run: RunFolder, name: str) -> Path | None:
    """Return a file of a run by its path below the run folder, or None.

    Nothing outside is reached: the real path, with all links followed, has to be inside.
    """
    if "\x00" in name or "\\" in name or ":" in name:
        return None
    try:
        root = run.path.resolve(strict=True)
        real = (root / name).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return None
    return real if real.is_relative_to(root) and real.is_file() else None
