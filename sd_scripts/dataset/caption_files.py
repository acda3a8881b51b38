"""Finding and reading the text file beside a picture, in whatever encoding it was saved."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sd_scripts.dataset.faces import split_stem
from sd_scripts.dataset.pictures import reachable, shown

CAPTION_SUFFIXES: Final = (".txt", ".caption")
MAX_BYTES: Final = 1_000_000

# Bytes of Windows-1252 that stand for letters and signs of Western European texts. Other texts
# (Cyrillic, Japanese, …) saved in an old encoding hold other bytes too, or many in a row.
_WESTERN: Final = frozenset(
    b"\x80\x85\x8a\x8c\x8e\x91\x92\x93\x94\x95\x96\x97\x99\x9a\x9c\x9e\x9f"
) | {
    *b"\xa0\xa1\xa3\xa7\xa9\xab\xae\xb0\xb4\xb7\xbb\xbf",
    *(byte for byte in range(0xC0, 0x100) if byte not in b"\xd7\xf7"),
}
# Three high bytes in a row, a capital beside another letter, or a sign like ° right before a
# letter: rather parts of characters of two or more bytes.
_NOT_WESTERN: Final = re.compile(
    rb"[\x80-\xff]{3,}|[\xc0-\xde][\xc0-\xff]|[\xc0-\xff][\xc0-\xde]"
    rb"|[\xa3\xa7\xa9\xae\xb0\xb7\xbb][\xc0-\xff]"
)


class CaptionProblem(Exception):
    """A caption file that can't be used: which one, why, and what to do about it."""

    def __init__(self, path: Path, reason: str, hint: str) -> None:
        super().__init__(f"{shown(path)} {reason}")
        self.path = path
        self.reason = reason
        self.hint = hint


@dataclass(frozen=True, slots=True)
class CaptionText:
    """What a caption file says: its lines with text, stripped; `encoding` is a name for people."""

    lines: tuple[str, ...]
    encoding: str

    def caption(self, *, enable_wildcard: bool) -> str:
        """The first line with text, or all of them where a wildcard chooses among lines."""
        return "\n".join(self.lines if enable_wildcard else self.lines[:1])


def caption_names(stem: str, extension: str) -> Iterator[str]:
    """Names a picture's caption file may have, the first one that is there counts.

    Pictures cut out around faces, `name_<x>_<y>_<width>_<height>`, may share the caption of `name`.
    """
    yield stem + extension
    name, face = split_stem(stem)
    if face:
        yield name + extension


def read_caption(path: Path) -> CaptionText:
    """Read a caption file; UTF-8, UTF-16 with its mark, or Western European Windows-1252.

    Raises `CaptionProblem` where the file can't be read or its encoding can't be told for certain.
    """
    try:
        with open(reachable(path), "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = f"can't be opened ({error.strerror or error})"
        raise CaptionProblem(path, reason, "check the file and its permissions") from error
    text, encoding = decode_caption(path, data)
    lines = (line.strip() for line in text.splitlines())
    return CaptionText(tuple(line for line in lines if line), encoding)


def decode_caption(path: Path, data: bytes) -> tuple[str, str]:
    """Return the text of a caption file's bytes, and its encoding's name for people.

    Raises `CaptionProblem` for too many, and where the encoding can't be told for certain.
    """
    if len(data) > MAX_BYTES:
        raise CaptionProblem(
            path, "is larger than a megabyte", "a caption is a line of text; check the file"
        )
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return data.decode("utf-16"), "UTF-16"
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if _is_western(data):
            return data.decode("cp1252"), "Windows-1252"
        raise _not_utf8(path) from error
    if "\0" in text:
        raise _not_utf8(path)
    return text, "UTF-8"


def _not_utf8(path: Path) -> CaptionProblem:
    return CaptionProblem(
        path, "is not UTF-8 text", "open it in a text editor and save it with encoding UTF-8"
    )


def _is_western(data: bytes) -> bool:
    """Whether the bytes are certainly enough Windows-1252: few, single, and all of them letters."""
    high = [byte for byte in data if byte >= 0x80]
    return (
        b"\0" not in data
        and all(byte in _WESTERN for byte in high)
        and not _NOT_WESTERN.search(data)
        and len(high) * 3 <= len(data)
    )
