"""Jobs that wait: on the disk, one at work per device, started once whoever looks first."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kohya_gui.jobs.launch import JobRequest, start_request
from kohya_gui.jobs.lock import file_lock
from kohya_gui.jobs.store import RunStore, RunSummary
from kohya_gui.workspace import Workspace
from sd_scripts.errors import UserError
from sd_scripts.files import write_atomic
from sd_scripts.runs.folder import RunFolder

_FILE: Final = "queue.json"
_LOCK: Final = "queue.lock"


class QueuedJob(BaseModel):
    """A job that waits. `problem` says why it could not be started; it then waits for `retry`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    queued: float
    request: JobRequest
    problem: str | None = None


class _Content(BaseModel):
    """The file: jobs in the order in which they start."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = 1
    jobs: tuple[QueuedJob, ...] = Field(default=())


@dataclass(frozen=True)
class Submitted:
    """The job was started at once."""

    run: RunFolder
    text: str


@dataclass(frozen=True)
class Queued:
    """The job waits; `position` 1 is next."""

    id: str
    position: int
    text: str


@dataclass(frozen=True)
class Refused:
    """The job was neither started nor queued."""

    text: str
    running: tuple[str, ...]


class JobQueue:
    """The queue of one workspace. Any number of threads and programs may use it at once."""

    def __init__(self, workspace: Workspace, store: RunStore | None = None) -> None:
        self.workspace = workspace
        self.store = store or RunStore(workspace)
        self._path = workspace.queue / _FILE
        self._lock_path = workspace.queue / _LOCK

    def items(self) -> list[QueuedJob]:
        """Return the jobs that wait, next first."""
        return list(self._read())

    def submit(
        self, request: JobRequest, when_busy: Literal["queue", "refuse"] = "queue"
    ) -> Submitted | Queued | Refused:
        """Start the job if its device is free and nothing waits for it; else queue or refuse it.

        Raises `UserError` when it cannot be started (it is not kept then).
        """
        with file_lock(self._lock_path):
            jobs = self._read()
            runs = self.store.list()
            busy = [run for run in runs if run.busy and run.device == request.device]
            waiting = [job for job in jobs if _waits_for(job, request.device)]
            waiting = [job for job in waiting if not _was_started(job, runs)]
            if not busy and not waiting:
                run = start_request(self.workspace, request)
                return Submitted(run, f"“{request.name}” was started.")
            reason = _busy_text(busy, len(waiting))
            if when_busy == "refuse":
                text = f"{reason} Stop it or wait for its end, then start again."
                return Refused(text, tuple(run.id for run in busy))
            job = QueuedJob(id=secrets.token_hex(8), queued=time.time(), request=request)
            self._write((*jobs, job))
            position = len(waiting) + 1
            place = "next" if position == 1 else f"number {position}"
            text = f"{reason} “{request.name}” is {place} in the queue and starts by itself."
            return Queued(job.id, position, text)

    def advance(self) -> list[RunFolder]:
        """Start what can be started now, in order; return the runs that were started.

        Meant for a timer: without waiting jobs it reads one small file. A job that cannot be
        started is marked and passed over, so it does not hold the others up.
        """
        if not self._read():
            return []
        with file_lock(self._lock_path):
            runs = self.store.list()
            busy = {run.device for run in runs if run.busy}
            started: list[RunFolder] = []
            left: list[QueuedJob] = []
            jobs = self._read()
            for place, job in enumerate(jobs):
                device = job.request.device
                if _was_started(job, runs):
                    continue  # by a program that died before it could take it off the list
                if device in busy or job.problem is not None:
                    left.append(job)
                    continue
                try:
                    started.append(start_request(self.workspace, job.request, queue_id=job.id))
                    busy.add(device)
                except UserError as error:
                    left.append(job.model_copy(update={"problem": str(error)}))
                # At once: a start that is not written down would be made twice.
                self._write((*left, *jobs[place + 1 :]))
            if tuple(left) != self._read():
                self._write(tuple(left))
            return started

    def remove(self, job_id: str) -> bool:
        """Take a waiting job off the list; False when it is not there (any more)."""
        with file_lock(self._lock_path):
            jobs = self._read()
            left = tuple(job for job in jobs if job.id != job_id)
            if len(left) == len(jobs):
                return False
            self._write(left)
            return True

    def move(self, job_id: str, position: int) -> bool:
        """Put a waiting job at `position` (1 is next); False when it is not there (any more)."""
        with file_lock(self._lock_path):
            jobs = list(self._read())
            moved = next((job for job in jobs if job.id == job_id), None)
            if moved is None:
                return False
            jobs.remove(moved)
            jobs.insert(max(0, position - 1), moved)
            self._write(tuple(jobs))
            return True

    def retry(self, job_id: str) -> bool:
        """Let a job that could not be started try again; False when it is not there."""
        with file_lock(self._lock_path):
            jobs = self._read()
            if all(job.id != job_id for job in jobs):
                return False
            cleared = {"problem": None}
            self._write(
                tuple(job.model_copy(update=cleared) if job.id == job_id else job for job in jobs)
            )
            return True

    def _read(self) -> tuple[QueuedJob, ...]:
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return ()
        try:
            return _Content.model_validate_json(text).jobs
        except ValidationError as error:
            aside = self._path.with_name(f"queue.damaged-{time.strftime('%Y%m%d-%H%M%S')}.json")
            with contextlib.suppress(OSError):  # another window may have done it just now
                os.replace(self._path, aside)
            raise UserError(
                "The queue file was damaged, or made by a newer version of this program.",
                option="workspace",
                hint=f"The queue is empty now; what it held is in {aside}.",
            ) from error

    def _write(self, jobs: tuple[QueuedJob, ...]) -> None:
        content = _Content(jobs=jobs).model_dump(mode="json")
        write_atomic(self._path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _waits_for(job: QueuedJob, device: str) -> bool:
    return job.request.device == device and job.problem is None


def _was_started(job: QueuedJob, runs: list[RunSummary]) -> bool:
    """Tell whether a run with a process was made from this queued job."""
    return any(run.queue_id == job.id and (run.status.pid is not None or run.busy) for run in runs)


def _busy_text(busy: list[RunSummary], num_waiting: int) -> str:
    if busy:
        status = busy[0].status
        steps = f", step {status.step} of {status.total_steps}" if status.total_steps else ""
        return f"“{busy[0].name}” is still at work ({status.state}{steps})."
    jobs = "job is" if num_waiting == 1 else "jobs are"
    return f"{num_waiting} {jobs} waiting before this one."
