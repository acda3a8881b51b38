"""The trainer's output: kept in train.log too, and no reason to end when it cannot be written."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

from sd_scripts.runs.folder import RunFolder

_PASSING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE, errno.EFBIG})
"""Full or unplugged disk, closed terminal: lines are lost, the training is not."""


class CarefulStream(io.TextIOBase):
    """A text stream before one or two others. `num_lost` counts writes that a stream refused."""

    encoding: str = "utf-8"

    def __init__(self, stream: TextIO, copy: TextIO | None = None) -> None:
        super().__init__()
        self._streams = [stream] if copy is None else [stream, copy]
        self.encoding = stream.encoding
        self.num_lost = 0

    def writable(self) -> bool:
        """Always true."""
        return True

    def isatty(self) -> bool:
        """True when a person reads along."""
        return self._streams[0].isatty()

    def fileno(self) -> int:
        """The handle of the first stream."""
        return self._streams[0].fileno()

    def write(self, text: str) -> int:
        """Write to every stream; what a full disk refuses is counted."""
        for stream in self._streams:
            try:
                stream.write(text)
            except UnicodeEncodeError:
                # An old Windows console; the copy in the log has all letters.
                stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
            except OSError as error:
                self._count(error)
        return len(text)

    def flush(self) -> None:
        """Flush every stream."""
        for stream in self._streams:
            try:
                stream.flush()
            except OSError as error:
                self._count(error)

    def _count(self, error: OSError) -> None:
        if error.errno not in _PASSING:
            raise error
        self.num_lost += 1


def is_same_file(stream: TextIO, path: Path) -> bool:
    """Tell whether a stream writes to the file at `path` already."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except (OSError, ValueError, io.UnsupportedOperation):
        return False


def _close(stream: TextIO) -> None:
    """Close a stream; what a full disk leaves of its last lines is lost."""
    try:
        stream.close()
    except OSError as error:
        if error.errno not in _PASSING:
            raise


@contextlib.contextmanager
def output_to(run: RunFolder) -> Iterator[None]:
    """Within the block, standard output and error also go to `train.log` (unless a launcher has
    sent them there), and neither a full disk nor a closed terminal ends the program."""
    with contextlib.ExitStack() as stack:
        copy = None
        if not is_same_file(sys.stdout, run.log):
            copy = open(run.log, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 - closed below
            stack.callback(_close, copy)
        stack.enter_context(contextlib.redirect_stdout(CarefulStream(sys.stdout, copy)))
        stack.enter_context(contextlib.redirect_stderr(CarefulStream(sys.stderr, copy)))
        yield
