"""The command line: the workspace is looked at and changed without a GUI, programs get JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kohya_gui.__main__ import main
from kohya_gui.commands import doing, follow
from kohya_gui.jobs import launch, stop
from kohya_gui.jobs.queue import JobQueue
from kohya_gui.jobs.store import RunStore
from kohya_gui.workspace import Workspace, open_workspace
from sd_scripts.errors import EXIT_FAULT, EXIT_OK, EXIT_USER, Problem
from sd_scripts.runs.control import is_requested
from sd_scripts.runs.events import EndEvent, EventWriter
from sd_scripts.runs.folder import RunFolder
from tests.gui.jobs.conftest import fake_request
from tests.support.pages import make_run

ROOT = Path(__file__).resolve().parents[2]
GOOD = (
    'pretrained_model_name_or_path = "m.safetensors"\ntrain_data_dir = "p"\nmax_train_steps = 4\n'
)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    opened = open_workspace(tmp_path / "wörk")
    monkeypatch.setenv("KOHYA_GUI_WORKSPACE", str(opened.path))
    monkeypatch.chdir(tmp_path)
    return opened


@pytest.fixture
def job_file(tmp_path: Path) -> str:
    path = tmp_path / "job.toml"
    path.write_text(GOOD)
    return str(path)


def ended(workspace: Workspace, name: str, end: EndEvent) -> RunFolder:
    run = make_run(workspace.path, name, alive=False)
    with EventWriter(run.events) as events:
        events.emit(end)
    return run


def told(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> Any:
    assert main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_runs_are_listed(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == EXIT_OK
    assert "no runs" in capsys.readouterr().out
    run = make_run(workspace.path, "mycat")
    ended(workspace, "old", EndEvent(status="finished"))
    listed = told(capsys, EXIT_OK, "runs")
    assert {one["name"] for one in listed["runs"]} == {"mycat", "old"}
    active = told(capsys, EXIT_OK, "runs", "--active")["runs"]
    assert [one["run"] for one in active] == [run.id]
    assert main(["runs", "--limit", "1"]) == EXIT_OK
    assert "1 older" in capsys.readouterr().out
    assert told(capsys, EXIT_OK, "show", "mycat")["step"] == 30


def test_a_run_that_is_not_there_or_not_one(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "nobody"]) == EXIT_USER
    assert "nobody" in capsys.readouterr().err
    for _ in range(2):
        ended(workspace, "twin", EndEvent(status="finished"))
    problem = told(capsys, EXIT_USER, "stop", "twin")["problems"][0]
    assert "2 runs" in problem["message"]
    assert "twin-" in problem["hint"]


def test_a_run_at_work_is_asked(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(workspace.path, "mycat")
    for word in ("save", "sample", "pause", "stop"):
        assert main([word, "mycat"]) == EXIT_OK
        assert is_requested(run, word)
    assert main(["continue", "last"]) == EXIT_OK
    assert not is_requested(run, "pause")
    ended(workspace, "over", EndEvent(status="finished"))
    capsys.readouterr()
    assert told(capsys, EXIT_USER, "stop", "over")["problems"]


def test_a_job_is_checked_and_waits(
    workspace: Workspace, job_file: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert told(capsys, EXIT_OK, "submit", job_file, "--check")["state"] == "good"
    make_run(workspace.path, "busy")
    assert told(capsys, EXIT_USER, "submit", job_file, "--start")["problems"]
    assert main(["submit", job_file, "--name", "mine"]) == EXIT_OK
    assert "queue --work" in capsys.readouterr().out
    job = JobQueue(workspace).items()[0]
    assert str(tmp_path / "m.safetensors") in job.request.config_toml  # from here, not from there
    assert job.request.name == "mine"
    bad = tmp_path / "bad.toml"
    bad.write_text("network_dim = -1\nlearning_rat = 1\n")
    options = {one["option"] for one in told(capsys, EXIT_USER, "submit", str(bad))["problems"]}
    assert {"network_dim", "learning_rat"} <= options
    assert main(["submit", str(tmp_path / "none.toml")]) == EXIT_USER


def test_the_queue_is_changed(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = JobQueue(workspace).add([fake_request("a"), fake_request("b")])
    moved = told(capsys, EXIT_OK, "queue", "--first", second.id)["jobs"]
    assert [job["name"] for job in moved] == ["b", "a"]
    assert told(capsys, EXIT_OK, "queue", "--pause")["paused"] is True
    assert told(capsys, EXIT_OK, "queue", "--continue")["paused"] is False
    assert told(capsys, EXIT_OK, "queue", "--retry", first.id)["jobs"]
    assert len(told(capsys, EXIT_OK, "queue", "--remove", first.id)["jobs"]) == 1
    assert told(capsys, EXIT_USER, "queue", "--remove", first.id)["problems"]
    assert main(["queue"]) == EXIT_OK
    assert "1. b" in capsys.readouterr().out


def test_the_queue_moves_on_without_a_gui(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(launch.JOB_MODULES, "fake", "tests.support.fake_trainer")
    monkeypatch.setattr(doing, "QUEUE_SECONDS", 0.05)
    JobQueue(workspace).add([fake_request("a"), fake_request("b")])
    try:
        assert main(["queue", "--work", "--until_empty"]) == EXIT_OK
        runs = RunStore(workspace).list()
        assert {(run.name, run.status.state) for run in runs} == {
            ("a", "finished"),
            ("b", "finished"),
        }
    finally:
        for path in workspace.runs.iterdir():
            stop.kill(RunFolder(path), grace_seconds=0.1)
    assert capsys.readouterr().out.count("started ") == 2


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (EndEvent(status="finished"), EXIT_OK),
        (EndEvent(status="stopped"), EXIT_OK),
        (EndEvent(status="failed", problems=(Problem("no model", "x"),)), EXIT_USER),
        (EndEvent(status="failed", reason="a fault"), EXIT_FAULT),
    ],
)
def test_following_ends_with_the_runs_code(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], end: EndEvent, code: int
) -> None:
    run = ended(workspace, "mycat", end)
    assert main(["follow", "mycat"]) == code
    assert "the trainer is up" in capsys.readouterr().out
    assert main(["follow", run.id, "--json"]) == code
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["type"] == "start"
    assert lines[-1]["state"] == end.status


def test_ctrl_c_leaves_the_run_alone(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(follow.time, "sleep", interrupt)
    run = make_run(workspace.path, "mycat")
    assert main(["follow", "mycat"]) == EXIT_OK
    assert f"{run.id} goes on" in capsys.readouterr().err
    assert not is_requested(run, "stop")
    assert main(["queue", "--work"]) == EXIT_OK


def test_a_progress_bar_is_shown_when_it_changed(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(workspace.path, "mycat")
    summary = RunStore(workspace).summary(run.id)
    assert summary is not None
    log = follow._Log(summary)
    log.show_new()
    with open(run.log, "ab") as file:
        file.write(b"1/3\r")
        file.flush()
        log.show_new()
        log.show_new()
        file.write(b"2/3\r3/3\ndone\n")
    log.show_new()
    out = capsys.readouterr().out.splitlines()
    assert out == ["the trainer is up", "1/3", "3/3", "done"]


def test_every_command_is_documented_and_no_other() -> None:
    documented = set()
    for row in re.findall(r"^\| (`[^|]+) \|", (ROOT / "docs/commands.md").read_text("utf-8"), re.M):
        documented |= set(re.findall(r"`(\w+)", row))
    parser = doing.command_parser()
    words = next(a.choices for a in parser._actions if a.dest == "word")
    assert words is not None
    assert set(words) == documented


def test_lists_of_values_make_runs_that_wait(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(f"{GOOD}network_dim = [8, 16]\noutput_name = 'cat'\n")
    queue = JobQueue(workspace)
    assert main(["submit", str(file), "--check"]) == EXIT_OK
    assert "cat-network_dim-16" in capsys.readouterr().out
    for flag in ("--start", "--follow"):
        assert main(["submit", str(file), flag]) == EXIT_USER
        assert "2 runs" in capsys.readouterr().err
    assert queue.items() == []
    answer = told(capsys, EXIT_OK, "submit", str(file))
    waiting = queue.items()
    assert answer["runs"] == [{"name": one.request.name, "id": one.id} for one in waiting]
    assert {one.request.tags for one in waiting} == {(answer["tag"],)}


def test_a_wrong_value_in_a_list_queues_nothing(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(f"{GOOD}network_dim = [8, 0, -1]\n")
    problems = told(capsys, EXIT_USER, "submit", str(file))["problems"]
    assert all("network_dim" in one["message"] for one in problems)
    assert any("network_dim--1" in one["message"] for one in problems)
    assert JobQueue(workspace).items() == []


def test_a_job_is_handed_in_for_one_of_several_cards(
    workspace: Workspace,
    job_file: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    queue = JobQueue(workspace)
    make_run(workspace.path, "at work", device="cuda:1")
    for check in ((), ("--check",)):
        wrong = ("submit", job_file, "--device", "cuda:9", *check)
        assert told(capsys, EXIT_USER, *wrong)["problems"][0]["option"] == "device"
    assert told(capsys, EXIT_OK, "submit", job_file, "--device", "cuda:1")["state"] == "queued"
    assert [job.request.device for job in queue.items()] == ["cuda:1"]
