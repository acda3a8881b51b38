"""Events: what is written is read, whatever happens to the file in between."""

from __future__ import annotations

import errno
import json
import math
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.errors import Problem
from sd_scripts.runs import events
from sd_scripts.runs.events import (
    EVENT_TYPES,
    BaseEvent,
    CaptionEvent,
    ControlEvent,
    EndEvent,
    Event,
    EventWriter,
    OrderEvent,
    PhaseEvent,
    SampleEvent,
    SaveEvent,
    StartEvent,
    StepEvent,
    UnknownEvent,
    ValidationEvent,
    WarningEvent,
    read_events,
)

START = StartEvent(
    total_steps=10, num_epochs=2, num_images=5, family="sdxl", trainable_parameters=7, name="ü"
)
ONE_OF_EACH: tuple[Event, ...] = (
    START,
    PhaseEvent(name="latents", done=3, total=12, text="Encoding pictures"),
    StepEvent(step=1, epoch=1, loss=0.25, lr={"unet": 1e-4, "text_encoder": 0.0}),
    ValidationEvent(step=1, epoch=1, loss=0.5, losses={"held_out": 0.5}),
    CaptionEvent(picture="/p/猫.png", text="a cat\nin two lines", kept=False),
    SampleEvent(path="/p/猫.png", prompt='a "cat"\nin two lines', seed=None, step=1, index=2),
    OrderEvent(order="one", state="failed", total=3, problems=(Problem("bad", "networks"),)),
    SaveEvent(path="/p/x.safetensors", step=1),
    WarningEvent(text="slow", hint="wait", option="seed"),
    ControlEvent(request="stop", state="accepted"),
    EndEvent(status="failed", reason="no", problems=(Problem("bad", "seed", "mend it"),)),
)


def test_every_type_is_covered() -> None:
    assert {event.type for event in ONE_OF_EACH} == set(EVENT_TYPES)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:
        for event in ONE_OF_EACH:
            writer.emit(event)
    found, offset = read_events(path)
    assert tuple(found) == ONE_OF_EACH
    assert offset == path.stat().st_size
    for line, event in zip(path.read_bytes().splitlines(), ONE_OF_EACH, strict=True):
        # Readers that are in a hurry look for this beginning.
        assert line.startswith(f'{{"type":"{event.type}",'.encode())
        assert json.loads(line)["time"] == event.time


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_stays_what_it_is_in_valid_json(
    tmp_path: Path, loss: float
) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:
        writer.emit(StepEvent(step=1, epoch=1, loss=loss))

    def refuse(text: str) -> float:
        raise AssertionError(f"{text} is no JSON")

    json.loads(path.read_bytes(), parse_constant=refuse)
    [step] = read_events(path)[0]
    assert isinstance(step, StepEvent)
    assert str(step.loss) == str(loss)


def test_no_file_has_no_events(tmp_path: Path) -> None:
    assert read_events(tmp_path / "missing") == ([], 0)


@given(cuts=st.lists(st.integers(0, 2000), max_size=6))
def test_reading_by_offset_gives_each_event_once(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    data = b"".join(event.model_dump_json().encode() + b"\n" for event in ONE_OF_EACH)
    path = tmp_path_factory.mktemp("cut") / "events.jsonl"
    found: list[Event] = []
    offset = 0
    for cut in [*sorted(cuts), len(data)]:
        path.write_bytes(data[:cut])
        new, offset = read_events(path, offset)
        found += new
    assert tuple(found) == ONE_OF_EACH


def test_a_half_written_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    line = START.model_dump_json().encode()
    path.write_bytes(line[:20])
    assert read_events(path) == ([], 0)
    path.write_bytes(line + b"\n")
    assert read_events(path)[0] == [START]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 50,
        b"{not json",
        b"[1, 2]",
        b'"text"',
        b"\xff\xfe",
        b"null",
        b'{"type": "step", "step": "many"}',
        b'{"type": 7}',
        b"[" * 5000,
    ],
)
def test_garbage_is_told_and_the_rest_is_read(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "events.jsonl"
    line = START.model_dump_json().encode()
    path.write_bytes(line + b"\n" + garbage + b"\n\n" + line + b"\n")
    first, told, second = read_events(path)[0]
    assert first == second == START
    assert isinstance(told, WarningEvent)
    assert "could not be read" in told.text
    assert len(told.text) < 700


def test_an_event_of_a_newer_version_is_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"type": "heartbeat", "time": 5.0, "pulse": 60}\n')
    [event] = read_events(path)[0]
    assert isinstance(event, UnknownEvent)
    assert (event.type, event.time, event.data["pulse"]) == ("heartbeat", 5.0, 60)


def test_new_fields_of_a_known_event_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    data = START.model_dump(mode="json") | {"colour": "blue"}
    path.write_text(json.dumps(data) + "\n")
    assert read_events(path)[0] == [START]


def test_a_replaced_file_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(START.model_dump_json() + "\n")
    assert read_events(path, offset=100_000)[0] == [START]


def test_a_line_torn_by_a_dead_process_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(START.model_dump_json().encode()[:30])
    with EventWriter(path) as writer:
        writer.emit(START)
    torn, whole = read_events(path)[0]
    assert isinstance(torn, WarningEvent)
    assert whole == START


def test_threads_do_not_mix_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:

        def emit(number: int) -> None:
            for step in range(200):
                writer.emit(StepEvent(step=step, epoch=number, loss=0.1))

        threads = [threading.Thread(target=emit, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found, _ = read_events(path)
    assert len(found) == 800
    for number in range(4):
        mine = [e.step for e in found if isinstance(e, StepEvent) and e.epoch == number]
        assert mine == list(range(200))


class FullDisk:
    """Stands in for `os.write`: refuses while `full`, or writes only a part of the line."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.part: int | None = None
        self._write = os.write
        monkeypatch.setattr(events.os, "write", self)

    def __call__(self, handle: int, data: bytes) -> int:
        if self.part is not None:
            return self._write(handle, data[: self.part])
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._write(handle, data)


def test_a_full_disk_loses_steps_only_and_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "events.jsonl"
    disk = FullDisk(monkeypatch)
    save = SaveEvent(path="x", step=2)
    with EventWriter(path) as writer:
        writer.emit(START)
        disk.full = True
        for step in (1, 2):
            writer.emit(StepEvent(step=step, epoch=1, loss=1.0))
        writer.emit(save)
        disk.full = False
        last = StepEvent(step=3, epoch=1, loss=1.0)
        writer.emit(last)
    start, saved, warning, step = read_events(path)[0]
    assert (start, saved, step) == (START, save, last)
    assert isinstance(warning, WarningEvent)
    assert warning.text.startswith("2 progress messages")
    assert capsys.readouterr().err.count("cannot be written") == 1


@pytest.mark.parametrize("event", [START, EndEvent(status="finished")])
def test_start_and_end_are_not_lost_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: BaseEvent
) -> None:
    disk = FullDisk(monkeypatch)
    with EventWriter(tmp_path / "events.jsonl") as writer:
        disk.full = True
        with pytest.raises(OSError, match="No space left"):
            writer.emit(event)


def test_a_line_of_which_only_a_part_fitted_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    disk = FullDisk(monkeypatch)
    save = SaveEvent(path="x", step=1)
    with EventWriter(path) as writer:
        disk.part = 10
        writer.emit(save)
        disk.part = None
        writer.emit(START)
    torn, saved, start = read_events(path)[0]
    assert isinstance(torn, WarningEvent)
    assert (saved, start) == (save, START)


def test_a_closed_writer_says_so(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "events.jsonl")
    writer.close()
    with pytest.raises(OSError, match="closed"):
        writer.emit(START)
