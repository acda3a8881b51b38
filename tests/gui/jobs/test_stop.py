"""Ending runs: by asking, by force, with all children, and never the wrong process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from kohya_gui.jobs import stop
from kohya_gui.jobs.launch import start_request
from kohya_gui.workspace import Workspace
from sd_scripts.errors import UserError
from sd_scripts.runs.control import is_requested
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.process import identity_of, own_identity
from sd_scripts.runs.record import RunRecord, write_record
from sd_scripts.runs.status import derive_status
from tests.gui.jobs.conftest import fake_request, wait_for, wait_for_state


def test_stop_saves_and_ends(workspace: Workspace) -> None:
    run = start_request(workspace, fake_request(steps=10_000))
    wait_for_state(run, "running")
    stop.stop(run)
    wait_for_state(run, "stopped")
    status = derive_status(run)
    assert status.detail.startswith("Stopped after step")
    assert status.resume_from is not None
    assert status.resume_from.is_dir()


def test_stop_is_obeyed_even_when_asked_before_the_trainer_is_up(workspace: Workspace) -> None:
    run = start_request(workspace, fake_request(steps=10_000))
    stop.stop(run)
    wait_for_state(run, "stopped")
    assert derive_status(run).step == 1


def test_save_and_sample_are_requests(workspace: Workspace) -> None:
    run = RunFolder.create(workspace.runs, "x", "")
    stop.save_now(run)
    stop.sample_now(run)
    assert is_requested(run, "save")
    assert is_requested(run, "sample")


@pytest.mark.skipif(sys.platform == "win32", reason="signals can be ignored on POSIX")
def test_kill_ends_even_the_deaf(workspace: Workspace) -> None:
    run = start_request(workspace, fake_request(steps=10_000, mode="ignore"))
    wait_for_state(run, "running")
    assert stop.kill(run, grace_seconds=0.3) == 1
    wait_for_state(run, "stopped")
    assert derive_status(run).detail == "It was ended by force."


def started_with_child(workspace: Workspace) -> tuple[RunFolder, psutil.Process]:
    run = start_request(workspace, fake_request(steps=10_000, mode="children"))
    wait_for_state(run, "running")
    return run, psutil.Process(int((run.path / "child").read_text()))


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_kill_ends_the_children_too(workspace: Workspace) -> None:
    run, child = started_with_child(workspace)
    assert stop.kill(run) == 2
    wait_for(lambda: is_gone(child), "the child to end")


def test_a_run_whose_folder_is_gone_can_still_be_ended(workspace: Workspace) -> None:
    run, child = started_with_child(workspace)
    shutil.rmtree(run.path, ignore_errors=True)  # it may be writing just now
    (parent,) = [one for one in stop.processes_of(run) if one.pid != child.pid]
    assert stop.kill(run, grace_seconds=0.3) == 2
    wait_for(lambda: is_gone(child) and is_gone(parent), "both to end")


def test_orphans_of_a_dead_run_are_found(workspace: Workspace) -> None:
    run, child = started_with_child(workspace)
    pid = derive_status(run).pid
    assert pid is not None
    psutil.Process(pid).kill()
    wait_for_state(run, "lost")
    assert [process.pid for process in stop.processes_of(run)] == [child.pid]
    assert stop.kill(run) == 1
    wait_for(lambda: is_gone(child), "the orphan to end")


def test_a_process_with_a_reused_number_is_left_alone(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "x", "")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        identity = identity_of(other.pid)
        assert identity is not None
        earlier = {"create_time": identity.create_time - 500, "start_ticks": 1}
        write_record(run, RunRecord().with_process(identity.model_copy(update=earlier)))
        assert stop.kill(run) == 0
        assert other.poll() is None
        assert not is_requested(run, "kill")
        other.kill()


def test_nothing_to_kill_is_fine(tmp_path: Path) -> None:
    assert stop.kill(RunFolder.create(tmp_path, "x", "")) == 0


def test_this_program_is_never_killed(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "x", "")
    write_record(run, RunRecord().with_process(own_identity()))
    assert stop.processes_of(run) == []


def test_a_process_that_does_not_end_is_told(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_request(workspace, fake_request(steps=10_000))
    wait_for_state(run, "running")
    with monkeypatch.context() as patch:
        patch.setattr(stop, "_signal", lambda *_, **__: None)
        with pytest.raises(UserError, match=str(derive_status(run).pid)):
            stop.kill(run, grace_seconds=0.05)
    assert not is_requested(run, "kill")
    assert derive_status(run).state == "running"
