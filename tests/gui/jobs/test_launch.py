"""Starting: what is run, in which environment, and that it needs nobody afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import kohya_gui.jobs.launch as launch
from kohya_gui.jobs.launch import (
    JOB_MODULES,
    JOB_PAGES,
    JobRequest,
    command_for,
    command_text,
    environment_for,
    start_request,
)
from kohya_gui.jobs.notes import read_note
from kohya_gui.pages.registry import PAGES
from kohya_gui.workspace import Workspace
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import JOBS
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.process import is_alive
from sd_scripts.runs.record import read_record
from sd_scripts.runs.status import derive_status
from tests.gui.jobs.conftest import fake_request, wait_for, wait_for_state


def test_every_training_job_can_be_started() -> None:
    assert set(JOBS) <= set(JOB_MODULES)


def test_settings_of_a_job_open_in_a_page_that_is_there() -> None:
    addresses = {page.path for page in PAGES}
    assert set(JOB_PAGES) <= set(JOBS)
    assert set(JOB_PAGES.values()) <= addresses


def test_one_process_is_started_without_the_launcher(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "a run")
    assert command_for("train_network", run) == [
        sys.executable,
        "-m",
        "sd_scripts.train_network",
        "--config_file",
        str(run.config),
        "--run_dir",
        str(run.path),
    ]


def test_only_known_jobs_are_run(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="no job 'os'"):
        start_request(workspace, JobRequest(job_name="os", config_toml="", name="x"))
    assert list(workspace.runs.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="quoting of POSIX shells")
def test_the_shown_command_can_be_pasted() -> None:
    assert command_text(["python", "-m", "a b", "it's"]) == "python -m 'a b' 'it'\"'\"'s'"


def test_the_environment_is_fit_for_a_trainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOHYA_GUI_PASSWORD", "secret")
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("PYTHONPATH", "/other")
    monkeypatch.setenv("KEPT", "yes")
    request = fake_request().model_copy(update={"env": {"CUDA_VISIBLE_DEVICES": "1"}})
    variables = environment_for(RunFolder(tmp_path), request)
    assert variables["OMP_WAIT_POLICY"] == "PASSIVE"
    assert variables["OMP_NUM_THREADS"] == "3"  # the user's own
    assert variables["PYTHONUNBUFFERED"] == "1"
    assert variables["HF_HUB_OFFLINE"] == "1"
    assert variables["CUDA_VISIBLE_DEVICES"] == "1"
    assert variables["KEPT"] == "yes"
    first, *rest = variables["PYTHONPATH"].split(os.pathsep)
    assert (Path(first) / "sd_scripts" / "errors.py").is_file()
    assert rest == ["/other"]
    assert "secret" not in variables.values()


def test_downloads_are_allowed_only_when_asked_for(tmp_path: Path) -> None:
    request = fake_request().model_copy(update={"allow_hub": True})
    assert environment_for(RunFolder(tmp_path), request)["HF_HUB_OFFLINE"] == "0"


def test_a_run_goes_from_start_to_end(workspace: Workspace) -> None:
    request = fake_request("猫 cat", steps=3)
    run = start_request(workspace, request)
    record = read_record(run)
    assert record is not None
    assert record.pid is not None
    assert record.create_time is not None
    assert record.argv == tuple(command_for("fake", run))
    assert (record.name, record.job, record.started_by) == ("猫 cat", "fake", "gui")
    assert record.versions["torch"]
    wait_for_state(run, "finished")
    assert derive_status(run).step == 3
    assert run.log.read_text("utf-8").strip() == "fake trainer: ü"
    assert run.config.read_text("utf-8") == request.config_toml
    # The trainer found its process in run.json and left the file as the launcher wrote it.
    assert read_record(run) == record


def test_a_run_has_the_tags_of_its_request(workspace: Workspace) -> None:
    request = fake_request(steps=1).model_copy(update={"tags": ("#two words", "one")})
    run = start_request(workspace, request)
    assert read_note(run).tags == ("two words", "one")
    wait_for_state(run, "finished")


@pytest.mark.skipif(sys.platform == "win32", reason="sessions are POSIX")
def test_a_run_has_its_own_session_and_holds_no_pipe(workspace: Workspace) -> None:
    run = start_request(workspace, fake_request(steps=1000))
    pid = derive_status(run).pid
    assert pid is not None
    assert os.getsid(pid) == pid
    wait_for_state(run, "running")
    if sys.platform == "linux":
        assert os.readlink(f"/proc/{pid}/fd/0") == os.devnull
        assert os.readlink(f"/proc/{pid}/fd/1") == os.readlink(f"/proc/{pid}/fd/2") == str(run.log)


def test_no_zombie_stays(workspace: Workspace) -> None:
    run = start_request(workspace, fake_request(steps=1))
    pid = derive_status(run).pid
    assert pid is not None
    wait_for(lambda: not psutil.pid_exists(pid), "the process to be reaped")


def test_a_crash_is_explained(workspace: Workspace) -> None:
    run = start_request(workspace, fake_request(mode="crash"))
    wait_for_state(run, "failed")
    status = derive_status(run)
    assert status.detail == "The graphics card ran out of memory."
    assert status.hint is not None
    assert "gradient_checkpointing" in status.hint


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is POSIX")
def test_kill_9_leaves_a_lost_run(workspace: Workspace) -> None:
    run = start_request(workspace, fake_request(steps=10_000))
    wait_for_state(run, "running")
    pid = derive_status(run).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for_state(run, "lost")
    assert "kill -9" in derive_status(run).detail


LAUNCHER = """
import sys
from pathlib import Path
from kohya_gui.jobs import launch
from kohya_gui.jobs.launch import JobRequest, start_request
from kohya_gui.workspace import open_workspace
launch.JOB_MODULES["fake"] = "tests.support.fake_trainer"
request = JobRequest(job_name="fake", config_toml=sys.argv[2], name="from another program")
if len(sys.argv) > 3:
    def die(*_):
        raise SystemExit(7)
    launch.identity_of = die
print(start_request(open_workspace(Path(sys.argv[1])), request).path, flush=True)
"""


def launch_elsewhere(workspace: Workspace, config: str, *more: str) -> subprocess.Popen[bytes]:
    """Start a run from another program, as a GUI does that is closed later."""
    command = [sys.executable, "-c", LAUNCHER, str(workspace.path), config, *more]
    variables = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE)


def test_a_run_outlives_the_program_that_started_it(workspace: Workspace) -> None:
    launcher = launch_elsewhere(workspace, "steps = 10000\n")
    output, _ = launcher.communicate()
    assert launcher.returncode == 0
    run = RunFolder(Path(output.decode().strip()))
    wait_for_state(run, "running")
    step = derive_status(run).step
    wait_for(lambda: derive_status(run).step > step, "more steps after the launcher is gone")


def test_a_launcher_that_dies_right_after_the_start_loses_nothing(workspace: Workspace) -> None:
    launcher = launch_elsewhere(workspace, "steps = 10000\n", "die")
    launcher.communicate()
    assert launcher.returncode == 7
    [path] = [path for path in workspace.runs.iterdir() if path.is_dir()]
    run = RunFolder(path)
    wait_for_state(run, "running")
    record = read_record(run)
    assert record is not None
    assert record.process is not None
    assert is_alive(record.process)
    assert record.started_by == "gui"


def test_a_start_that_fails_leaves_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(launch.subprocess, "Popen", refuse)
    with pytest.raises(UserError, match="could not be started"):
        start_request(workspace, fake_request())
    assert list(workspace.runs.iterdir()) == []


def test_a_record_that_cannot_be_written_ends_what_was_started(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, started = launch.write_record, []

    def once(run: RunFolder, record: launch.RunRecord) -> None:
        if record.pid is not None:
            started.append(record.pid)
            raise OSError(28, "No space left on device")
        write(run, record)

    monkeypatch.setattr(launch, "write_record", once)
    with pytest.raises(UserError, match="No space left"):
        start_request(workspace, fake_request(steps=10_000))
    assert started
    assert not psutil.pid_exists(started[0])
    assert list(workspace.runs.iterdir()) == []


def test_a_request_survives_the_disk() -> None:
    request = fake_request("ü", steps=3).model_copy(update={"env": {"A": "b"}, "parent": "p"})
    assert JobRequest.model_validate_json(request.model_dump_json()) == request


def test_files_in_the_workspace_do_not_hide_modules(workspace: Workspace) -> None:
    (workspace.path / "psutil.py").write_text("raise RuntimeError('wrong module')")
    run = start_request(workspace, fake_request(steps=1))
    wait_for_state(run, "finished")
