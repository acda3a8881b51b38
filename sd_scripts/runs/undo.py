"""What a run changed among the user's files, and putting it back.

Before a file is written, what it holds is noted in the run's `undo/changes.jsonl`. Undoing writes
it back, and notes in turn what it replaced (`undo/undone.jsonl`), so that it can be redone. A file
that somebody changed since is left as it is.

Run as `python -m sd_scripts.runs.undo RUN_FOLDER [--redo | --list | --clear]`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from sd_scripts.errors import EXIT_OK, EXIT_USER, UserError
from sd_scripts.files import write_atomic
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.status import derive_status

CHANGES: Final = "changes.jsonl"
UNDONE: Final = "undone.jsonl"

Kind = Literal["none", "file", "link"]


@dataclass(frozen=True)
class Content:
    """What is at a path: nothing, a file with its bytes, or a symbolic link with its target."""

    kind: Kind
    data: bytes = b""

    @classmethod
    def at(cls, path: Path) -> Content:
        """Read what is there now. Raises `OSError`."""
        if path.is_symlink():
            return cls("link", os.fsencode(os.readlink(path)))
        try:
            return cls("file", path.read_bytes())
        except FileNotFoundError:
            return cls("none")

    @property
    def mark(self) -> str:
        """A short text that differs for different contents."""
        return f"{self.kind}:{hashlib.blake2b(self.data, digest_size=16).hexdigest()}"

    def put(self, path: Path) -> None:
        """Make this what is at the path, in one step. Raises `OSError`."""
        if self.kind == "none":
            path.unlink(missing_ok=True)
        elif self.kind == "file":
            write_atomic(path, self.data)
        else:
            temporary = path.with_name(f".{secrets.token_hex(6)}.part")
            os.symlink(os.fsdecode(self.data), temporary)
            os.replace(temporary, path)


@dataclass(frozen=True)
class Change:
    """One file: what was there before the run, and the mark of what the run left there."""

    path: Path
    before: Content
    after: str


class UndoJournal:
    """Notes what files hold before they are written; for one writing thread."""

    def __init__(self, folder: Path, name: str = CHANGES) -> None:
        self._file = folder / name
        self._noted: set[Path] = set()
        self._renewed: set[Path] = set()

    def note(self, path: Path, after: Content) -> None:
        """Note what is at a path and what will be there; on the disk when this returns.

        Raises `OSError`; then nothing may be written there.
        """
        self._append([self._row(path, after)])

    def write(self, files: Mapping[Path, bytes]) -> dict[Path, OSError]:
        """Note and write files; returns those that could not be written, and why.

        Raises `OSError` when it cannot be noted.
        """
        failed = {}
        rows = {}
        for path, data in files.items():
            try:
                rows[path] = self._row(path, Content("file", data))
            except OSError as error:
                failed[path] = error
        self._append(list(rows.values()))
        for path in rows:
            try:
                # What was there is safe in the journal, so the disk need not be waited for.
                write_atomic(path, files[path], durable=False)
            except OSError as error:
                failed[path] = error
        return failed

    def renew(self, path: Path) -> None:
        """Take what is at a path now as what was there before: somebody else has changed it."""
        if path in self._noted:
            self._noted.discard(path)
            self._renewed.add(path)

    def _row(self, path: Path, after: Content) -> str:
        # Of a file that is written again and again, what the run itself wrote is no loss.
        before = None if path in self._noted else Content.at(path)
        self._noted.add(path)
        renewed = path in self._renewed
        self._renewed.discard(path)
        return _line(path.absolute(), before, after.mark, renewed=renewed)

    def _append(self, rows: Sequence[str]) -> None:
        if not rows:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with open(self._file, "ab") as file:
            file.write("".join(rows).encode("ascii"))
            file.flush()
            os.fsync(file.fileno())


def _line(path: Path, before: Content | None, after: str, *, renewed: bool) -> str:
    row: dict[str, str] = {"path": str(path), "after": after}
    if before is not None:
        row |= {"kind": before.kind, **_in_text(before.data)}
    if renewed:
        row["renewed"] = "yes"
    return json.dumps(row) + "\n"


def _in_text(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def _change(row: dict[str, str]) -> Change | None:
    """Read one row; None for a file's second and later rows, which say only what it became."""
    if "kind" not in row:
        return None
    data = row["text"].encode("utf-8") if "text" in row else base64.b64decode(row["base64"])
    kind: Kind = "file" if row["kind"] == "file" else "link" if row["kind"] == "link" else "none"
    return Change(Path(row["path"]), Content(kind, data), row["after"])


def read_changes(run: RunFolder, name: str = CHANGES) -> list[Change]:
    """Return each file's change over the whole run, in the order of its first write.

    A last line that was cut off by a power cut is passed over: nothing was written after it.
    Raises `OSError`.
    """
    return _read_journal(run.undo / name)


def _read_journal(file: Path) -> list[Change]:
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found: dict[Path, Change] = {}
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        path = Path(row["path"])
        change = _change(row)
        if path in found and "renewed" not in row:
            found[path] = Change(path, found[path].before, row["after"])
        elif change is not None:
            found[path] = change
    return list(found.values())


@dataclass
class UndoReport:
    """What became of each file: put back, as before already, changed by others since, refused."""

    restored: list[Path] = field(default_factory=list)
    unchanged: list[Path] = field(default_factory=list)
    changed_since: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The report in sentences."""
        told = [f"{_files(len(self.restored))} put back as before."]
        if self.unchanged:
            told.append(f"{_files(len(self.unchanged))} were as before already.")
        told += [
            f"Left alone, since it was changed afterwards: {path}" for path in self.changed_since
        ]
        told += [f"Could not be put back: {path} ({why})" for path, why in self.failed.items()]
        return "\n".join(told)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def undo(run: RunFolder) -> UndoReport:
    """Put back what the run changed. Raises `UserError` while it is at work, and `OSError`."""
    return _put_back(run, CHANGES, UNDONE)


def redo(run: RunFolder) -> UndoReport:
    """Take an undo back. Raises as `undo`."""
    return _put_back(run, UNDONE, CHANGES)


def clear(run: RunFolder) -> None:
    """Throw away what is kept: after this nothing can be put back. Raises as `undo`."""
    _refuse_running(run)
    for name in (CHANGES, UNDONE):
        (run.undo / name).unlink(missing_ok=True)


def _put_back(run: RunFolder, source: str, target: str) -> UndoReport:
    _refuse_running(run)
    return put_back(run.undo, source, target)


def put_back(folder: Path, source: str = CHANGES, target: str = UNDONE) -> UndoReport:
    """Put back what a folder's journal `source` says, and note in `target` what was there.

    Raises `OSError` when the journal can't be read.
    """
    report = UndoReport()
    journal = UndoJournal(folder, target)
    for change in _read_journal(folder / source):
        try:
            now = Content.at(change.path).mark
            if now == change.before.mark:
                report.unchanged.append(change.path)
            elif now != change.after:
                report.changed_since.append(change.path)
            else:
                journal.note(change.path, change.before)
                change.before.put(change.path)
                report.restored.append(change.path)
        except OSError as error:
            report.failed[change.path] = error.strerror or str(error)
    return report


def _refuse_running(run: RunFolder) -> None:
    if derive_status(run).active:
        raise UserError(
            f"The run {run.id} is still at work", hint="Wait for its end, or stop it first."
        )


def _listed(changes: Iterable[Change]) -> str:
    words = {"none": "new", "file": "changed", "link": "was a link"}
    return "".join(f"{words[change.before.kind]:<10} {change.path}\n" for change in changes)


def main(argv: Sequence[str]) -> int:
    """Be the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m sd_scripts.runs.undo",
        description="Puts back the files that a run changed, as they were before it.",
    )
    parser.add_argument("run", type=Path, help="folder of the run")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--redo", action="store_true", help="take an undo back")
    action.add_argument("--list", action="store_true", help="only say which files were changed")
    action.add_argument("--clear", action="store_true", help="forget what was there before")
    arguments = parser.parse_args(argv)
    run = RunFolder(arguments.run.absolute())
    try:
        if not run.undo.is_dir():
            raise UserError(f"{run.path} holds nothing to put back", hint="Give a run's folder.")
        if arguments.list:
            sys.stdout.write(_listed(read_changes(run)))
        elif arguments.clear:
            clear(run)
        else:
            report = redo(run) if arguments.redo else undo(run)
            print(report.text)
            return EXIT_USER if report.failed else EXIT_OK
    except UserError as error:
        print("\n".join(str(problem) for problem in error.problems), file=sys.stderr)
        return EXIT_USER
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
