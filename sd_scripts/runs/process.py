"""Which process is meant: a number alone is reused, so number, create time and boot are kept."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Final

import psutil
from pydantic import BaseModel, ConfigDict

CLOCK_TOLERANCE_SECONDS: Final = 2.0
"""Create times are compared this loosely where no exact mark exists: clocks get corrected."""


class ProcessIdentity(BaseModel):
    """One process of one boot of one machine.

    `create_time` is in Unix seconds and shifts when the clock is set; on Linux `boot_id` and
    `start_ticks` (proc(5), field 22 of stat) are exact and win when both sides have them.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    create_time: float
    boot_id: str | None = None
    start_ticks: int | None = None


def _boot_id() -> str | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return None


def _start_ticks(pid: int) -> int | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name (field 2) is in brackets and may hold anything, so fields are counted behind it.
    fields = stat[stat.rfind(b")") + 1 :].split()
    return int(fields[19]) if len(fields) > 19 else None


def identity_of(pid: int) -> ProcessIdentity | None:
    """Return who has the number `pid` now (a zombie too), or None."""
    try:
        created = psutil.Process(pid).create_time()
    except psutil.Error:
        return None
    return ProcessIdentity(
        pid=pid, create_time=created, boot_id=_boot_id(), start_ticks=_start_ticks(pid)
    )


def own_identity() -> ProcessIdentity:
    """Return the identity of this process."""
    known = identity_of(os.getpid())
    return known or ProcessIdentity(pid=os.getpid(), create_time=time.time())


def same_process(one: ProcessIdentity, other: ProcessIdentity) -> bool:
    """Tell whether two identities mean the same process, by the exact marks where there are any."""
    if one.pid != other.pid:
        return False
    if one.boot_id and other.boot_id and one.boot_id != other.boot_id:
        return False
    if one.boot_id and other.boot_id and one.start_ticks and other.start_ticks:
        return one.start_ticks == other.start_ticks
    return abs(one.create_time - other.create_time) <= CLOCK_TOLERANCE_SECONDS


def find_process(identity: ProcessIdentity) -> psutil.Process | None:
    """Return the living process that is meant; None when it ended, is a zombie, or was replaced."""
    now = identity_of(identity.pid)
    if now is None or not same_process(identity, now):
        return None
    try:
        process = psutil.Process(identity.pid)
        return None if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD) else process
    except psutil.Error:
        return None


def is_alive(identity: ProcessIdentity) -> bool:
    """Tell whether the process that is meant is still at work."""
    return find_process(identity) is not None


def is_self_or_ancestor(identity: ProcessIdentity) -> bool:
    """Tell whether the process that is meant is this one, or started this one (at any remove)."""
    try:
        pids = [os.getpid(), *(parent.pid for parent in psutil.Process().parents())]
    except psutil.Error:
        pids = [os.getpid()]
    known = identity_of(identity.pid) if identity.pid in pids else None
    return known is not None and same_process(identity, known)
