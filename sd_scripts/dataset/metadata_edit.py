"""A metadata file that is edited: single texts change, every other byte of the file stays."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

from sd_scripts.dataset.metadata_files import MetadataProblem, read_metadata_text

Field = Literal["caption", "tags"]
FIELDS: Final[tuple[Field, ...]] = ("caption", "tags")
"""The texts of an entry, in the order in which trainers join them."""
MAX_BYTES: Final = 64 * 1024 * 1024
"""Larger files are not edited: each change keeps a copy of what the file was."""

_DECODER: Final = json.JSONDecoder()
_BLANKS: Final = re.compile(r"[ \t\r\n]*")


class MetadataText:
    """A metadata file as text. `texts` are those of each entry that can be read, by its key."""

    def __init__(self, path: Path, data: bytes) -> None:
        """Take a file's bytes apart. Raises `MetadataProblem` if it is no metadata file."""
        self._path = path
        self._marked = data.startswith(codecs.BOM_UTF8)
        try:
            self._text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise MetadataProblem(f"{path.name} is not UTF-8 text", "save it as UTF-8") from error
        entries, _ = read_metadata_text(path, self._text)
        self.texts: Mapping[str, Mapping[Field, str]] = {
            # A picture that is named twice has the words of the first line, as when training.
            entry.key: {"caption": entry.caption, "tags": entry.tags}
            for entry in reversed(entries)
        }

    def with_texts(self, wanted: Mapping[str, Mapping[Field, str]]) -> bytes:
        """Return the file's bytes with other texts; all keys must be among `texts`.

        Letters beyond ASCII are written as the file does it: as they are, or as \\u codes.
        """
        ascii_only = self._text.isascii() and "\\u" in self._text
        entries = self._entries()
        pieces: list[tuple[int, int, str]] = []
        for key, fields in wanted.items():
            start = entries[key]
            members = _members(self._text, start)
            added = ""
            for field, text in fields.items():
                written = json.dumps(text, ensure_ascii=ascii_only)
                if field in members:
                    pieces.append((*members[field], written))
                else:
                    comma = ", " if members or added else ""
                    added = f'"{field}": {written}{comma}{added}'
            if added:
                pieces.append((start + 1, start + 1, added))
        return self._joined(pieces)

    def _joined(self, pieces: list[tuple[int, int, str]]) -> bytes:
        parts, place = [], 0
        for start, end, written in sorted(pieces):
            parts += [self._text[place:start], written]
            place = end
        text = "".join([*parts, self._text[place:]])
        return (codecs.BOM_UTF8 if self._marked else b"") + text.encode("utf-8")

    def _entries(self) -> dict[str, int]:
        """Where the object of each entry begins."""
        if self._path.suffix.lower() != ".jsonl":
            spans = _members(self._text, _skipped(self._text, 0))
            return {key: start for key, (start, _) in spans.items()}
        found: dict[str, int] = {}
        for start, line in _lines(self._text):
            if line.strip():
                begin = _skipped(self._text, start)
                entry, _ = _DECODER.raw_decode(self._text, begin)
                key = entry.get("image_path") if isinstance(entry, dict) else None
                if isinstance(key, str):
                    found.setdefault(key, begin)
        return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    place = 0
    for line in text.splitlines(keepends=True):
        yield place, line
        place += len(line)


def _members(text: str, start: int) -> dict[str, tuple[int, int]]:
    """Where the values of the object that begins at `start` begin and end, by their names.

    The text was read as JSON before, so what is expected is there. Of a name that comes twice the
    last counts, as in `json`.
    """
    found: dict[str, tuple[int, int]] = {}
    place = _skipped(text, start + 1)
    while text[place] != "}":
        name, place = _DECODER.raw_decode(text, place)
        begin = _skipped(text, _skipped(text, place) + 1)
        _, end = _DECODER.raw_decode(text, begin)
        found[name] = (begin, end)
        place = _skipped(text, end)
        if text[place] == ",":
            place = _skipped(text, place + 1)
    return found


def _skipped(text: str, place: int) -> int:
    """The place of the first letter from `place` on that is no blank."""
    match = _BLANKS.match(text, place)
    assert match is not None, "an empty match is one too"
    return match.end()
