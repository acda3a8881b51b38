"""The trial run: its inputs, what it shows, and once for real."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.values import job_from_values
from sd_scripts.runs.events import EndEvent, SampleEvent, SaveEvent, StartEvent, StepEvent
from tests.setup.small_world import PROJECT
from tools import demo


def test_the_job_is_valid_and_its_pictures_have_captions(tmp_path: Path) -> None:
    job = job_from_values(TrainNetworkJob, demo.job_values(tmp_path, 7))
    assert job.training.max_train_steps == 7
    demo.draw_pictures(tmp_path / "pictures")
    pictures = sorted((tmp_path / "pictures" / "2_shape").glob("*.png"))
    assert len(pictures) == len(demo.PICTURES)
    for picture, (caption, background, _, _) in zip(pictures, demo.PICTURES, strict=True):
        assert picture.with_suffix(".txt").read_text(encoding="utf-8") == caption
        with Image.open(picture) as opened:
            assert opened.size == (demo.SIZE, demo.SIZE)
            centre, corner = opened.getpixel((64, 64)), opened.getpixel((0, 0))
        assert centre != corner
        assert corner == Image.new("RGB", (1, 1), background).getpixel((0, 0))


def start(total: int) -> StartEvent:
    return StartEvent(
        total_steps=total, num_epochs=1, num_images=6, family="sd1", trainable_parameters=1000
    )


def test_a_log_gets_a_line_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    progress = demo.Progress(live=False)
    progress.see(start(100))
    for step in range(1, 101):
        progress.see(StepEvent(step=step, epoch=1, loss=0.5, eta_seconds=float(100 - step)))
    bars = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert len(bars) == 11
    assert bars[-1].startswith(f"[{'#' * demo.BAR_WIDTH}] 100/100  loss 0.5000")
    assert "50 s left" in bars[5]


def test_a_terminal_gets_one_bar(capsys: pytest.CaptureFixture[str]) -> None:
    progress = demo.Progress(live=True)
    progress.see(start(4))
    for step in range(1, 5):
        progress.see(StepEvent(step=step, epoch=1, loss=0.5))
    out = capsys.readouterr().out
    assert out.count("\n") == 1, "only the line that tells the start"
    assert out.count("\r") == 5


def test_what_matters_at_the_end_is_remembered() -> None:
    progress = demo.Progress(live=False)
    progress.see(SaveEvent(path="/x/demo-state", step=4, kind="state"))
    progress.see(SaveEvent(path="/x/demo.safetensors", step=4))
    progress.see(EndEvent(status="finished"))
    assert progress.saved == [Path("/x/demo.safetensors")]
    assert progress.end is not None
    assert progress.end.status == "finished"


def test_first_and_last_sample_lie_side_by_side(tmp_path: Path) -> None:
    samples = []
    for step, colour in ((0, "red"), (5, "green"), (9, "blue")):
        path = tmp_path / f"{colour}.png"
        Image.new("RGB", (32, 16), colour).save(path)
        samples.append(SampleEvent(path=str(path), prompt="a", seed=1, step=step))
    sheet = tmp_path / "sheet.png"
    assert not demo.before_and_after(samples[:1], sheet)
    assert demo.before_and_after(samples, sheet)
    with Image.open(sheet) as picture:
        assert picture.getpixel((5, 30)) == (255, 0, 0)
        assert picture.getpixel((32 + 8 + 5, 30)) == (0, 0, 255)


def test_the_workspace_of_the_flag_wins() -> None:
    variable = {"KOHYA_GUI_WORKSPACE": "/b"}
    assert demo.choose_workspace(Path("/a"), variable) == Path("/a")
    assert demo.choose_workspace(None, variable) == Path("/b")
    assert demo.choose_workspace(None, {}) is None


@pytest.mark.launch
def test_the_trial_makes_a_lora_and_a_picture(tmp_path: Path) -> None:
    workspace = tmp_path / "Arbeit ü"
    command = [sys.executable, os.fspath(PROJECT / "tools" / "demo.py"), "--steps", "2"]
    done = subprocess.run(
        [*command, "--workspace", os.fspath(workspace)],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONUTF8": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2/2" in done.stdout
    lora = workspace / "demo" / "output" / "demo.safetensors"
    assert f"LoRA:             {lora}" in done.stdout
    assert lora.stat().st_size > 10_000
    with Image.open(workspace / "demo" / "before-after.png") as sheet:
        assert sheet.width == 2 * demo.SIZE + 8
    assert len(list((workspace / "runs").glob("demo-*"))) == 1, "the page lists the trial, too"
