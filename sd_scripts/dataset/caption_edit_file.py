"""A caption file that is edited: its captions change, everything else about its bytes stays.

Blank lines, the ends of lines, the encoding and the mark at its beginning are kept; a file whose
captions are not changed keeps every byte. Lines are those of `caption_files.read_caption`.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sd_scripts.dataset.caption_files import MAX_BYTES, CaptionProblem, decode_caption

_MARKS: Final = (
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
_DROPPED: Final = dict.fromkeys((0, 0xFEFF))  # what would make the file another kind of file


def clean_caption(text: str) -> str:
    """Return text as one caption: a single line without blanks around it, proper Unicode."""
    printable = text.encode("utf-8", "replace").decode("utf-8").translate(_DROPPED)
    return " ".join(line.strip() for line in printable.splitlines() if line.strip())


def clean_captions(texts: Sequence[str]) -> tuple[str, ...]:
    """Return texts as captions, without the empty ones."""
    return tuple(caption for caption in map(clean_caption, texts) if caption)


@dataclass(frozen=True)
class CaptionFile:
    """The text of a caption file as `pieces`: lines with their ends, as they stand in the file.

    `encoding` is Python's name for it; `mark` the bytes before the text.
    """

    pieces: tuple[str, ...] = ()
    encoding: str = "utf-8"
    mark: bytes = b""

    @classmethod
    def parse(cls, path: Path, data: bytes) -> CaptionFile:
        """Take a file's bytes apart. Raises `CaptionProblem` for what can't be read as text."""
        text, name = decode_caption(path, data)
        mark, encoding = next((pair for pair in _MARKS if data.startswith(pair[0])), (b"", "utf-8"))
        if name == "Windows-1252":
            encoding = "cp1252"
        return cls(tuple(text.splitlines(keepends=True)), encoding, mark)

    @property
    def captions(self) -> tuple[str, ...]:
        """The lines with text, without the blanks around them."""
        return tuple(piece.strip() for piece in self.pieces if piece.strip())

    def with_captions(self, captions: Sequence[str]) -> CaptionFile:
        """Return the file with other captions; lines whose caption stays are not touched."""
        wanted, present = clean_captions(captions), self.captions
        if wanted == present:
            return self
        lines = [number for number, piece in enumerate(self.pieces) if piece.strip()]
        if not lines:
            return self._joined([*wanted], ended=not self.pieces or self._is_ended)
        if len(wanted) == len(present):
            pieces = list(self.pieces)
            for number, old, new in zip(lines, present, wanted, strict=True):
                if old != new:
                    pieces[number] = new + _end(pieces[number])
            return replace(self, pieces=tuple(pieces))
        head = _num_same(present, wanted)
        rest = min(len(present), len(wanted)) - head
        tail = min(rest, _num_same(present[::-1], wanted[::-1]))
        gone = lines[head : len(lines) - tail]
        begin = gone[0] if gone else lines[head - 1] + 1 if head else lines[0]
        end = gone[-1] + 1 if gone else begin
        new_lines = wanted[head : len(wanted) - tail]
        middle = [*self.pieces[:begin], *new_lines, *self.pieces[end:]]
        return self._joined(middle, ended=self._is_ended)

    def encode(self, path: Path) -> bytes:
        """Return the file's bytes; in UTF-8 where its own encoding lacks a letter.

        Raises `CaptionProblem` when the file would be too large to be a caption.
        """
        text = "".join(self.pieces)
        data = self._try(path, text)
        if data is None:
            data = text.encode("utf-8")
        if len(data) > MAX_BYTES:
            raise CaptionProblem(path, "would be larger than a megabyte", "write less")
        return data

    def _try(self, path: Path, text: str) -> bytes | None:
        """The text in the file's own encoding, if it can be read again from that."""
        try:
            data = self.mark + text.encode(self.encoding)
            return data if decode_caption(path, data)[0] == text else None
        except (UnicodeEncodeError, CaptionProblem):
            return None

    @property
    def _is_ended(self) -> bool:
        return bool(self.pieces) and bool(_end(self.pieces[-1]))

    def _joined(self, lines: Sequence[str], *, ended: bool) -> CaptionFile:
        """The file with these lines; those without an end get one, except perhaps the last."""
        newline = next((_end(piece) for piece in self.pieces if _end(piece)), "\n")
        pieces = [line if _end(line) else line + newline for line in lines]
        if pieces and not ended:
            last = pieces[-1]
            pieces[-1] = last[: len(last) - len(_end(last))]
        return replace(self, pieces=tuple(pieces))


def _end(piece: str) -> str:
    """The characters that end a line."""
    return piece[len("".join(piece.splitlines())) :]


def _num_same(first: Sequence[str], second: Sequence[str]) -> int:
    """How many captions are the same at the beginning of both."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count
