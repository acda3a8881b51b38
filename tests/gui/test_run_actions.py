"""What lists and run views ask for: the overview, requests to runs, the queue, deleting."""

from __future__ import annotations

from pathlib import Path

import pytest

from kohya_gui.context import Context
from kohya_gui.jobs.launch import JobRequest
from kohya_gui.jobs.queue import Queued
from kohya_gui.pages import run_actions
from kohya_gui.pages.run_actions import RunActions, run_functions
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


def test_a_very_long_list_is_cut_and_told(
    actions: RunActions, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_actions, "MAX_ROWS", 2)
    for number in range(3):
        make_run(context.workspace.path, f"run {number}", steps=1)
    found = actions.overview(None)
    assert (len(found["runs"]), found["more"]) == (2, 1)


def test_a_damaged_queue_is_told_and_hides_no_run(
    actions: RunActions, run: RunFolder, context: Context
) -> None:
    (context.workspace.queue / "queue.json").write_text("{")
    found = actions.overview(None)
    assert "queue" in found["problem"]
    assert len(found["runs"]) == 1


@pytest.mark.parametrize("what", ["stop", "save", "sample"])
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


def test_a_run_at_work_is_not_deleted(actions: RunActions, run: RunFolder) -> None:
    assert "still at work" in actions.delete_run({"run": run.id})["problem"]
    assert run.path.exists()


def test_a_run_is_measured_and_deleted(actions: RunActions, context: Context) -> None:
    over = make_run(context.workspace.path, "over", alive=False)
    size = actions.run_size({"run": over.id})
    assert size["files"] >= 4
    assert actions.delete_run({"run": over.id}) == {}
    assert not over.path.exists()
    assert "problem" in actions.delete_run({"run": over.id})


def test_waiting_jobs_are_moved_and_removed(
    actions: RunActions, run: RunFolder, context: Context
) -> None:
    for name in ("first", "second"):
        request = JobRequest(job_name="train_network", config_toml="", name=name)
        assert isinstance(context.queue.submit(request), Queued)
    first, second = (job.id for job in context.queue.items())
    assert actions.queue_action({"what": "up", "id": second}) == {}
    assert [job.id for job in context.queue.items()] == [second, first]
    assert actions.queue_action({"what": "remove", "id": second}) == {}
    assert actions.queue_action({"what": "remove", "id": "gone"}) == {}
    assert [row["name"] for row in actions.overview(None)["waiting"]] == ["first"]


def test_names_of_server_functions_stay_as_the_scripts_call_them(context: Context) -> None:
    scripts = (Path(run_actions.__file__).parent.parent / "assets" / "js").glob("*.js")
    text = "\n".join(path.read_text("utf-8") for path in scripts)
    for function in run_functions(context):
        assert f"server.{function.__name__}(" in text
