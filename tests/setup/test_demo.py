"""The trial run: its inputs, what it shows, and once for real."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from kohya_gui.jobs.machine import Machine
from kohya_gui.workspace import open_workspace
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import JOBS, TrainNetworkJob
from sd_scripts.options.values import job_from_values
from sd_scripts.runs.events import SaveEvent, StartEvent, StepEvent
from sd_scripts.runs.folder import RunFolder
from tests.setup.small_world import PROJECT
from tests.support.patience import eventually
from tools import demo
from tools.demo_progress import BAR_WIDTH, Progress
from tools.starter.scenes import SUBJECTS
from tools.starter.trial import Scores


def test_the_jobs_are_valid_and_the_starter_has_their_pictures(tmp_path: Path) -> None:
    pictures = demo.copy_pictures(tmp_path)
    training = job_from_values(TrainNetworkJob, demo.train_values(tmp_path, 7))
    assert training.training.max_train_steps == 7
    for name, values in (
        ("tag_images_by_wd14_tagger", demo.tag_values(pictures)),
        ("make_captions", demo.caption_values(pictures)),
    ):
        assert job_from_values(JOBS[name], values)
    assert len(list(pictures.glob("*.png"))) == 16
    assert not list(pictures.glob("*.txt")), "the trial writes the captions itself"
    known = list((tmp_path / "class" / "1_thing").glob("*.png"))
    assert len(known) == len(SUBJECTS)
    assert all(picture.with_suffix(".txt").is_file() for picture in known)


@pytest.mark.parametrize("num_processes", [1, 2])
def test_processes_see_as_many_pictures_in_a_step_together(
    num_processes: int, tmp_path: Path
) -> None:
    values = demo.train_values(tmp_path, num_processes=num_processes)
    assert values["train_batch_size"] == demo.RECIPE["train_batch_size"] / num_processes  # type: ignore[operator]
    assert values["max_train_steps"] == demo.RECIPE["max_train_steps"]


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (Machine("processor", "", 1, 1, cores=1), 1),
        (Machine("processor", "", 1, 1, cores=8), 2),
        (Machine("nvidia", "", 1, 1, cores=8), 1),
    ],
)
def test_a_training_on_a_processor_is_shared_out_among_two_cores(
    machine: Machine, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "look_at_machine", lambda: machine)
    assert demo.processes_here().num_processes == expected


def test_the_trigger_takes_the_place_of_the_wider_word(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("small, red background\na small thing\n", encoding="utf-8")
    demo.add_trigger(tmp_path)
    lines = (tmp_path / "1.txt").read_text(encoding="utf-8").splitlines()
    assert lines == ["zwx, small, red background", "a small zwx"]


@pytest.mark.parametrize(
    ("scores", "good"),
    [(Scores(0.8, 0.0, 0.9, 0.85), True), (Scores(0.6, 0.0, 0.9, 0.9), False),
     (Scores(0.8, 0.2, 0.9, 0.9), False), (Scores(0.8, 0.0, 0.9, 0.7), False)],
)  # fmt: skip
def test_the_verdict_is_told_in_words(
    scores: Scores, good: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.tell(scores) is good
    told = capsys.readouterr().out
    assert f"{scores.with_trigger:.0%}" in told
    assert ("✗" not in told) is good


def start(total: int) -> StartEvent:
    return StartEvent(
        total_steps=total, num_epochs=1, num_images=6, family="sd1", trainable_parameters=1000
    )


def test_a_log_gets_a_line_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(False, RunFolder(Path("run")))
    progress.see(start(100))
    for step in range(1, 101):
        progress.see(StepEvent(step=step, epoch=1, loss=0.5, eta_seconds=float(100 - step)))
    bars = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert len(bars) == 11
    assert bars[-1].startswith(f"[{'#' * BAR_WIDTH}] 100/100  loss 0.5000")
    assert "50 s left" in bars[5]


def test_a_terminal_gets_one_bar(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(True, RunFolder(Path("run")))
    progress.see(start(4))
    for step in range(1, 5):
        progress.see(StepEvent(step=step, epoch=1, loss=0.5))
    out = capsys.readouterr().out
    assert out.count("\n") == 1, "only the line that tells the start"
    assert out.count("\r") == 5


def test_the_weights_that_were_saved_are_remembered() -> None:
    progress = Progress(False, RunFolder(Path("run")))
    progress.see(SaveEvent(path="/x/demo-state", step=4, kind="state"))
    progress.see(SaveEvent(path="/x/demo.safetensors", step=4))
    assert progress.saved == [Path("/x/demo.safetensors")]


def test_the_workspace_of_the_flag_wins() -> None:
    variable = {"KOHYA_GUI_WORKSPACE": "/b"}
    assert demo.choose_workspace(Path("/a"), variable) == Path("/a")
    assert demo.choose_workspace(None, variable) == Path("/b")
    assert demo.choose_workspace(None, {}) is None


def test_what_fails_beside_the_painting_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted: list[bool] = []

    def paint_on(pictures: int, should_stop: Callable[[], bool]) -> None:
        painted.append(eventually(should_stop))

    def fail(*_: object) -> None:
        raise UserError("There is no tagger.")

    monkeypatch.setattr(demo, "look_before", paint_on)
    monkeypatch.setattr(demo, "do_job", fail)
    with pytest.raises(UserError, match="no tagger"):
        demo.look_and_describe(open_workspace(tmp_path / "work"), tmp_path, 2)
    assert painted == [True]


@pytest.mark.launch
def test_the_trial_makes_a_lora_and_a_picture(tmp_path: Path) -> None:
    workspace = tmp_path / "Arbeit ü"
    command = [
        sys.executable,
        os.fspath(PROJECT / "tools" / "demo.py"),
        "--steps",
        "1",
        "--pictures",
        "2",
    ]
    done = subprocess.run(
        [*command, "--workspace", os.fspath(workspace)],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONUTF8": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1/1" in done.stdout
    lora = workspace / "demo" / "output" / "demo.safetensors"
    assert f"LoRA:             {lora}" in done.stdout
    assert lora.stat().st_size > 10_000
    with Image.open(workspace / "demo" / "before-after.png") as sheet:
        assert sheet.height > 3 * 128
    assert "The judge's verdict" in done.stdout
    assert len(list((workspace / "runs").glob("demo-*"))) == 3, "the page lists its jobs, too"
