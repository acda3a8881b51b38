"""Where texts go: a caption file beside each picture, or one metadata file for all of them."""

from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from sd_scripts.captioning.pictures import Picture
from sd_scripts.dataset.caption_files import CaptionProblem, read_caption
from sd_scripts.dataset.pictures import shown
from sd_scripts.errors import Problem, UserError
from sd_scripts.files import nearest_folder
from sd_scripts.runs.undo import UndoJournal

Merge = Callable[[str, str], str]
"""Joins the text that is there with a new one."""


@dataclass(frozen=True, slots=True)
class Result:
    """The text found for a picture, and the picture's size (width, height) as seen."""

    picture: Picture
    text: str
    size: tuple[int, int]


class Store(ABC):
    """Keeps texts. `write` is called from one thread; what cannot be written is told by name."""

    @abstractmethod
    def has_text(self, picture: Picture) -> bool:
        """Whether the picture has a text already."""

    @abstractmethod
    def begin(self, pictures: Sequence[Picture]) -> None:
        """Note how things stand before the work: what somebody changes meanwhile is not lost."""

    @abstractmethod
    def write(self, results: Sequence[Result]) -> dict[Path, Problem]:
        """Keep some texts; returns what could not be kept, by picture, and why.

        Raises `OSError` when the disk is full.
        """

    @abstractmethod
    def close(self) -> None:
        """Write what is still to be written. Raises `OSError`."""


class CaptionFiles(Store):
    """A file beside each picture; `merge` joins what is there with what is new, if given."""

    def __init__(self, journal: UndoJournal, merge: Merge | None = None) -> None:
        self._journal = journal
        self._merge = merge
        self._seen: dict[Path, Stamp] = {}

    def has_text(self, picture: Picture) -> bool:
        """Whether there is a caption file that says something; one that can't be read does."""
        if not os.path.lexists(picture.caption):
            return False
        try:
            return bool(read_caption(picture.caption).lines)
        except CaptionProblem:
            return True

    def begin(self, pictures: Sequence[Picture]) -> None:
        """Look at the caption files as they are now."""
        self._seen = {one.caption: _stamp(one.caption) for one in pictures}

    def write(self, results: Sequence[Result]) -> dict[Path, Problem]:
        """Write caption files, each whole or not at all."""
        refused: dict[Path, Problem] = {}
        files = {}
        owners = {}
        for result in results:
            path = result.picture.caption
            owners[path] = result.picture.path
            if self._merge is None and self._seen.get(path, _stamp(path)) != _stamp(path):
                refused[result.picture.path] = _changed_meanwhile(path)
                continue
            try:
                text = self._joined(result)
            except CaptionProblem as problem:
                refused[result.picture.path] = Problem(
                    f"{problem}; it is left as it is", "caption_extension", problem.hint
                )
            else:
                files[path] = f"{text}\n".encode()
        for path, error in self._journal.write(files).items():
            if not path.parent.is_dir() or not _is_of_the_file(error):
                raise error
            refused[owners[path]] = _not_written(path, error)
        return refused

    def _joined(self, result: Result) -> str:
        path = result.picture.caption
        if self._merge is None or not path.exists():
            return result.text
        lines = read_caption(path).lines
        return self._merge("\n".join(lines), result.text) if lines else result.text

    def close(self) -> None:
        """Nothing waits."""


Stamp = tuple[int, int, int] | None


def _stamp(path: Path) -> Stamp:
    """Return what changes whenever a file does; None while there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _changed_meanwhile(path: Path) -> Problem:
    return Problem(
        f"{shown(path)} was changed while this job was at work; it is left as it is",
        "caption_extension",
        "Run the job again if it should be written all the same.",
    )


def _is_of_the_file(error: OSError) -> bool:
    """Whether an error is about one file (its rights, its name) rather than the disk."""
    return isinstance(error, PermissionError | IsADirectoryError | FileNotFoundError)


def _not_written(path: Path, error: OSError) -> Problem:
    return Problem(
        f"{shown(path)} can't be written ({error.strerror or error})",
        "caption_extension",
        "Check the rights of the file and of its folder.",
    )


_SAVE_EVERY_SECONDS: Final = 60.0
TextKind = Literal["tags", "caption"]


@dataclass
class MetadataFile(Store):
    """One .json or .jsonl file in the layout that fine-tuning reads.

    JSON: {path: {"tags" or "caption": text, "image_size": [width, height]}}. JSONL: a line for
    each picture, with its path under "image_path". Paths are absolute. Entries of other pictures
    and other keys of an entry stay, those too that somebody writes during the work.
    """

    path: Path
    kind: TextKind
    journal: UndoJournal
    merge: Merge | None = None
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    _waiting: dict[str, Result] = field(default_factory=dict)
    _known: Stamp = None
    _saved_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._known = _stamp(self.path)
        self.entries = read_metadata(self.path)

    def begin(self, pictures: Sequence[Picture]) -> None:
        """Nothing to note: the file is looked at when it is read, and before each writing."""

    def has_text(self, picture: Picture) -> bool:
        """Whether the picture's entry says something."""
        return bool(str(self.entries.get(str(picture.path), {}).get(self.kind) or "").strip())

    def write(self, results: Sequence[Result]) -> dict[Path, Problem]:
        """Keep texts in memory; once a minute and at the end they are written."""
        self._waiting |= {str(result.picture.path): result for result in results}
        if time.monotonic() - self._saved_at > _SAVE_EVERY_SECONDS:
            self.save()
        return {}

    def save(self) -> None:
        """Write the file if something is new. Raises `OSError`, and `UserError` when somebody made
        something else of the file meanwhile."""
        if not self._waiting:
            return
        if _stamp(self.path) != self._known:
            self.entries = read_metadata(self.path)
            self.journal.renew(self.path)
        for result in self._waiting.values():
            self._put(result)
        failed = self.journal.write({self.path: self._bytes()})
        for error in failed.values():
            raise error
        self._known = _stamp(self.path)
        self._waiting.clear()
        self._saved_at = time.monotonic()

    def _put(self, result: Result) -> None:
        entry = self.entries.setdefault(str(result.picture.path), {})
        there = str(entry.get(self.kind) or "")
        merge = self.merge if there.strip() else None
        entry[self.kind] = merge(there, result.text) if merge else result.text
        entry["image_size"] = list(result.size)

    def _bytes(self) -> bytes:
        if self.path.suffix.lower() == ".jsonl":
            rows = ({"image_path": path, **entry} for path, entry in self.entries.items())
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            text = json.dumps(self.entries, ensure_ascii=False, indent=4) + "\n"
        return text.encode("utf-8", "surrogateescape")

    def close(self) -> None:
        """Write what is new."""
        self.save()


def read_metadata(path: Path) -> dict[str, dict[str, Any]]:
    """Read a metadata file: entries by path; empty if there is none. Raises `UserError`."""
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        if path.suffix.lower() == ".jsonl":
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
            return {row["image_path"]: _without(row, "image_path") for row in rows}
        entries = json.loads(text) if text.strip() else {}
        if not all(isinstance(entry, dict) for entry in entries.values()):
            raise TypeError("not every entry is an object")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(
            f"{shown(path)} cannot be read: {error.strerror or error}",
            option="output_path",
            hint="Choose another file.",
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{shown(path)} is there, but it is no metadata file: {error}",
            option="output_path",
            hint="Choose another name: the file is not overwritten.",
        ) from error
    return dict(entries)


def _without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


_MAX_TOLD: Final = 3


def folder_problems(folders: Sequence[Path], option: str) -> list[Problem]:
    """Tell folders that cannot be written to."""
    closed = [path for path in folders if not os.access(nearest_folder(path), os.W_OK)]
    more = f" (and {len(closed) - _MAX_TOLD} more)" if len(closed) > _MAX_TOLD else ""
    if not closed:
        return []
    names = ", ".join(shown(path) for path in closed[:_MAX_TOLD])
    return [
        Problem(
            f"Nothing can be written to {names}{more}",
            option,
            "Change the rights of the folder, or write one file elsewhere with output_path.",
        )
    ]


def merge_tags(separator: str) -> Merge:
    """Return what adds new tags behind those of the first line, each once; other lines stay."""
    split_at = separator.strip() or separator

    def merge(there: str, new: str) -> str:
        first, *rest = there.split("\n")
        tags = [tag.strip() for tag in first.split(split_at) if tag.strip()]
        added = [tag.strip() for tag in new.split(split_at)]
        tags += [tag for tag in dict.fromkeys(added) if tag and tag not in tags]
        return "\n".join([separator.join(tags), *rest])

    return merge


def merge_lines(there: str, new: str) -> str:
    """Add a caption as a further line, unless it is there already."""
    lines = there.split("\n")
    return there if new in lines else "\n".join([*lines, new])
