"""Requests to a running trainer: a file per request, made by anyone, removed by the trainer."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from sd_scripts.runs.folder import RunFolder

REQUESTS: Final = ("stop", "save", "sample", "pause")
"""`stop`: save and end; `save`, `sample`: once, after this step; `pause`: wait while there."""

KILL_MARK: Final = "kill"
"""Left by whoever ends the process tree by force, so that the run is not taken for a crash."""


def _path(run: RunFolder, name: str) -> Path:
    assert name in (*REQUESTS, KILL_MARK), f"unknown request {name!r}"
    return run.control / name


def request(run: RunFolder, name: str) -> None:
    """Ask the trainer of `run` for `name`, one of `REQUESTS`; asking twice is asking once.

    Works before the trainer is up: it looks as soon as it can. Raises `OSError`; a run that was
    deleted meanwhile does not come back.
    """
    path = _path(run, name)
    run.control.mkdir(exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        handle = os.open(path, flags, 0o644)
    except FileExistsError:
        return
    try:
        os.write(handle, f"{time.time():.3f}\n".encode("ascii"))
    finally:
        os.close(handle)


def withdraw(run: RunFolder, name: str) -> None:
    """Take a request back (ends a `pause`); nothing happens when it is not there."""
    _path(run, name).unlink(missing_ok=True)


def is_requested(run: RunFolder, name: str) -> bool:
    """Tell whether a request is waiting or being obeyed."""
    return _path(run, name).exists()


class ControlBox:
    """The trainer's side: look for requests, and clear them when they are done."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run

    def poll(self) -> frozenset[str]:
        """Return the requests that are waiting; cheap enough for every step.

        A folder that cannot be read has no requests: a hiccup of a network drive ends no run.
        """
        try:
            names = os.listdir(self._run.control)
        except OSError:
            return frozenset()
        return frozenset(name for name in names if name in REQUESTS)

    def clear(self, name: str) -> None:
        """Remove a request that was obeyed. Leave `stop` until the `end` event is written."""
        withdraw(self._run, name)
