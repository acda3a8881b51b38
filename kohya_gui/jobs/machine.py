"""What this machine has for training: a card with its memory, or processor and main memory."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import psutil

from sd_scripts.runs.machine import usable_cores

_TIMEOUT_SECONDS: Final = 5.0
_KNOWN_SECONDS: Final = 60
_FIELDS: Final = "name,memory.total,memory.free"

Kind = Literal["nvidia", "apple", "processor"]


@dataclass(frozen=True)
class Machine:
    """Where a training would run. Bytes; `free` is what it could have just now."""

    kind: Kind
    name: str
    memory: int
    free: int
    cores: int = 1

    @property
    def has_card(self) -> bool:
        """Whether a graphics card computes."""
        return self.kind != "processor"


def look_at_machine() -> Machine:
    """Return what a training started now would find; asks the driver's tool, never torch."""
    main = psutil.virtual_memory()
    if (card := _first_card()) is not None:
        return card
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return Machine("apple", "Apple", main.total, main.available, usable_cores())
    name = platform.processor() or platform.machine()
    return Machine("processor", name, main.total, main.available, usable_cores())


def _first_card() -> Machine | None:
    tool = _tool()
    if tool is None:
        return None
    return read_cards(_asked(tool, _FIELDS))


def card_numbers() -> tuple[str, ...]:
    """Return the numbers of all NVIDIA cards; the driver's tool is asked once a minute."""
    return _numbers_at(int(time.monotonic() // _KNOWN_SECONDS))


@lru_cache(maxsize=1)
def _numbers_at(_: int) -> tuple[str, ...]:
    tool = _tool()
    lines = _asked(tool, "index").split() if tool else []
    found = tuple(line for line in lines if line.isdecimal())
    if tool and found:
        _last_seen[tool] = found
    return found or _last_seen.get(tool or "", ())  # a driver that is busy has its cards still


_last_seen: Final[dict[str, tuple[str, ...]]] = {}
"""The cards that a driver's tool told last."""


def _asked(tool: str, fields: str) -> str:
    """Return what the driver's tool says of each card, a line each; nothing if it does not work."""
    command = [tool, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""  # a driver that does not answer trains nothing either
    return answer.stdout if answer.returncode == 0 else ""


def read_cards(text: str) -> Machine | None:
    """Read the first `name, total MiB, free MiB` line of the driver's tool."""
    for line in text.splitlines():
        parts = [part.strip() for part in line.rsplit(",", 2)]
        if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
            total, free = (int(part) * 2**20 for part in parts[1:])
            return Machine("nvidia", parts[0], total, free, usable_cores())
    return None


@lru_cache(maxsize=1)
def _tool() -> str | None:
    return shutil.which("nvidia-smi")
