"""End a run: first by asking it to save and end, then by ending all its processes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from typing import Final

import psutil

from kohya_gui.jobs.launch import RUN_VARIABLE
from sd_scripts.errors import UserError
from sd_scripts.runs import control
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.process import find_process
from sd_scripts.runs.record import read_record

GRACE_SECONDS: Final = 3.0


def stop(run: RunFolder) -> None:
    """Ask the trainer to save and end. Raises `OSError`."""
    control.request(run, "stop")


def save_now(run: RunFolder) -> None:
    """Ask the trainer to save after this step. Raises `OSError`."""
    control.request(run, "save")


def sample_now(run: RunFolder) -> None:
    """Ask the trainer for preview pictures after this step. Raises `OSError`."""
    control.request(run, "sample")


def pause(run: RunFolder) -> None:
    """Ask the trainer to wait after this step, keeping what it holds. Raises `OSError`."""
    control.request(run, "pause")


def go_on(run: RunFolder) -> None:
    """Let a paused trainer go on. Raises `OSError`."""
    control.withdraw(run, "pause")


def processes_of(run: RunFolder) -> list[psutil.Process]:
    """Return the living processes of a run: the one that was started, its children at any depth,
    and orphans of it, known by the run's own variable in their environment."""
    found: dict[int, psutil.Process] = {}
    record = read_record(run)
    root = find_process(record.process) if record is not None and record.process else None
    if root is not None and root.pid != os.getpid():  # never this program itself
        found[root.pid] = root
        # If it ends just now, its children are found as orphans below.
        with contextlib.suppress(psutil.Error):
            found |= {child.pid: child for child in root.children(recursive=True)}
    for process in psutil.process_iter():
        try:
            if process.pid not in found and process.environ().get(RUN_VARIABLE) == str(run.path):
                found[process.pid] = process
        except (psutil.Error, OSError):
            continue  # another user's, or gone
    return [process for process in found.values() if _lives(process)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def kill(run: RunFolder, grace_seconds: float = GRACE_SECONDS) -> int:
    """End every process of the run, by force after the grace time; return how many there were.

    A process that only has the same number as the run's is left alone. Files stay as they are:
    saves are atomic. Leaves a mark, so that the run is not taken for a crash. Raises `UserError`
    when a process does not end (it belongs to another user, or hangs in the driver).
    """
    processes = processes_of(run)
    if not processes:
        return 0
    with contextlib.suppress(FileNotFoundError):  # deleted by hand: nothing tells of it any more
        control.request(run, control.KILL_MARK)
    _signal(processes, force=False)
    alive = _wait(processes, grace_seconds)
    # A dying parent may have started another child meanwhile.
    rest = {process.pid: process for process in [*alive, *processes_of(run)]}
    _signal(rest.values(), force=True)
    if left := _wait(rest.values(), grace_seconds):
        control.withdraw(run, control.KILL_MARK)
        numbers = ", ".join(str(process.pid) for process in left)
        raise UserError(
            f"Not every process of the run could be ended; still there: {numbers}.",
            hint="They belong to another user or hang in a driver; end them by hand or restart.",
        )
    return len({*rest, *(process.pid for process in processes)})


def _wait(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait for processes to end, for so long at most; return those that have not.

    A zombie has ended: in a container nobody may ever reap it, so psutil's own wait, which waits
    for the number to be free, would always take the whole time.
    """
    deadline = time.monotonic() + seconds
    while (alive := [process for process in processes if _lives(process)]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.02)
    return alive


def _signal(processes: Iterable[psutil.Process], *, force: bool) -> None:
    for process in processes:
        try:
            # psutil compares the create time first: a number that was reused is not hit.
            if force:
                process.kill()
            else:
                process.terminate()
        except psutil.Error:
            continue  # gone already, or not ours to end: the status shows what is left
