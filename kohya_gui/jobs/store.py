"""All runs of a workspace: found on the disk each time, read again only where files changed."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kohya_gui.jobs.notes import NO_NOTE, RunNote, note_path, read_note
from kohya_gui.workspace import Workspace
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import TryPromptsJob
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import RunRecord, read_record
from sd_scripts.runs.status import RunStatus, derive_status

_Stamp = tuple[tuple[int, int], ...]
_RUN = RunFolder(Path())
_STAMPED: Final = tuple(
    path.name for path in (_RUN.run_json, _RUN.events, _RUN.config, note_path(_RUN))
)


@dataclass(frozen=True)
class RunSummary:
    """One row of the list of runs; `created` in Unix seconds."""

    folder: RunFolder
    name: str
    job: str
    created: float
    device: str
    status: RunStatus
    parent: str | None = None
    queue_id: str | None = None
    note: RunNote = NO_NOTE

    @property
    def id(self) -> str:
        """The name of the run's folder."""
        return self.folder.id

    @property
    def busy(self) -> bool:
        """True while the run uses its device: at work, or told its end and not gone yet."""
        return self.status.active or self.status.alive


# Named here, since inside the class `list` is a method.
_Runs = list[RunSummary]
_Names = list[str]


@dataclass(frozen=True)
class FolderSize:
    """What a folder takes: bytes and files, links counted as what they are."""

    num_bytes: int
    num_files: int


class RunStore:
    """Lists, finds and deletes the runs of one workspace; safe to use from several threads."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._runs = str(workspace.runs)
        self._lock = threading.Lock()
        self._known: dict[str, tuple[_Stamp, RunSummary]] = {}

    def list(self) -> _Runs:
        """Return all runs, newest first. Runs that are over are read once and remembered."""
        found = [summary for run_id in self._names() if (summary := self._summary(run_id))]
        with self._lock:
            for gone in self._known.keys() - {summary.id for summary in found}:
                del self._known[gone]
        return sorted(found, key=lambda summary: (summary.created, summary.id), reverse=True)

    def running(self) -> _Runs:
        """Return the runs that are at work, newest first.

        A process that keeps a model for trying prompts is none of them: it mostly waits.
        """
        return at_work(self.list())

    def get(self, run_id: str) -> RunFolder | None:
        """Return the run of that id, or None. An id is a plain folder name: no path gets through.

        A link in the place of a run folder is not followed.
        """
        plain = run_id and not run_id.startswith(".") and Path(run_id).name == run_id
        if not plain or any(mark in run_id for mark in ("/", "\\", ":", "\x00")):
            return None
        path = self.workspace.runs / run_id
        try:
            there = path.is_dir() and not path.is_symlink()
        except OSError:  # longer than any name on this disk
            return None
        return RunFolder(path) if there else None

    def summary(self, run_id: str) -> RunSummary | None:
        """Return the row of one run, or None."""
        run = self.get(run_id)
        return self._summary(run.id) if run else None

    def size(self, run_id: str) -> FolderSize:
        """Return what deleting the run would free. Raises `UserError` when there is no such run."""
        return folder_size(self._existing(run_id).path)

    def delete(self, run_id: str) -> FolderSize:
        """Delete a run's folder and all in it; return what that freed.

        It is renamed into the trash first, so that it is gone for everybody at once, and an
        interrupted delete is finished by `empty_trash`. Links are removed, never followed; files
        that the job wrote elsewhere (`output_dir`) stay. Raises `UserError` for a run at work,
        one that is not there, or files that cannot be removed.
        """
        run = self._existing(run_id)
        summary = self._summary(run_id)
        if summary is not None and summary.busy:
            raise UserError(
                f"The run {run_id} is still at work.", hint="Stop it first, then delete it."
            )
        size = folder_size(run.path)
        try:
            self.workspace.trash.mkdir(parents=True, exist_ok=True)
            away = self.workspace.trash / f"{run_id[:80]}.{secrets.token_hex(6)}"
            os.rename(run.path, away)
            shutil.rmtree(away)
        except OSError as error:
            raise UserError(
                f"The run {run_id} could not be deleted: {error}",
                hint="Close programs that have its files open, and check the folder's rights.",
            ) from error
        return size

    def empty_trash(self) -> None:
        """Finish deletions that were interrupted; what still cannot go is tried next time."""
        if self.workspace.trash.is_dir() and not self.workspace.trash.is_symlink():
            shutil.rmtree(self.workspace.trash, ignore_errors=True)

    def _existing(self, run_id: str) -> RunFolder:
        run = self.get(run_id)
        if run is None:
            raise UserError(f"There is no run {run_id!r}.", hint="Reload the list of runs.")
        return run

    def _names(self) -> _Names:
        try:
            with os.scandir(self.workspace.runs) as entries:
                return [
                    entry.name
                    for entry in entries
                    if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
                ]
        except FileNotFoundError:
            return []

    def _summary(self, run_id: str) -> RunSummary | None:
        stamp = _stamp(os.path.join(self._runs, run_id))
        if all(part == (0, 0) for part in stamp[:3]):
            return None  # some other folder that was put here
        with self._lock:
            known = self._known.get(run_id)
        if known is not None and known[0] == stamp:
            return known[1]
        run = RunFolder(self.workspace.runs / run_id)
        record = read_record(run)
        summary = _summarise(run, record, derive_status(run, record))
        if not summary.busy:
            with self._lock:
                self._known[run.id] = (stamp, summary)
        return summary


def at_work(runs: Iterable[RunSummary]) -> list[RunSummary]:
    """Return those that are at work, as `RunStore.running` does."""
    return [run for run in runs if run.status.active and run.job != TryPromptsJob.name]


def _stamp(folder: str) -> _Stamp:
    """Return what changes whenever the row of a run that is over could change.

    Of plain texts: for a thousand runs, making paths takes four times as long as asking the disk.
    """
    parts = []
    for name in _STAMPED:
        try:
            stat = os.stat(os.path.join(folder, name))
            parts.append((stat.st_mtime_ns, stat.st_size))
        except OSError:
            parts.append((0, 0))
    return tuple(parts)


def _summarise(run: RunFolder, record: RunRecord | None, status: RunStatus) -> RunSummary:
    created = record.started if record else 0.0
    if not created:
        try:
            created = run.path.stat().st_mtime
        except OSError:
            created = 0.0
    return RunSummary(
        folder=run,
        name=(record.name if record else "") or run.id,
        job=record.job if record else "",
        created=created,
        device=record.device if record else "default",
        status=status,
        parent=record.parent if record else None,
        queue_id=record.queue_id if record else None,
        note=read_note(run),
    )


def folder_size(folder: Path) -> FolderSize:
    """Return what a folder takes; one that is not there takes nothing."""
    num_bytes = num_files = 0
    for place, _, names in os.walk(folder, followlinks=False):
        for name in names:
            try:
                num_bytes += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue  # written or removed meanwhile
            num_files += 1
    return FolderSize(num_bytes, num_files)
