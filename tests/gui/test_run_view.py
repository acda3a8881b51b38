"""The run view's data: what changed since the last look, and no file but the run's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from kohya_gui.context import Context
from kohya_gui.run_view import run_row
from kohya_gui.thumbnails import SIDE, Thumbnails
from sd_scripts.errors import Problem
from sd_scripts.runs.events import (
    EndEvent,
    EventWriter,
    SampleEvent,
    SaveEvent,
    StartEvent,
    StepEvent,
    WarningEvent,
)
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.process import own_identity
from sd_scripts.runs.record import RunRecord, write_record


@pytest.fixture
def run(context: Context) -> RunFolder:
    """A run of this very process: it counts as at work."""
    folder = RunFolder.create(context.workspace.runs, "mycat", "")
    record = RunRecord(name="mycat", job="train_network", argv=("a", "b"))
    write_record(folder, record.with_process(own_identity()))
    with EventWriter(folder.events) as events:
        events.emit(
            StartEvent(
                total_steps=100,
                num_epochs=2,
                num_images=60,
                family="sd1",
                trainable_parameters=1000,
                output_dir=str(folder.output),
            )
        )
        for step in range(1, 31):
            rate = {"unet": 1e-4, "text_encoder": 5e-5}
            events.emit(
                StepEvent(
                    step=step,
                    epoch=1,
                    loss=1.0 / step,
                    lr=rate,
                    seconds_per_step=0.5,
                    eta_seconds=35,
                )
            )
    folder.log.write_bytes("".join(f"line {n}\n" for n in range(50)).encode())
    return folder


def test_a_look_tells_how_the_run_stands(context: Context, run: RunFolder) -> None:
    look = context.views.look({"run": run.id})
    assert (look["state"], look["step"], look["total_steps"]) == ("running", 30, 100)
    assert (look["seconds_per_step"], look["eta_seconds"]) == (0.5, 35)
    assert look["argv"] == ["a", "b"]
    chart = look["data"]["chart"]
    assert chart["loss"]["x"] == list(range(1, 31))
    assert chart["loss"]["y"][1] == 0.5
    assert set(chart["rates"]) == {"unet", "text_encoder"}


def test_what_did_not_change_is_not_sent_again(context: Context, run: RunFolder) -> None:
    first = context.views.look({"run": run.id})
    again = context.views.look({"run": run.id, "stamp": first["stamp"], "log_from": 50})
    assert "data" not in again
    assert again["log"]["lines"] == []
    with EventWriter(run.events) as events:
        events.emit(WarningEvent(text="careful", hint="do", option="seed"))
    later = context.views.look({"run": run.id, "stamp": first["stamp"], "log_from": 50})
    assert later["data"]["warnings"] == [{"text": "careful", "hint": "do", "option": "seed"}]


def test_the_log_goes_on_where_the_page_is(context: Context, run: RunFolder) -> None:
    log = context.views.look({"run": run.id, "log_from": 48})["log"]
    assert (log["from"], log["lines"]) == (48, ["line 48", "line 49"])
    with open(run.log, "ab") as file:
        file.write(b"step 1\rstep 2")
    log = context.views.look({"run": run.id, "log_from": 49})["log"]
    assert log["lines"] == ["line 49", "step 2"]


def test_a_log_that_was_replaced_is_sent_whole(context: Context, run: RunFolder) -> None:
    context.views.look({"run": run.id})
    run.log.write_bytes(b"anew\n")
    log = context.views.look({"run": run.id, "log_from": 49})["log"]
    assert (log["from"], log["lines"]) == (0, ["anew"])


def test_two_pages_get_the_same_however_often_they_look(context: Context, run: RunFolder) -> None:
    one = context.views.look({"run": run.id})
    other = context.views.look({"run": run.id})
    assert one["data"] == other["data"]
    assert one["log"] == other["log"]


@pytest.mark.parametrize("wish", [None, {}, {"run": "../.."}, {"run": 3}, {"run": "none"}, "x"])
def test_a_run_that_is_none_is_told(context: Context, run: RunFolder, wish: object) -> None:
    assert context.views.look(wish)["missing"]


def test_samples_get_small_copies_and_stay_inside_the_run(
    context: Context, run: RunFolder, tmp_path: Path
) -> None:
    picture = run.samples / "000010_00.png"
    Image.new("RGB", (512, 512), "red").save(picture)
    outside = tmp_path / "private.png"
    Image.new("RGB", (8, 8)).save(outside)
    os.symlink(outside, run.samples / "link.png")
    with EventWriter(run.events) as events:
        for path in (str(picture), "samples/000010_00.png", str(outside), "samples/link.png"):
            events.emit(SampleEvent(path=path, prompt="a cat", seed=1, step=10))
        events.emit(SampleEvent(path="samples/gone.png", prompt="a cat", seed=1, step=20))
    samples = context.views.look({"run": run.id})["data"]["samples"]
    assert [sample["file"] for sample in samples] == [str(picture), str(picture), None, None, None]
    with Image.open(samples[0]["small"]) as small:
        assert small.size == (SIDE, SIDE)
    assert Path(samples[0]["small"]).parent == context.thumbnails


def test_saved_files_are_told_with_their_size(
    context: Context, run: RunFolder, tmp_path: Path
) -> None:
    inside, outside = run.output / "a.safetensors", tmp_path / "b.safetensors"
    inside.write_bytes(b"12345")
    outside.write_bytes(b"123")
    with EventWriter(run.events) as events:
        for path in (inside, outside, run.output / "pruned.safetensors"):
            events.emit(SaveEvent(path=str(path), step=10))
    saves = context.views.look({"run": run.id})["data"]["saves"]
    assert [(save["bytes"], save["there"], save["servable"]) for save in saves] == [
        (5, True, True),
        (3, True, False),
        (None, False, False),
    ]


def test_a_failure_comes_with_its_problems(context: Context, run: RunFolder) -> None:
    problem = Problem("too large", "train_batch_size", "set train_batch_size to 1")
    with EventWriter(run.events) as events:
        events.emit(EndEvent(status="failed", reason="It failed", hint="h", problems=(problem,)))
    look = context.views.look({"run": run.id})
    assert look["state"] == "failed"
    assert look["problems"][0]["option"] == "train_batch_size"
    assert look["hint"] == "h"


def test_rows_of_the_list_are_plain_data(context: Context, run: RunFolder) -> None:
    (summary,) = context.store.list()
    row = run_row(summary, context.text)
    assert (row["id"], row["name"], row["fraction"]) == (run.id, "mycat", 0.3)
    assert row["state_text"] == "running"


def test_a_picture_that_is_none_has_no_small_copy(tmp_path: Path) -> None:
    broken = tmp_path / "half.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n half")
    thumbnails = Thumbnails(tmp_path / "small")
    assert thumbnails.make(broken) is None
    assert thumbnails.find(broken) is None
    assert thumbnails.make(tmp_path / "none.png") is None


def test_a_picture_that_changed_gets_a_new_small_copy(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    Image.new("RGB", (64, 64), "red").save(picture)
    thumbnails = Thumbnails(tmp_path / "small")
    first = thumbnails.make(picture)
    assert thumbnails.find(picture) == first
    Image.new("RGB", (600, 32), "blue").save(picture)
    second = thumbnails.make(picture)
    assert second is not None
    assert second != first
    with Image.open(second) as small:
        assert small.width == SIDE


def test_only_formats_of_pictures_reach_a_decoder(tmp_path: Path) -> None:
    picture = tmp_path / "named.png"
    Image.new("RGB", (8, 8)).save(picture, "TIFF")
    assert Thumbnails(tmp_path / "small").make(picture) is None
