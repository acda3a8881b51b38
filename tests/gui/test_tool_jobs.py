"""Jobs of the tools page: only what the page may read, and only files of the run that is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_gui.context import Context
from kohya_gui.pages.tools_jobs import ToolJobs
from kohya_gui.run_view import run_row
from kohya_gui.settings import Settings, save_settings
from sd_scripts.files import write_atomic
from sd_scripts.runs.events import EventWriter, PhaseEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.process import own_identity
from sd_scripts.runs.record import RunRecord, write_record
from tests.support.pages import make_run


@pytest.fixture
def jobs(context: Context, tmp_path: Path) -> ToolJobs:
    """The jobs, where only the folder “open” may be looked into."""
    (tmp_path / "open").mkdir()
    save_settings(context.workspace, Settings(roots=(str(tmp_path / "open"),)))
    return ToolJobs(context)


def test_a_file_elsewhere_is_not_read(jobs: ToolJobs, context: Context, tmp_path: Path) -> None:
    secret = tmp_path / "secret.safetensors"
    secret.touch()
    (tmp_path / "open" / "link.safetensors").symlink_to(secret)
    for path in (secret, tmp_path / "open" / "link.safetensors"):
        answer = jobs.slice_start({"raw": {"model": str(path), "unit": "1"}})
        assert "may look into" in answer["problems"][0]["message"]
    assert "problems" in jobs.slice_start({"raw": {"model": " "}})
    assert context.store.list() == []


def test_what_is_wrong_with_the_fields_is_told(jobs: ToolJobs, tmp_path: Path) -> None:
    model = tmp_path / "open" / "a.safetensors"
    model.touch()
    answer = jobs.slice_start({"raw": {"model": str(model), "unit": "none"}})
    assert len(answer["problems"]) == 1


def test_only_files_of_the_training_are_measured(jobs: ToolJobs, context: Context) -> None:
    run = make_run(context.workspace.path, "robot", alive=False)
    write_atomic(run.config, 'pretrained_model_name_or_path = "base.safetensors"\n')
    saved = run.output / "robot.safetensors"
    saved.touch()
    [offer] = jobs.rank_offers({})["runs"]
    assert offer["files"] == [{"path": str(saved), "name": "robot.safetensors"}]
    for data, key in (
        ({"run": run.id, "file": "/etc/passwd"}, "tools.file_gone"),
        ({"run": "../robot", "file": ""}, "tools.no_run"),
    ):
        [problem] = jobs.rank_start(data)["problems"]
        assert context.text(key) in problem["message"]


def test_pictures_whose_captions_help_least_come_first(jobs: ToolJobs, context: Context) -> None:
    run = make_run(context.workspace.path, "losses", alive=False)
    rows = [
        {"path": f"/elsewhere/{n}.png", "caption": "a", "loss": 0.1 * n, "caption_gain": gain}
        for n, gain in enumerate((0.2, -0.1, 0.0))
    ]
    write_atomic(run.output / "losses.json", json.dumps(rows))
    state = jobs.rank_state({"run": run.id})
    assert [one["name"] for one in state["pictures"]] == ["1.png", "2.png", "0.png"]
    # What the page may not look into is named, not shown.
    assert {(one["small"], one["folder"]) for one in state["pictures"]} == {(None, None)}


def test_a_job_tells_how_much_is_done(jobs: ToolJobs, context: Context) -> None:
    run = RunFolder.create(context.workspace.runs, "slices", "")
    write_record(run, RunRecord(name="slices", job="slice_dylora").with_process(own_identity()))
    with EventWriter(run.events) as events:
        events.emit(PhaseEvent(name="ranks", done=3, total=12))
    state = jobs.slice_state({"run": run.id})
    assert (state["active"], state["done"], state["total"]) == (True, 3, 12)
    [row] = [run_row(one, context.text) for one in context.store.list()]
    assert (row["fraction"], row["phase_done"], row["phase_total"]) == (0.25, 3, 12)
