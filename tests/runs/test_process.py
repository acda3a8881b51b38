"""Which process is meant: living, ended, a zombie, or another one with the same number."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from sd_scripts.runs.process import (
    CLOCK_TOLERANCE_SECONDS,
    ProcessIdentity,
    find_process,
    identity_of,
    is_alive,
    is_self_or_ancestor,
    own_identity,
    same_process,
)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


def test_a_living_process_is_found(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identity_of(sleeper.pid)
    assert identity is not None
    assert is_alive(identity)
    found = find_process(identity)
    assert found is not None
    assert found.pid == sleeper.pid


def test_a_zombie_is_not_alive(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identity_of(sleeper.pid)
    assert identity is not None
    sleeper.kill()
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # it ended; it is not reaped
        assert psutil.pid_exists(sleeper.pid)
        assert not is_alive(identity)
    sleeper.wait()
    assert not is_alive(identity)
    assert identity_of(sleeper.pid) is None


def test_the_same_number_later_is_another_process(sleeper: subprocess.Popen[bytes]) -> None:
    now = identity_of(sleeper.pid)
    assert now is not None
    earlier = now.model_copy(
        update={
            "create_time": now.create_time - 3600,
            "start_ticks": (now.start_ticks or 0) + 1 if now.start_ticks else None,
        }
    )
    assert not is_alive(earlier)


def test_after_a_new_boot_nothing_is_alive() -> None:
    mine = own_identity()
    if mine.boot_id is None:
        pytest.skip("this system has no boot id")
    assert not is_alive(mine.model_copy(update={"boot_id": "another"}))


@pytest.mark.parametrize(("shift", "same"), [(0.5, True), (CLOCK_TOLERANCE_SECONDS + 1, False)])
def test_without_exact_marks_the_create_time_decides(shift: float, same: bool) -> None:
    one = ProcessIdentity(pid=5, create_time=1000.0)
    other = ProcessIdentity(pid=5, create_time=1000.0 + shift, boot_id="b", start_ticks=7)
    assert same_process(one, other) is same


def test_exact_marks_win_over_a_clock_that_was_set() -> None:
    one = ProcessIdentity(pid=5, create_time=1000.0, boot_id="b", start_ticks=7)
    assert same_process(one, one.model_copy(update={"create_time": 90000.0}))
    assert not same_process(one, one.model_copy(update={"start_ticks": 8}))
    assert not same_process(one, one.model_copy(update={"pid": 6}))


def test_own_family(sleeper: subprocess.Popen[bytes]) -> None:
    child = identity_of(sleeper.pid)
    parent = identity_of(os.getppid())
    assert child is not None
    assert parent is not None
    assert is_self_or_ancestor(own_identity())
    assert is_self_or_ancestor(parent)
    assert not is_self_or_ancestor(child)
