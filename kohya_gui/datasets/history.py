"""Undo and redo of edits to caption files: every step keeps what was there, on the disk.

A step is a folder with a journal as runs have one (`sd_scripts.runs.undo`). A file that somebody
else changed since is left as it is, in both directions.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sd_scripts.files import write_atomic
from sd_scripts.runs.undo import CHANGES, UNDONE, UndoJournal, UndoReport, put_back


@dataclass(frozen=True)
class Step:
    """One edit: what it is called, when it was made (Unix seconds), how many files it is of."""

    folder: Path
    title: str
    time: float
    num_files: int


class EditHistory:
    """The steps of one data set, in the folder `path`; for one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, title: str, files: Mapping[Path, bytes]) -> dict[Path, OSError]:
        """Write files as a new step; return those that could not be written, and why.

        Steps that were undone are gone after it. The step counts before the first file is touched,
        so that one that is cut off can be undone too. Raises `OSError` when nothing can be kept;
        then nothing was written.
        """
        done, undone = self._split()
        for step in undone:
            shutil.rmtree(step.folder)
        number = int(done[-1].folder.name) + 1 if done else 1
        folder = self._path / f"{number:06d}"
        folder.mkdir(parents=True)
        facts = {"title": title, "time": time.time(), "files": len(files)}
        try:
            write_atomic(folder / "step.json", json.dumps(facts) + "\n")
            self._set_position(number)
            failed = UndoJournal(folder).write(files)
        except OSError:  # nothing could be noted, so nothing was written
            shutil.rmtree(folder)
            raise
        if len(failed) == len(files):
            shutil.rmtree(folder)  # it was the last step, so the position may stay where it is
        return failed

    def undo(self) -> tuple[Step, UndoReport] | None:
        """Take the last step back; None when there is none. Raises `OSError`.

        Where a file could not be put back the step stays the last one: it can be tried again.
        """
        done, _ = self._split()
        if not done:
            return None
        report = put_back(done[-1].folder, CHANGES, UNDONE)
        if not report.failed:
            self._set_position(int(done[-1].folder.name) - 1)
        return done[-1], report

    def redo(self) -> tuple[Step, UndoReport] | None:
        """Do the step again that was taken back last; None when there is none. Raises `OSError`."""
        _, undone = self._split()
        if not undone:
            return None
        report = put_back(undone[0].folder, UNDONE, CHANGES)
        if not report.failed:
            self._set_position(int(undone[0].folder.name))
        return undone[0], report

    def next_steps(self) -> tuple[Step | None, Step | None, int]:
        """Return the steps that undo and redo would take, and how many can be undone."""
        done, undone = self._split()
        return (done[-1] if done else None), (undone[0] if undone else None), len(done)

    def size(self) -> tuple[int, int]:
        """Return how many steps are kept, undone ones too, and how many bytes they take."""
        steps = self._steps()
        return len(steps), sum(_size(step.folder) for step in steps)

    def clear(self) -> None:
        """Forget every step: after this nothing can be put back. Raises `OSError`."""
        steps = self._steps()
        if steps:
            self._set_position(0)  # what a clearing that is cut off leaves counts as undone
        for step in reversed(steps):
            shutil.rmtree(step.folder)

    def _split(self) -> tuple[list[Step], list[Step]]:
        position = self._position()
        steps = self._steps()
        done = [step for step in steps if int(step.folder.name) <= position]
        return done, steps[len(done) :]

    def _steps(self) -> list[Step]:
        try:
            folders = sorted(one for one in self._path.iterdir() if one.name.isdecimal())
        except FileNotFoundError:
            return []
        return [_step(folder) for folder in folders]

    def _position(self) -> int:
        """The number of the last step that counts; all of them if that was never written."""
        try:
            return int((self._path / "position").read_text("ascii"))
        except FileNotFoundError:
            return 0
        except ValueError:
            steps = self._steps()
            return int(steps[-1].folder.name) if steps else 0

    def _set_position(self, number: int) -> None:
        write_atomic(self._path / "position", f"{number}\n")


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _step(folder: Path) -> Step:
    """Read what is known of a step; one that was cut off by a power cut has no name."""
    try:
        data = json.loads((folder / "step.json").read_text("utf-8"))
        return Step(folder, str(data["title"]), float(data["time"]), int(data["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Step(folder, "", folder.stat().st_mtime, 0)
