"""What the page of runs asks about many runs: pages of them, notes, tags, deleting."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kohya_gui.context import Context
from kohya_gui.pages import history_actions
from kohya_gui.pages.history_actions import HistoryActions
from kohya_gui.pages.run_actions import run_functions
from sd_scripts.runs.events import EventWriter, SaveEvent
from sd_scripts.runs.folder import RunFolder
from tests.support.pages import add_save, make_run


@pytest.fixture
def actions(context: Context) -> HistoryActions:
    return HistoryActions(context)


@pytest.fixture
def over(context: Context) -> RunFolder:
    return make_run(context.workspace.path, "over", alive=False)


def test_a_page_of_runs_is_sent_again_only_when_it_changed(
    actions: HistoryActions, context: Context, over: RunFolder
) -> None:
    first = actions.list_runs({})
    assert [row["name"] for row in first["runs"]] == ["over"]
    assert (first["num_all"], first["num_pages"]) == (1, 1)
    assert actions.list_runs({"mark": first["mark"]}) == {"same": True}
    actions.tag_runs({"runs": [over.id], "tag": "best", "what": "add"})
    again = actions.list_runs({"mark": first["mark"]})
    assert again["runs"][0]["tags"] == ["best"]
    assert again["tags"] == ["best"]
    make_run(context.workspace.path, "at work")
    assert [row["name"] for row in actions.list_runs({})["running"]] == ["at work"]


def test_a_misspelt_option_is_told_with_the_nearest_one(
    actions: HistoryActions, over: RunFolder
) -> None:
    [words] = actions.list_runs({"text": "netwrok_dim=8"})["unknown"]
    assert "netwrok_dim" in words
    assert "network_dim" in words


def test_of_two_who_write_a_note_the_later_one_is_told(
    actions: HistoryActions, over: RunFolder
) -> None:
    seen = actions.read_note({"run": over.id})
    assert seen == {"note": "", "tags": [], "version": 0}
    mine = {"run": over.id, "note": "mine", "tags": "a, b", "version": 0}
    assert actions.write_note(mine) == {"note": "mine", "tags": ["a", "b"], "version": 1}
    theirs = actions.write_note({**mine, "note": "theirs"})
    assert theirs["changed"]["note"] == "mine"
    assert actions.read_note({"run": over.id})["note"] == "mine"
    assert actions.write_note({**mine, "note": "theirs", "version": 1})["note"] == "theirs"


def test_a_note_on_a_run_that_is_gone_is_told(actions: HistoryActions) -> None:
    assert "problem" in actions.write_note({"run": "gone", "note": "x", "version": 0})
    assert "problem" in actions.tag_runs({"runs": ["gone"], "tag": "a", "what": "add"})
    assert "problem" in actions.read_note({"run": ".."})


@pytest.mark.skipif(sys.platform == "win32", reason="rights of folders are other ones there")
def test_a_note_in_a_folder_that_may_not_be_written_is_told(
    actions: HistoryActions, over: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("kohya_gui.jobs.notes.write_atomic", refuses)
    answer = actions.write_note({"run": over.id, "note": "x", "version": 0})
    assert "Permission denied" in answer["problem"]


def test_before_deleting_it_is_told_what_goes_and_what_stays(
    actions: HistoryActions, context: Context, over: RunFolder, tmp_path: Path
) -> None:
    inside, outside, state = (
        add_save(over, 10),
        tmp_path / "elsewhere.safetensors",
        over.state / "s",
    )
    outside.write_bytes(b"weights")
    state.mkdir()
    with EventWriter(over.events) as events:
        events.emit(SaveEvent(path=str(outside), step=20))
        events.emit(SaveEvent(path=str(state), step=20, kind="state"))
        events.emit(SaveEvent(path=str(over.output / "pruned.safetensors"), step=5))
    busy = make_run(context.workspace.path, "busy")
    loss = actions.runs_loss({"runs": [over.id, busy.id, "gone"]})
    assert loss["bytes"] > inside.stat().st_size
    assert (loss["weights"], loss["states"]) == ([inside.name], [state.name])
    assert loss["elsewhere"] == [str(outside)]
    assert loss["at_work"] == ["busy"]
    answer = actions.delete_runs({"runs": [over.id, busy.id]})
    assert "still at work" in answer["problem"]
    assert not over.path.exists()
    assert busy.path.exists()
    assert outside.exists()


def test_an_unfit_request_deletes_nothing(actions: HistoryActions, over: RunFolder) -> None:
    for request in (None, {}, {"runs": over.id}, {"runs": ["..", "", "."]}):
        actions.delete_runs(request)
    assert over.path.exists()
    assert os.listdir(over.path)


def test_names_of_server_functions_stay_as_the_scripts_call_them(context: Context) -> None:
    scripts = (Path(history_actions.__file__).parent.parent / "assets" / "js").glob("*.js")
    text = "\n".join(path.read_text("utf-8") for path in scripts)
    for function in [*run_functions(context), *HistoryActions(context).functions()]:
        assert f"server.{function.__name__}(" in text
