"""The caption files of one data set as they are now: read when they changed, written with care."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kohya_gui.datasets.history import EditHistory
from kohya_gui.datasets.metadata import CaptionPlace, EntryPlace
from sd_scripts.dataset.caption_edit_file import CaptionFile
from sd_scripts.dataset.caption_files import MAX_BYTES, CaptionProblem
from sd_scripts.dataset.metadata_edit import Field, MetadataText
from sd_scripts.dataset.metadata_files import MetadataProblem
from sd_scripts.dataset.pictures import shown
from sd_scripts.runs.undo import Content, UndoReport

_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Caption:
    """A caption as it stands: its text (None where it can't be read, with the `problem`), and its
    mark.

    `target` is the file it is in, itself where `path` is a link; None for a link out of the data
    set, which is neither read nor written.
    """

    path: CaptionPlace
    text: CaptionFile | None
    mark: str
    target: Path | None
    problem: str = ""

    @property
    def captions(self) -> tuple[str, ...]:
        """The captions in it."""
        return self.text.captions if self.text is not None else ()


@dataclass
class Written:
    """What became of files that were to be written: reasons by path; `changed` by others since."""

    num_written: int = 0
    changed: list[CaptionPlace] = field(default_factory=list)
    failed: dict[CaptionPlace, str] = field(default_factory=dict)


class CaptionBook:
    """Reads and writes the captions of the data set in `folder`; safe to use from many threads."""

    def __init__(self, folder: Path, history: EditHistory) -> None:
        self._folder = folder
        self._history = history
        self._known: dict[CaptionPlace, tuple[_Stamp | None, Caption]] = {}
        self._metadata: dict[Path, tuple[_Stamp | None, MetadataText]] = {}
        self._lock = threading.RLock()

    def read(self, path: CaptionPlace) -> Caption:
        """Return a caption as it is now; a file that is not there has no captions."""
        stamp = _stamp(path.file if isinstance(path, EntryPlace) else path)
        with self._lock:
            known = self._known.get(path)
            if known is not None and known[0] == stamp:
                return known[1]
        caption = self._read(path)
        with self._lock:
            self._known[path] = stamp, caption
        return caption

    def write(
        self,
        title: str,
        files: Mapping[CaptionPlace, CaptionFile],
        marks: Mapping[CaptionPlace, str],
    ) -> Written:
        """Write files as one step that can be undone, but none that somebody changed meanwhile.

        `marks` are the marks of what the new texts were made from. Raises `OSError` when what was
        there can't be kept; then nothing was written.
        """
        with self._lock:
            result, data = Written(), {}
            origin: dict[Path, list[CaptionPlace]] = {}
            entries: dict[Path, dict[str, dict[Field, str]]] = {}
            for path, text in files.items():
                now = self._read(path)
                if now.target is None or now.text is None:
                    result.failed[path] = now.problem
                elif now.mark != marks.get(path):
                    result.changed.append(path)
                elif isinstance(path, EntryPlace):
                    entry = entries.setdefault(now.target, {}).setdefault(path.key, {})
                    entry[path.field] = "".join(text.pieces).rstrip("\r\n")
                    origin.setdefault(now.target, []).append(path)
                else:
                    try:
                        data[now.target] = text.encode(path)
                        origin[now.target] = [path]
                    except CaptionProblem as problem:
                        result.failed[path] = f"{problem.reason}; {problem.hint}"
            for target, wanted in entries.items():
                data[target] = self._metadata_text(target).with_texts(wanted)
            failed = self._history.write(title, data) if data else {}
            for target, error in failed.items():
                result.failed |= dict.fromkeys(origin[target], error.strerror or str(error))
            result.num_written = sum(len(origin[one]) for one in data if one not in failed)
            for path in files:
                self._known.pop(path, None)
            return result

    def undo(self) -> tuple[str, UndoReport] | None:
        """Take the last step back; return its name and what became of it. Raises `OSError`."""
        return self._turn(back=True)

    def redo(self) -> tuple[str, UndoReport] | None:
        """Do the last step again that was taken back. Raises `OSError`."""
        return self._turn(back=False)

    def steps(self) -> dict[str, str | int | None]:
        """Return the names of what undo and redo would do, and how many steps can be undone."""
        with self._lock:
            last, following, count = self._history.next_steps()
        return {
            "undo": last.title if last else None,
            "redo": following.title if following else None,
            "count": count,
        }

    def kept(self) -> tuple[int, int]:
        """Return how many steps are kept for undo and redo, and their bytes. Raises `OSError`."""
        with self._lock:
            return self._history.size()

    def forget_steps(self) -> None:
        """Throw away what is kept for undo and redo; no caption changes. Raises `OSError`."""
        with self._lock:
            self._history.clear()

    def _turn(self, *, back: bool) -> tuple[str, UndoReport] | None:
        with self._lock:
            turned = self._history.undo() if back else self._history.redo()
            self._known.clear()
            self._metadata.clear()
            return None if turned is None else (turned[0].title, turned[1])

    def _read(self, path: CaptionPlace) -> Caption:
        if isinstance(path, EntryPlace):
            return self._read_entry(path)
        target = self._target(path)
        if target is None:
            return Caption(path, None, "", None, "is a link to a file outside")
        try:
            if (stamp := _stamp(target)) is not None and stamp[1] > MAX_BYTES:
                return Caption(path, None, "", target, "is larger than a megabyte")
            content = Content.at(target)
            return Caption(path, CaptionFile.parse(path, content.data), content.mark, target)
        except CaptionProblem as problem:
            reason = f"{problem.reason}; {problem.hint}"
            return Caption(path, None, content.mark, target, reason)
        except OSError as error:
            return Caption(path, None, "", target, f"can't be opened ({error.strerror or error})")

    def _read_entry(self, place: EntryPlace) -> Caption:
        target = self._target(place.file)
        if target is None:
            return Caption(place, None, "", None, "is a link to a file outside")
        try:
            entry = self._metadata_text(target).texts.get(place.key) if place.there else None
        except MetadataProblem as problem:
            return Caption(place, None, "", target, f"{problem.message}; {problem.hint}")
        except OSError as error:
            reason = f"can't be opened ({error.strerror or error})"
            return Caption(place, None, "", target, reason)
        if entry is None:
            reason = f"{shown(place.file.name)} does not name this picture"
            return Caption(place, None, "", target, reason)
        text = entry[place.field]
        return Caption(
            place,
            CaptionFile(tuple(text.splitlines(keepends=True))),
            Content("file", text.encode("utf-8", "surrogatepass")).mark,
            target,
        )

    def _metadata_text(self, file: Path) -> MetadataText:
        """A metadata file as it is now. Raises `MetadataProblem`, `OSError`."""
        stamp = _stamp(file)
        with self._lock:
            known = self._metadata.get(file)
            if known is not None and known[0] == stamp:
                return known[1]
            text = MetadataText(file, file.read_bytes())
            self._metadata[file] = stamp, text
            return text

    def _target(self, path: Path) -> Path | None:
        """The file that is written for `path`: where a link within the data set leads."""
        if not path.is_symlink():
            return path
        real = Path(os.path.realpath(path))
        return real if real.is_relative_to(self._folder) else None


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
