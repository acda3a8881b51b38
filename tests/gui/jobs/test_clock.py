"""A clock that is set while jobs run and wait."""

from __future__ import annotations

import time

import pytest

from kohya_gui.jobs import stop
from kohya_gui.jobs.queue import JobQueue, Submitted
from kohya_gui.workspace import Workspace
from sd_scripts.runs.status import derive_status
from tests.gui.jobs.conftest import fake_request, wait_for_state


@pytest.mark.parametrize("years", [-10, 10])
def test_a_clock_that_jumps_while_one_runs_and_one_waits_changes_nothing(
    workspace: Workspace, years: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = JobQueue(workspace)
    answer = queue.submit(fake_request("runs", steps=100_000))
    assert isinstance(answer, Submitted)
    run = answer.run
    wait_for_state(run, "running")
    queue.submit(fake_request("waits", steps=2))
    plain = time.time
    monkeypatch.setattr(time, "time", lambda: plain() + years * 365 * 86_400)
    assert derive_status(run).state == "running"
    assert queue.advance() == []
    assert [job.request.name for job in queue.items()] == ["waits"]
    stop.kill(run)
    [new] = queue.advance()
    assert queue.advance() == []
    wait_for_state(new, "finished")
    assert queue.items() == []
    assert derive_status(run).state == "stopped"
