"""What the guided page answers: mistakes in words with the way back, and a plan that can start."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from kohya_gui.context import Context
from kohya_gui.guided import workshop
from kohya_gui.guided.project import Projects
from kohya_gui.jobs.queue import JobQueue
from kohya_gui.pages.dataset_desk import DatasetDesk
from kohya_gui.pages.teach import TeachAnswers
from kohya_gui.pages.teach_training import TeachTraining
from kohya_gui.pages.teach_trying import TeachTrying
from kohya_gui.quick_gradio import gr
from kohya_gui.settings import Settings, save_settings
from sd_scripts.runs.events import EndEvent, EventWriter
from sd_scripts.shipped import STARTER_MODEL, STARTER_PICTURES
from tests.support.pages import add_save, make_run
from tests.support.patience import last_answer

_Usage = namedtuple("_Usage", "total used free")


@pytest.fixture
def robots(tmp_path: Path, context: Context) -> Path:
    """Three pictures of the robot with captions, where the page may look."""
    folder = tmp_path / "files" / "robots"
    folder.mkdir(parents=True)
    for file in sorted((STARTER_PICTURES / "robot").iterdir())[:6]:
        shutil.copy(file, folder)
    save_settings(context.workspace, Settings(roots=(str(tmp_path / "files"),)))
    return folder


@pytest.fixture
def answers(context: Context) -> TeachAnswers:
    return TeachAnswers(DatasetDesk(context, gr.Textbox(visible=False)))


@pytest.fixture
def training(context: Context) -> TeachTraining:
    return TeachTraining(context)


def begin(answers: TeachAnswers, **values: object) -> dict[str, Any]:
    project: dict[str, Any] = answers.teach_begin({"goal": "object"})["project"]
    if folder := values.pop("folder", None):
        ask = {"project": project["id"], "folder": str(folder)}
        project = answers.teach_folder(ask)["project"]
    given = {"project": project["id"], "revision": project["revision"], "values": values}
    found: dict[str, Any] = answers.teach_set(given)["project"]
    return found


def when_read(ask: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Ask until files have been looked at."""

    def answer() -> dict[str, Any]:
        found: dict[str, Any] = ask(request)
        return found

    return last_answer(answer, lambda found: not found.get("working"))


def ready(training: TeachTraining, project: dict[str, Any]) -> dict[str, Any]:
    return when_read(training.teach_ready, {"project": project["id"]})


def messages(answer: dict[str, Any]) -> str:
    return " ".join(one["message"] for one in answer["problems"])


def test_steps_open_as_they_are_answered(answers: TeachAnswers, robots: Path) -> None:
    project = begin(answers)
    assert project["open"] == ["goal", "pictures"]
    project = begin(answers, folder=robots)
    assert project["open"] == ["goal", "pictures", "words"]
    assert project["name"] == "robots"
    project = begin(answers, folder=robots, trigger="zwx")
    assert project["open"] == ["goal", "pictures", "words", "ready"]


def test_a_folder_that_is_not_there_or_out_of_bounds_is_told(
    answers: TeachAnswers, robots: Path, tmp_path: Path
) -> None:
    project = begin(answers)
    for folder in (robots / "nothing", tmp_path / "work" / ".." / "elsewhere", Path("/etc")):
        told = answers.teach_folder({"project": project["id"], "folder": str(folder)})
        assert told["problems"][0]["message"]
    assert answers.teach_open({"project": project["id"]})["project"]["folder"] == ""


def test_pictures_without_captions_and_a_folder_without_pictures_are_told(
    answers: TeachAnswers, robots: Path
) -> None:
    for file in robots.glob("*.txt"):
        file.unlink()
    project = begin(answers, folder=robots, trigger="zwx", kind="robot")
    told = when_read(answers.teach_words, {"project": project["id"]})
    assert (told["count"], told["captions"], told["few"]) == (3, 0, True)
    assert told["prefix"] == "zwx robot,"
    for file in robots.iterdir():
        file.unlink()
    project = begin(answers, folder=robots, name="empty")
    empty = robots / "inside"
    empty.mkdir()
    project = begin(answers, folder=empty)
    assert messages(when_read(answers.teach_words, {"project": project["id"]}))


def test_the_word_of_the_captions_is_suggested_and_no_file_is_changed(
    answers: TeachAnswers, robots: Path
) -> None:
    before = {file.name: file.read_bytes() for file in robots.iterdir()}
    project = begin(answers, folder=robots)
    told = when_read(answers.teach_words, {"project": project["id"]})
    assert (told["suggested"], told["captions"], told["count"]) == ("zwx", 3, 3)
    assert answers.teach_word({"word": "dog"})["tone"] == "warn"
    assert answers.teach_word({"word": ""})["tone"] == "bad"
    assert answers.teach_word({"word": "zwx"})["tone"] == "good"
    assert {file.name: file.read_bytes() for file in robots.iterdir()} == before


def test_a_page_that_writes_last_is_told(answers: TeachAnswers) -> None:
    project = begin(answers)
    seen = {"project": project["id"], "revision": project["revision"]}
    assert "project" in answers.teach_set({**seen, "values": {"name": "first"}})
    told = answers.teach_set({**seen, "values": {"name": "second"}})
    assert told["stale"]["name"] == "first"
    assert told["told"]


def test_only_answers_can_be_set(answers: TeachAnswers, context: Context) -> None:
    project = begin(answers)
    wrong = {"run": "x", "picked": "/etc/passwd", "changes": {"output_dir": "/"}, "folder": "/etc"}
    answers.teach_set({"project": project["id"], "values": {**wrong, "name": "cat"}})
    kept = Projects(context.workspace).load(project["id"])
    assert kept is not None
    assert (kept.run, kept.picked, kept.changes, kept.folder) == ("", "", {}, "")
    assert kept.name == "cat"
    assert answers.teach_open({"project": "../settings"})["problems"]


def test_three_cards_with_their_cost_and_what_exactly_runs(
    answers: TeachAnswers, training: TeachTraining, robots: Path
) -> None:
    project = begin(answers, folder=robots, trigger="zwx", model=str(STARTER_MODEL))
    told = ready(training, project)
    assert told["problems"] == []
    assert [one["card"] for one in told["cards"]] == ["quick", "good", "best"]
    assert [one["held"] for one in told["cards"]] == ["floor"] * 3
    shown = training.teach_plan({"project": project["id"], "card": "good"})
    steps = told["cards"][1]["steps"]
    assert f"max_train_steps = {steps}" in shown["toml"]
    assert shown["summary"][0].startswith(f"{steps} steps")
    assert "sd_scripts.train_network" in shown["command"]
    check = training.teach_check({"project": project["id"], "card": "good"})["check"]
    training.teach_check_end({"check": check})


def test_a_model_that_is_gone_is_told(
    answers: TeachAnswers, training: TeachTraining, robots: Path
) -> None:
    project = begin(answers, folder=robots, trigger="zwx", model=str(robots / "gone.safetensors"))
    told = ready(training, project)
    assert "gone.safetensors" in messages(told)
    assert told["cards"] == []
    assert training.teach_start({"project": project["id"], "card": "good"})["problems"]


def test_no_start_on_a_full_disk(
    answers: TeachAnswers,
    training: TeachTraining,
    robots: Path,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = begin(answers, folder=robots, trigger="zwx", model=str(STARTER_MODEL))
    monkeypatch.setattr(workshop.shutil, "disk_usage", lambda _: _Usage(10**12, 10**12, 1000))
    told = ready(training, project)
    assert not any(one["fits_disk"] for one in told["cards"])
    assert "disk" in messages(training.teach_start({"project": project["id"], "card": "good"}))
    assert context.store.list() == []


def test_a_start_waits_in_the_queue_and_is_found_when_it_begins(
    answers: TeachAnswers, training: TeachTraining, robots: Path, context: Context
) -> None:
    make_run(context.workspace.path, "busy")
    project = begin(answers, folder=robots, trigger="zwx", model=str(STARTER_MODEL))
    ready(training, project)
    seen = {"project": project["id"], "card": "quick", "revision": project["revision"]}
    assert training.teach_start(seen)["told"]
    assert "another window" in messages(training.teach_start(seen))
    assert len(context.queue.items()) == 1
    told = training.teach_watch({"project": project["id"]})
    assert told["run"] == ""
    assert "1" in told["waits"]
    queue: JobQueue = context.queue
    queue.remove(queue.items()[0].id)
    assert training.teach_watch({"project": project["id"]})["waits"] == ""


def test_captions_that_wait_in_the_queue_are_found_again(
    answers: TeachAnswers, robots: Path, context: Context
) -> None:
    make_run(context.workspace.path, "at work")
    project = begin(answers, folder=robots, trigger="zwx", kind="robot")
    ask = {"project": project["id"], "revision": project["revision"]}
    begun = answers.teach_caption(ask)
    (job,) = context.queue.items()
    assert begun["queued"] == job.id
    known = answers.teach_open(ask)["project"]
    assert (known["caption_queued"], known["caption_run"]) == (job.id, "")
    # A page that has not seen this yet begins no second job.
    assert answers.teach_caption(ask)["stale"]["caption_queued"] == job.id
    assert context.queue.items() == [job]


def test_results_are_picked_and_faults_prepare_the_next_run(
    answers: TeachAnswers, training: TeachTraining, robots: Path, context: Context
) -> None:
    project = begin(answers, folder=robots, trigger="zwx", model=str(STARTER_MODEL))
    run = make_run(context.workspace.path, "robots", alive=False)
    first = add_save(run, 10)
    with EventWriter(run.events) as events:
        events.emit(EndEvent(status="finished", reason="All done."))
    Projects(context.workspace).change(project["id"], {"run": run.id})
    ask = {"project": project["id"]}
    found = training.teach_results(ask)
    assert [one["step"] for one in found["checkpoints"]] == [10]
    assert (found["advice"], bool(found["reason"])) == (10, True)
    kept = Path(training.teach_pick({**ask, "step": 10})["picked"])
    assert kept.read_bytes() == first.read_bytes()
    assert kept.parent == context.workspace.path / "results"
    assert training.teach_pick({**ask, "step": 11})["problems"]
    shown = training.teach_again({**ask, "fault": "burnt"})
    rate = next(row for row in shown["rows"] if row["option"] == "learning_rate")
    assert (rate["before"], rate["after"]) == ("0.0015", "0.00075")
    assert training.teach_again({**ask, "fault": "burnt", "apply": True}) == {"step": "ready"}
    after = Projects(context.workspace).load(project["id"])
    assert after is not None
    assert after.changes["learning_rate"] == 0.00075
    assert training.teach_again({**ask, "fault": "boring"})["problems"]
    shutil.rmtree(run.path)
    assert training.teach_results(ask)["problems"][0]["hint"]


def test_a_trial_asks_for_words_and_does_not_disturb_a_training(
    answers: TeachAnswers, robots: Path, context: Context
) -> None:
    trying = TeachTrying(context)
    project = begin(answers, folder=robots, trigger="zwx", model=str(STARTER_MODEL))
    ask = {"project": project["id"], "prompt": "a zwx robot", "strength": 0.8, "seed": 1}
    assert trying.teach_try(ask)["problems"][0]["hint"]
    run = make_run(context.workspace.path, "busy")
    Projects(context.workspace).change(project["id"], {"run": run.id})
    assert trying.teach_try(ask)["problems"]  # nothing was saved yet
    add_save(run, 10)
    assert trying.teach_try({**ask, "prompt": " "})["problems"]
    assert "busy" in trying.teach_try(ask)["busy"]
    assert trying.teach_tried(ask) == {"state": "none"}
    assert trying.teach_try_end(ask) == {}
