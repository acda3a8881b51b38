"""What happens to machine and program while pages are open: told in words with a remedy, nothing
lost, and as soon as it is over all goes on."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kohya_gui import context as context_module
from kohya_gui.context import Context
from kohya_gui.forms import drafts as drafts_module
from kohya_gui.forms.form import default_raw
from kohya_gui.jobs import queue as queue_module
from kohya_gui.jobs.launch import JobRequest
from kohya_gui.locales import available_languages
from kohya_gui.locales.speaking import _asked
from kohya_gui.pages.run_actions import RunActions
from kohya_gui.pages.settings import Said, keep_settings
from kohya_gui.pages.training import TrainingPage
from kohya_gui.quick_gradio import gr
from kohya_gui.reasons import failure, reason
from kohya_gui.settings import save_settings
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.runs.folder import RunFolder
from tests.support.pages import add_steps, make_run
from tests.support.patience import eventually

FULL = OSError(errno.ENOSPC, "No space left on device", "a file")


@pytest.fixture
def actions(context: Context) -> RunActions:
    return RunActions(context)


@pytest.fixture
def run(context: Context) -> RunFolder:
    return make_run(context.workspace.path, "mycat")


def refuse(*_: object, **__: object) -> None:
    raise FULL


@pytest.mark.parametrize("language", available_languages())
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.ENOENT, errno.EIO])
def test_what_the_system_says_is_told_with_a_remedy(number: int, language: str) -> None:
    error = OSError(number, "in the system's words", "a file")
    before = _asked.set(language)
    try:
        assert "in the system's words" not in reason(error)
        assert reason(error) in failure(error)
    finally:
        _asked.reset(before)


def test_what_was_meant_for_people_stays_as_it_is() -> None:
    assert failure(UserError("Choose a folder.")) == "Choose a folder."
    assert reason(OSError(errno.EFBIG, "File too large")) == "File too large"
    assert "free some space" in failure(FULL)


def test_a_form_that_cannot_be_kept_says_so_until_it_can(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = TrainingPage(context, TrainNetworkJob)
    with gr.Blocks(analytics_enabled=False):
        page.build()

    def typed(name: str) -> Any:
        raw = {**default_raw(TrainNetworkJob), "output_name": name}
        return json.loads(page._on_edit("0" * 16, "", *(raw[one] for one in page._form.names)))

    with monkeypatch.context() as disk:
        disk.setattr(drafts_module, "write_atomic", refuse)
        notice = typed("first")["notice"]
    assert notice["bad"]
    assert notice["until_kept"]
    assert "free some space" in notice["text"]
    assert "notice" not in typed("second")
    draft = context.drafts.load("0" * 16, TrainNetworkJob.name)
    assert draft is not None
    assert draft.values["output_name"] == "second"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue looks often."""
    monkeypatch.setattr(context_module, "QUEUE_SECONDS", 0.02)


@pytest.mark.parametrize("fault", [FULL, UserError("It is damaged."), ZeroDivisionError("x")])
def test_a_queue_that_is_stuck_is_told_and_goes_on_by_itself(
    quick: None,
    fault: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    context = context_module.make_context(tmp_path / "work", None)
    try:
        make_run(context.workspace.path, "busy")
        request = JobRequest(job_name="train_network", config_toml="", name="waits")
        context.queue.add([request])
        actions = RunActions(context)
        assert actions.overview()["problem"] is None

        def fail() -> None:
            raise fault

        with monkeypatch.context() as ill:
            ill.setattr(context.queue, "advance", fail)
            assert eventually(lambda: actions.overview()["problem"] is not None)
            problem = actions.overview()["problem"]
        assert reason(fault) in problem
        assert eventually(lambda: actions.overview()["problem"] is None)
        assert len(context.queue.items()) == 1
        assert "queue: " in capsys.readouterr().err
    finally:
        context.close()


def test_a_full_disk_changes_nothing_in_the_queue(
    actions: RunActions, context: Context, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = JobRequest(job_name="train_network", config_toml="", name="waits")
    [job] = context.queue.add([request])
    before = context.queue.content()
    monkeypatch.setattr(queue_module, "write_atomic", refuse)
    for what in ("remove", "pause"):
        answer = actions.queue_action({"what": what, "id": job.id})
        assert "free some space" in answer["problem"]
    assert context.queue.content() == before


def test_a_run_that_is_deleted_while_it_is_looked_at(actions: RunActions, run: RunFolder) -> None:
    first = actions.look_run({"run": run.id})
    assert first["state"] == "running"
    shutil.rmtree(run.path)
    assert actions.look_run({"run": run.id, "stamp": first["stamp"]})["missing"]
    assert "no such run" in actions.ask_run({"run": run.id, "what": "stop"})["problem"]
    assert not run.path.exists()


@pytest.mark.parametrize("name", ["events.jsonl", "train.log"])
def test_files_of_a_run_that_cannot_be_read_hide_nothing_else(
    actions: RunActions, run: RunFolder, name: str
) -> None:
    first = actions.look_run({"run": run.id})
    (run.path / name).unlink()
    (run.path / name).mkdir()
    ill = actions.look_run({"run": run.id, "stamp": first["stamp"]})
    assert "cannot be read" in ill["unreadable"]
    assert ill["name"] == "mycat"
    assert ill["data"]["chart"]["loss"] == first["data"]["chart"]["loss"]
    (run.path / name).rmdir()
    add_steps(run, 31, 40)
    well = actions.look_run({"run": run.id, "stamp": ill["stamp"]})
    assert "unreadable" not in well
    assert "data" in well


def test_a_request_that_cannot_be_written_is_told(actions: RunActions, run: RunFolder) -> None:
    shutil.rmtree(run.control)
    run.control.write_text("a file where the folder was")
    assert actions.ask_run({"run": run.id, "what": "stop"})["problem"]


def kept(context: Context, before: str, **changes: object) -> Said:
    now = json.loads(before)
    names = ("tier", "language", "roots", "when_busy", "allow_hub", "webhook", "processes")
    return keep_settings(context, {**{name: now[name] for name in names}, **changes}, before)


def test_of_two_tabs_with_settings_none_undoes_what_the_other_did(context: Context) -> None:
    before = context.settings().model_dump_json()
    assert kept(context, before, tier="expert").boxes is not None
    shown = kept(context, before, when_busy="refuse").boxes
    now = context.settings()
    assert (now.tier, now.when_busy) == ("expert", "refuse")
    assert shown == now


def test_of_two_tabs_with_the_same_setting_the_later_one_is_told(context: Context) -> None:
    before = context.settings().model_dump_json()
    theirs = context.settings().model_copy(update={"tier": "expert", "allow_hub": True})
    save_settings(context.workspace, theirs)
    said = kept(context, before, tier="advanced")
    assert "kg-bad" in said.markup
    assert context.settings() == theirs
    # the boxes keep what was chosen here, and show the rest as it is now
    assert said.boxes == theirs.model_copy(update={"tier": "advanced"})
    again = kept(context, theirs.model_dump_json(), tier="advanced", allow_hub=True)
    assert "kg-good" in again.markup
    assert context.settings() == said.boxes
