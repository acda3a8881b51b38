"""What the page of runs asks about many runs: pages of them, notes, tags, deleting."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kohya_gui.context import Context
from kohya_gui.forms.desk import Desk
from kohya_gui.pages import history_actions
from kohya_gui.pages.history_actions import HistoryActions
from kohya_gui.pages.run_actions import run_functions
from sd_scripts.dataset.decision_files import read_decisions
from sd_scripts.errors import Problem
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.toml_file import read_toml
from sd_scripts.runs.events import EndEvent, EventWriter, SaveEvent
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


def test_jobs_are_done_again_with_a_folder_of_their_own(
    actions: HistoryActions, context: Context
) -> None:
    context.queue.pause(True)
    needed = "pretrained_model_name_or_path = '/m.safetensors'\ntrain_data_dir = '/p'\n"
    run = make_run(context.workspace.path, "again", alive=False)
    run.config.write_text(f"{needed}output_dir = '{run.output}'\nseed = 5\n", "utf-8")
    assert actions.run_again({"runs": [run.id, "gone"]}) == {}
    [job] = context.queue.items()
    values = read_toml(job.request.config_toml)
    assert values["seed"] == 5
    assert "output_dir" not in values
    run.config.write_text("network_dim = 'x'", "utf-8")
    assert "network_dim" in actions.run_again({"runs": [run.id]})["problem"]
    assert len(context.queue.items()) == 1


def test_broken_pictures_are_left_out_by_a_decision_that_the_next_job_follows(
    actions: HistoryActions, context: Context, pictures: Path
) -> None:
    bad = pictures / "3_mycat cat" / "1.png"
    run = make_run(context.workspace.path, "bad", alive=False)
    needed = f"pretrained_model_name_or_path = '/m'\ntrain_data_dir = '{pictures}'\n"
    run.config.write_text(needed, "utf-8")
    problem = Problem(f"{bad} can't be read", "bad_images", "mend it")
    with EventWriter(run.events) as events:
        events.emit(EndEvent(status="failed", reason=problem.message, problems=(problem,)))
    shown = context.views.look({"run": run.id})["failure"]["remedies"][0]
    assert (shown["name"], shown["pictures"]) == ("pictures", ["1.png"])
    assert actions.leave_out({"run": run.id, "remedy": "pictures"}) == {}
    opened = Desk(context, TrainNetworkJob).begin({"from": run.id, "remedy": "pictures"})
    file = Path(str(opened.draft.values["picture_decisions"]))
    assert read_decisions(file).of(bad).exclude
    assert bad.exists()
    assert "problem" in actions.leave_out({"run": run.id, "remedy": "doctor"})


def test_sizes_are_told_largest_first(actions: HistoryActions, context: Context) -> None:
    small, large = (make_run(context.workspace.path, n, alive=False) for n in ("small", "large"))
    (large.output / "a").write_bytes(b"x" * 100_000)
    found = actions.run_sizes({})
    assert [row["id"] for row in found["runs"]] == [large.id, small.id]
    assert found["all_bytes"] > 100_000
    assert found["free_bytes"] > 0


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
