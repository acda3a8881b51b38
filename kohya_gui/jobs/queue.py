"""Jobs that wait: on the disk, one at work per device, started once whoever looks first."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kohya_gui.jobs.lanes import Lanes
from kohya_gui.jobs.launch import JobRequest, start_request
from kohya_gui.jobs.lock import file_lock
from kohya_gui.jobs.stop import processes_of
from kohya_gui.jobs.store import RunStore, RunSummary
from kohya_gui.workspace import Workspace
from sd_scripts.errors import UserError
from sd_scripts.files import write_atomic
from sd_scripts.runs.folder import RunFolder

_FILE: Final = "queue.json"
_LOCK: Final = "queue.lock"


class QueuedJob(BaseModel):
    """A job that waits. `problem` says why it could not be started; it then waits for `retry`.

    `version` counts its changes, so that of two who change it the later one is told.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    queued: float
    request: JobRequest
    problem: str | None = None
    version: int = 0


class QueueContent(BaseModel):
    """The file: jobs in the order in which they start; while `paused`, none starts by itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = 1
    paused: bool = False
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

    def __init__(
        self,
        workspace: Workspace,
        store: RunStore | None = None,
        lanes: Callable[[], Lanes] = Lanes.here,
    ) -> None:
        self.workspace = workspace
        self.store = store or RunStore(workspace)
        self.lanes = lanes
        self.trouble: Exception | None = None
        """What kept the newest look from moving the queue on; pages tell it."""
        self._path = workspace.queue / _FILE
        self._lock_path = workspace.queue / _LOCK

    def items(self) -> list[QueuedJob]:
        """Return the jobs that wait, next first."""
        return list(self._read().jobs)

    def content(self) -> QueueContent:
        """Return the jobs that wait and whether the queue is paused, as of one moment."""
        return self._read()

    def find(self, job_id: str) -> QueuedJob | None:
        """Return a waiting job, or None."""
        return next((job for job in self._read().jobs if job.id == job_id), None)

    def submit(
        self, request: JobRequest, when_busy: Literal["queue", "refuse"] = "queue"
    ) -> Submitted | Queued | Refused:
        """Start the job if its device is free and nothing waits for it; else queue or refuse it.

        Jobs of a paused queue hold nobody up who starts one by hand. Raises `UserError` when it
        cannot be started (it is not kept then).
        """
        lanes = self.lanes()
        with file_lock(self._lock_path):
            content = self._read()
            runs = self.store.list()
            held, wanted = _held(lanes, runs), lanes.wanted(request)
            waiting = [job for job in content.jobs if job.problem is None]
            waiting = [job for job in waiting if not _was_started(job, runs)]
            for job in () if content.paused else waiting:
                held |= lanes.claimed(job.request, held)
            if (placed := lanes.place(request, held)) is not None:
                run = start_request(self.workspace, placed)
                return Submitted(run, f"“{request.name}” was started.")
            busy = [run for run in runs if run.busy and lanes.held(run.device) & wanted]
            before = [job for job in waiting if lanes.wanted(job.request) & wanted]
            reason = _busy_text(busy, len(before))
            if when_busy == "refuse":
                text = f"{reason} Stop it or wait for its end, then start again."
                return Refused(text, tuple(run.id for run in busy))
            job = _new_job(request)
            self._write(content, (*content.jobs, job))
            position = len(before) + 1
            place = "next" if position == 1 else f"number {position}"
            text = f"{reason} “{request.name}” is {place} in the queue and starts by itself."
            return Queued(job.id, position, text)

    def is_free(self, request: JobRequest) -> bool:
        """Tell whether a job could be started beside what is at work."""
        lanes = self.lanes()
        try:
            return lanes.place(request, _held(lanes, self.store.list())) is not None
        except UserError:
            return True  # what is wrong with it is told when it is started

    def add(self, requests: Sequence[JobRequest]) -> list[QueuedJob]:
        """Put jobs at the end of the queue, all or none; they start by themselves in their turn.

        Raises `UserError` for one that can never start here.
        """
        lanes = self.lanes()
        for request in requests:
            lanes.check(request)
        with file_lock(self._lock_path):
            content = self._read()
            new = [_new_job(request) for request in requests]
            self._write(content, (*content.jobs, *new))
            return new

    def advance(self) -> list[RunFolder]:
        """Start what can be started now, in order; return the runs that were started.

        Meant for a timer: without waiting jobs it reads one small file. A job that cannot be
        started is marked and passed over, so it does not hold the others up.
        """
        content = self._read()
        if not content.jobs or content.paused:
            return []
        lanes = self.lanes()
        with file_lock(self._lock_path):
            content = self._read()
            if content.paused:
                return []
            runs = self.store.list()
            held = _held(lanes, runs)
            started: list[RunFolder] = []
            left: list[QueuedJob] = []
            for place, job in enumerate(content.jobs):
                if _was_started(job, runs):
                    continue  # by a program that died before it could take it off the list
                begun = any(run.queue_id == job.id and run.busy for run in runs)
                if begun or job.problem is not None:
                    left.append(job)
                    continue
                try:
                    placed = lanes.place(job.request, held)
                    if placed is None:
                        held |= lanes.claimed(job.request, held)
                        left.append(job)
                        continue
                    started.append(start_request(self.workspace, placed, queue_id=job.id))
                    held |= lanes.held(placed.device)
                except UserError as error:
                    left.append(job.model_copy(update={"problem": str(error)}))
                # At once: a start that is not written down would be made twice.
                self._write(content, (*left, *content.jobs[place + 1 :]))
            if tuple(left) != self._read().jobs:
                self._write(content, tuple(left))
            return started

    def pause(self, paused: bool) -> None:
        """Let no job start by itself, or go on with it. What is at work goes on in both cases."""
        with file_lock(self._lock_path):
            content = self._read()
            self._write(content.model_copy(update={"paused": paused}), content.jobs)

    def remove(self, job_id: str) -> bool:
        """Take a waiting job off the list; False when it is not there (any more)."""

        def without(jobs: list[QueuedJob], at: int) -> list[QueuedJob]:
            return [*jobs[:at], *jobs[at + 1 :]]

        return self._change(job_id, without)

    def move(self, job_id: str, position: int) -> bool:
        """Put a waiting job at `position` (1 is next); False when it is not there (any more)."""

        def moved(jobs: list[QueuedJob], at: int) -> list[QueuedJob]:
            job = jobs.pop(at)
            jobs.insert(max(0, position - 1), job)
            return jobs

        return self._change(job_id, moved)

    def shift(self, job_id: str, places: int) -> bool:
        """Put a waiting job so many places later, or earlier if negative; False as `move`."""

        def shifted(jobs: list[QueuedJob], at: int) -> list[QueuedJob]:
            job = jobs.pop(at)
            jobs.insert(max(0, at + places), job)
            return jobs

        return self._change(job_id, shifted)

    def give(self, job_id: str, device: str) -> bool:
        """Let a waiting job run on a device ("" for any); False as `move`. Raises `UserError`."""
        lanes = self.lanes()
        device = lanes.device(device)

        def given(jobs: list[QueuedJob], at: int) -> list[QueuedJob]:
            request = jobs[at].request.model_copy(update={"device": device})
            lanes.check(request)
            jobs[at] = jobs[at].model_copy(update={"request": request, "problem": None})
            return jobs

        return self._change(job_id, given)

    def retry(self, job_id: str) -> bool:
        """Let a job that could not be started try again; False when it is not there."""

        def cleared(jobs: list[QueuedJob], at: int) -> list[QueuedJob]:
            jobs[at] = jobs[at].model_copy(update={"problem": None})
            return jobs

        return self._change(job_id, cleared)

    def replace(
        self, job_id: str, request: JobRequest, version: int
    ) -> Literal["saved", "gone", "changed"]:
        """Give a waiting job another content, in its place.

        `version` is the one that was looked at: if somebody has changed the job since, nothing is
        written ("changed"); nor if it was started or removed ("gone").
        """
        with file_lock(self._lock_path):
            content = self._read()
            jobs = list(content.jobs)
            at = next((n for n, job in enumerate(jobs) if job.id == job_id), None)
            if at is None or _was_started(jobs[at], self.store.list()):
                return "gone"
            if jobs[at].version != version:
                return "changed"
            new = {"request": request, "problem": None, "version": version + 1}
            jobs[at] = jobs[at].model_copy(update=new)
            self._write(content, tuple(jobs))
            return "saved"

    def _change(
        self, job_id: str, change: Callable[[list[QueuedJob], int], list[QueuedJob]]
    ) -> bool:
        """Change the list by the place of one job; False when it is not there."""
        with file_lock(self._lock_path):
            content = self._read()
            jobs = list(content.jobs)
            at = next((n for n, job in enumerate(jobs) if job.id == job_id), None)
            if at is None:
                return False
            changed = tuple(change(jobs, at))
            if changed != content.jobs:
                self._write(content, changed)
            return True

    def _read(self) -> QueueContent:
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return QueueContent()
        try:
            return QueueContent.model_validate_json(text)
        except ValidationError as error:
            aside = self._path.with_name(f"queue.damaged-{time.strftime('%Y%m%d-%H%M%S')}.json")
            with contextlib.suppress(OSError):  # another window may have done it just now
                if self._path.read_bytes() == text:  # and a good one may be there by now
                    os.replace(self._path, aside)
            raise UserError(
                "The queue file was damaged, or made by a newer version of this program.",
                option="workspace",
                hint=f"The queue is empty now; what it held is in {aside}.",
            ) from error

    def _write(self, content: QueueContent, jobs: tuple[QueuedJob, ...]) -> None:
        data = content.model_copy(update={"jobs": jobs}).model_dump(mode="json")
        write_atomic(self._path, json.dumps(data, ensure_ascii=False, indent=1) + "\n")


def _new_job(request: JobRequest) -> QueuedJob:
    return QueuedJob(id=secrets.token_hex(8), queued=time.time(), request=request)


def _held(lanes: Lanes, runs: Sequence[RunSummary]) -> frozenset[str]:
    """Return the lanes that something is at work on."""
    return frozenset().union(*(lanes.held(run.device) for run in runs if run.busy))


def _was_started(job: QueuedJob, runs: list[RunSummary]) -> bool:
    """Tell whether a process was made from this queued job.

    A run folder alone is no proof: the program may have died before it made the process. While
    such a folder is young its run counts as at work, so the job waits, whatever card is free; then
    the processes themselves are asked, since the program may also have died right after.
    """
    made = [run for run in runs if run.queue_id == job.id]
    if any(run.status.pid is not None for run in made):
        return True
    return any(not run.busy and processes_of(run.folder) for run in made)


def _busy_text(busy: list[RunSummary], num_waiting: int) -> str:
    if busy:
        status = busy[0].status
        steps = f", step {status.step} of {status.total_steps}" if status.total_steps else ""
        return f"“{busy[0].name}” is still at work ({status.state}{steps})."
    jobs = "job is" if num_waiting == 1 else "jobs are"
    return f"{num_waiting} {jobs} waiting before this one."
