"""What a person wrote about a run: a note and tags, in a file of the run's folder."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from kohya_gui.jobs.lock import file_lock
from kohya_gui.workspace import Workspace
from sd_scripts.files import write_atomic
from sd_scripts.runs.folder import RunFolder

MAX_NOTE: Final = 10_000
MAX_TAG: Final = 40
MAX_TAGS: Final = 30


class RunNote(BaseModel):
    """The content of `note.json`. `version` counts the changes, so that two do not write over each
    other unseen."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = 1
    version: int = 0
    note: str = ""
    tags: tuple[str, ...] = ()


NO_NOTE: Final = RunNote()


@dataclass(frozen=True)
class Changed:
    """Nothing was written: somebody else changed the note meanwhile, to this."""

    now: RunNote


def note_path(run: RunFolder) -> Path:
    """Return where the note of a run lies."""
    return run.path / "note.json"


def read_note(run: RunFolder) -> RunNote:
    """Return the note of a run, an empty one where there is none or it cannot be understood."""
    try:
        return RunNote.model_validate_json(note_path(run).read_bytes())
    except (OSError, ValidationError):
        return NO_NOTE


def clean_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return tags without blanks and `#` around them, each once, cut to what is allowed."""
    found: dict[str, None] = {}
    for tag in tags:
        plain = " ".join(tag.split()).lstrip("#").strip(" ,")[:MAX_TAG]
        if plain and plain.casefold() not in {known.casefold() for known in found}:
            found[plain] = None
    return tuple(found)[:MAX_TAGS]


def write_note(
    workspace: Workspace, run: RunFolder, note: str, tags: Iterable[str], version: int
) -> RunNote | Changed:
    """Write the note of a run if it still is the version that was looked at.

    Raises `OSError` (a folder that is gone or may not be written), and `UserError` when another
    program keeps the lock.
    """
    with _lock(workspace):
        now = read_note(run)
        if now.version != version:
            return Changed(now)
        return _write(run, now, note[:MAX_NOTE], clean_tags(tags))


def begin_tags(run: RunFolder, tags: Iterable[str]) -> None:
    """Give a run its first tags, before anybody else knows of it. Raises `OSError`."""
    if clean := clean_tags(tags):
        _write(run, NO_NOTE, "", clean)


def change_tags(
    workspace: Workspace, run: RunFolder, add: Iterable[str] = (), remove: Iterable[str] = ()
) -> RunNote:
    """Add tags to a run and take others off, whatever else was written. Raises as `write_note`."""
    with _lock(workspace):
        now = read_note(run)
        gone = {tag.casefold() for tag in clean_tags(remove)}
        tags = clean_tags([*(tag for tag in now.tags if tag.casefold() not in gone), *add])
        return now if tags == now.tags else _write(run, now, now.note, tags)


def _lock(workspace: Workspace) -> contextlib.AbstractContextManager[None]:
    return file_lock(workspace.queue / "notes.lock")


def _write(run: RunFolder, before: RunNote, note: str, tags: tuple[str, ...]) -> RunNote:
    path = note_path(run)
    if before == NO_NOTE and path.exists():  # it could not be understood; nobody's words are lost
        os.replace(path, path.with_name(f"note.damaged-{time.strftime('%Y%m%d-%H%M%S')}.json"))
    new = before.model_copy(update={"note": note, "tags": tags, "version": before.version + 1})
    write_atomic(path, json.dumps(new.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n")
    return new
