"""The end of a log as a person sees it in a terminal: read by offset, progress bars folded."""

from __future__ import annotations

import codecs
import os
import re
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_LINES: Final = 2000
MAX_COLUMNS: Final = 1000
_RAW_COLUMNS: Final = 4 * MAX_COLUMNS
_BLOCK_BYTES: Final = 1024 * 1024
_FIRST_READ_BYTES: Final = 32 * 1024 * 1024

# ECMA-48 control sequences, operating-system commands, two-character escapes; cut ones too.
_ESCAPE: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*(?:[@-~]|$)|\][^\x07\x1b]*(?:\x07|\x1b\\|$)|[()][0-9A-Za-z]?|[ -~])?"
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")


class LineFolder:
    """Turns bytes, cut anywhere, into lines: the same lines wherever they were cut.

    A carriage return begins the line anew, so of a progress bar only the newest state stays.
    Colours and other escapes go, broken UTF-8 becomes U+FFFD, a line keeps `MAX_COLUMNS`
    characters. Memory is bounded whatever comes in.
    """

    def __init__(self, max_lines: int = MAX_LINES, max_columns: int = MAX_COLUMNS) -> None:
        self.num_finished = 0
        self._finished: deque[str] = deque(maxlen=max_lines)
        self._max_columns = max_columns
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._shown_before = ""
        self._segment = ""
        self._segment_length = 0

    @property
    def lines(self) -> list[str]:
        """The newest finished lines, and the unfinished one if it shows anything."""
        open_line = self._open_line()
        return [*self._finished, open_line] if open_line else list(self._finished)

    @property
    def num_dropped(self) -> int:
        """How many finished lines came before the first one that is kept."""
        return self.num_finished - len(self._finished)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        first, *rest = self._decoder.decode(data).split("\n")
        self._append(first)
        if not rest:
            return
        self._finish()
        *whole, last = rest
        kept = self._finished.maxlen or 0
        passed = max(0, len(whole) - kept)
        self.num_finished += passed
        for line in whole[passed:]:
            self._append(line)
            self._finish()
        self._append(last)

    def _append(self, text: str) -> None:
        *returned, last = text.split("\r")
        if returned:
            self._extend(returned[0])
            # Only the newest segment that shows something matters: look for it from the end.
            for place in range(len(returned) - 1, -1, -1):
                if place > 0:
                    shown = self._render(returned[place][:_RAW_COLUMNS], len(returned[place]))
                else:
                    shown = self._render(self._segment, self._segment_length)
                if shown:
                    self._shown_before = shown
                    break
            self._segment, self._segment_length = "", 0
        self._extend(last)

    def _extend(self, text: str) -> None:
        self._segment += text[: max(0, _RAW_COLUMNS - len(self._segment))]
        self._segment_length += len(text)

    def _open_line(self) -> str:
        return self._render(self._segment, self._segment_length) or self._shown_before

    def _finish(self) -> None:
        self._finished.append(self._open_line())
        self.num_finished += 1
        self._shown_before, self._segment, self._segment_length = "", "", 0

    def _render(self, raw: str, length: int) -> str:
        text = _CONTROL.sub("", _ESCAPE.sub("", raw)).rstrip()
        if len(text) > self._max_columns or length > _RAW_COLUMNS:
            return f"{text[: self._max_columns]} … (a line of {length} characters)"
        return text


@dataclass(frozen=True)
class LogView:
    """What to show. `first_number` is the number of the first line, counted from 0, the unfinished
    last line included; `skipped_bytes` were passed over at the start of a huge file."""

    lines: tuple[str, ...]
    first_number: int
    skipped_bytes: int = 0

    @property
    def note(self) -> str:
        """A sentence on what is not shown; empty when all is."""
        if self.skipped_bytes:
            return f"The first {self.skipped_bytes / 1e6:.0f} MB of the log are not shown."
        if self.first_number:
            return f"{self.first_number:,} earlier lines are not shown."
        return ""

    @property
    def text(self) -> str:
        """All lines in one text."""
        return "\n".join(self.lines)


class LogTail:
    """Follows one log file; each `poll` reads only what is new. Several threads may use it."""

    def __init__(self, path: Path, max_lines: int = MAX_LINES) -> None:
        self._path = path
        self._max_lines = max_lines
        self._lock = threading.Lock()
        self._folder = LineFolder(max_lines)
        self._offset = 0
        self._skipped = 0
        self._file_id: tuple[int, int] | None = None

    def poll(self) -> bool:
        """Read what is new; True when there was anything. A file that is not there is empty.

        A file that became shorter, or is another one, is read from its start. Raises `OSError`
        when it is there and cannot be read.
        """
        with self._lock:
            try:
                with open(self._path, "rb") as file:
                    return self._read(file.fileno())
            except FileNotFoundError:
                return False

    def _read(self, handle: int) -> bool:
        stat = os.fstat(handle)
        file_id = (stat.st_dev, stat.st_ino)
        if self._file_id not in (None, file_id) or stat.st_size < self._offset:
            self._folder = LineFolder(self._max_lines)
            self._offset = self._skipped = 0
        self._file_id = file_id
        if self._offset == 0 and stat.st_size > _FIRST_READ_BYTES:
            self._offset = self._skipped = stat.st_size - _FIRST_READ_BYTES
        if stat.st_size == self._offset:
            return False
        os.lseek(handle, self._offset, os.SEEK_SET)
        # No further than the size seen first: a log that grows all the time must not hold us.
        while self._offset < stat.st_size:
            block = os.read(handle, min(_BLOCK_BYTES, stat.st_size - self._offset))
            if not block:
                break
            self._folder.feed(block)
            self._offset += len(block)
        return True

    def view(self) -> LogView:
        """Return what is there to show now."""
        with self._lock:
            return LogView(tuple(self._folder.lines), self._folder.num_dropped, self._skipped)
