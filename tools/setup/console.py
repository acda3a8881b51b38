"""How set-up talks: plain lines, errors with a remedy, programs run by argument list."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

EXIT_OK = 0
EXIT_FAULT = 1
EXIT_USER = 2


class SetupError(Exception):
    """Set-up cannot go on: what is wrong, and what the user can do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True)
class Outcome:
    """What a program answered; `code` is None where it could not be run at all."""

    code: int | None
    stdout: str = ""
    stderr: str = ""

    @property
    def ok(self) -> bool:
        return self.code == 0


def speak_utf8() -> None:
    """Make printing safe for every letter, also on consoles with an old code page."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace", line_buffering=True)


def say(text: str) -> None:
    """Tell the user one line."""
    print(text, flush=True)


def complain(error: SetupError) -> None:
    """Tell the user what is wrong and the way out."""
    print(f"\nSet-up stopped: {error.message}", file=sys.stderr)
    print(f"What to do: {error.remedy}", file=sys.stderr, flush=True)


def ask(
    command: Sequence[str], timeout: float = 20, env: Mapping[str, str] | None = None
) -> Outcome:
    """Run a program that answers a question; never raises, never waits for input."""
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            env=None if env is None else dict(env),
            check=False,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Outcome(None, "", str(error))
    return Outcome(done.returncode, done.stdout, done.stderr)


def run(command: Sequence[str], env: Mapping[str, str] | None = None) -> int:
    """Run a program whose output the user sees; return its exit code."""
    return subprocess.run(
        list(command), env=None if env is None else dict(env), check=False
    ).returncode


def clean_environment(**more: str) -> dict[str, str]:
    """Return the environment for our own Python: nothing of the caller's Python leaks in."""
    foreign = {"PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__", "PIP_TARGET", "PIP_PREFIX"}
    env = {name: value for name, value in os.environ.items() if name not in foreign}
    return env | {"PYTHONUTF8": "1", "PYTHONNOUSERSITE": "1", "PIP_USER": "0"} | more
