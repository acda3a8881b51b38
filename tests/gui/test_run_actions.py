"""What lists and run views ask for: the overview, requests to runs, the queue, deleting."""

from __future__ import annotations

import pytest

from kohya_gui.context import Context
from kohya_gui.jobs.launch import JobRequest
from kohya_gui.jobs.queue import Queued
from kohya_gui.pages import run_actions
from kohya_gui.pages.run_actions import RunActions
from sd_scripts.runs.control import is_requested
from sd_scripts.runs.folder import RunFolder
from tests.support.pages import make_run


@pytest.fixture
def actions(context: Context) -> RunActions:
    return RunActions(context)


@pytest.fixture
def run(context: Context) -> RunFolder:
    return make_run(context.workspace.path, "mycat")


def test_the_overview_is_sent_again_only_when_it_changed(
    actions: RunActions, run: RunFolder, context: Context
) -> None:
    first = actions.overview({"mark": ""})
    assert [row["id"] for row in first["runs"]] == [run.id]
    assert actions.overview({"mark": first["mark"]}) == {"same": True}
    make_run(context.workspace.path, "another")
    assert len(actions.overview({"mark": first["mark"]})["runs"]) == 2


def test_the_start_page_gets_those_at_work_and_the_newest_others(
    actions: RunActions, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_actions, "MAX_ROWS", 1)
    work = context.workspace.path
    make_run(work, "at work", steps=1)
    for name in ("over", "over too"):
        make_run(work, name, steps=1, alive=False)
    found = actions.overview(None)["runs"]
    assert len(found) == 2
    assert [row["active"] for row in found] == [True, False]


def test_a_damaged_queue_is_told_and_hides_no_run(
    actions: RunActions, run: RunFolder, context: Context
) -> None:
    (context.workspace.queue / "queue.json").write_text("{")
    found = actions.overview(None)
    assert "queue" in found["problem"]
    assert len(found["runs"]) == 1


@pytest.mark.parametrize("what", ["stop", "save", "sample", "pause"])
def test_requests_reach_the_run(actions: RunActions, run: RunFolder, what: str) -> None:
    assert actions.ask_run({"run": run.id, "what": what}) == {}
    assert is_requested(run, what)


@pytest.mark.parametrize(
    "request_", [None, {}, {"run": "none", "what": "stop"}, {"run": "..", "what": "stop"}]
)
def test_a_request_to_no_run_is_told(actions: RunActions, request_: object) -> None:
    assert "problem" in actions.ask_run(request_)


def test_an_unknown_wish_does_nothing(actions: RunActions, run: RunFolder) -> None:
    assert "problem" in actions.ask_run({"run": run.id, "what": "format the disk"})
    assert list(run.control.iterdir()) == []


def test_a_paused_run_goes_on(actions: RunActions, run: RunFolder) -> None:
    actions.ask_run({"run": run.id, "what": "pause"})
    look = actions.look_run({"run": run.id})
    assert look["paused"]
    assert look["asked"] == ["pause"]
    assert actions.ask_run({"run": run.id, "what": "go_on"}) == {}
    assert not actions.look_run({"run": run.id})["paused"]


def test_the_queue_is_paused_from_the_page(actions: RunActions) -> None:
    assert actions.queue_action({"what": "pause"}) == {}
    assert actions.overview(None)["queue"]["paused"]
    assert actions.queue_action({"what": "go_on"}) == {}
    assert not actions.overview(None)["queue"]["paused"]


def test_waiting_jobs_are_moved_and_removed(
    actions: RunActions, run: RunFolder, context: Context
) -> None:
    for name in ("first", "second"):
        request = JobRequest(job_name="train_network", config_toml="", name=name)
        assert isinstance(context.queue.submit(request), Queued)
    first, second = (job.id for job in context.queue.items())
    assert actions.queue_action({"what": "up", "id": second}) == {}
    assert [job.id for job in context.queue.items()] == [second, first]
    assert actions.queue_action({"what": "down", "id": second}) == {}
    assert actions.queue_action({"what": "move", "id": second, "position": 1}) == {}
    assert [job.id for job in context.queue.items()] == [second, first]
    assert actions.queue_action({"what": "remove", "id": second}) == {}
    assert "waits no more" in actions.queue_action({"what": "remove", "id": "gone"})["problem"]
    assert "problem" in actions.queue_action({"what": "move", "id": first, "position": "x"})
    [row] = actions.overview(None)["queue"]["jobs"]
    assert (row["name"], row["job"], row["page"]) == ("first", "LoRA", "lora")
