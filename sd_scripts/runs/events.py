"""What a trainer tells while it runs: one JSON object a line, written whole and read by offset."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sd_scripts.errors import Problem


class BaseEvent(BaseModel):
    """Common to all events: `type`, and `time` in Unix seconds. Unknown fields are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")

    type: str
    time: float = Field(default_factory=time.time)


class StartEvent(BaseEvent):
    """The work is planned and training begins (again, when `resumed_step` is above 0)."""

    type: Literal["start"] = "start"
    total_steps: int
    num_epochs: int
    num_images: int
    family: str
    trainable_parameters: int
    name: str = ""
    resumed_step: int = 0
    output_dir: str = ""


class PhaseEvent(BaseEvent):
    """What long work is going on outside the steps: `done` of `total` (None = not known)."""

    type: Literal["phase"] = "phase"
    name: str
    done: float = 0
    total: float | None = None
    text: str = ""


class StepEvent(BaseEvent):
    """One optimizer step is done; `lr` by parameter group; times in seconds.

    `more` is what the method has to tell, such as `max_norm/keys_scaled`.
    """

    type: Literal["step"] = "step"
    step: int
    epoch: int
    loss: float
    lr: dict[str, float] = Field(default_factory=dict)
    seconds_per_step: float | None = None
    eta_seconds: float | None = None
    more: dict[str, float] = Field(default_factory=dict)


class ValidationEvent(BaseEvent):
    """The loss on pictures that are not trained on, in all and by name of the set."""

    type: Literal["validation"] = "validation"
    step: int
    epoch: int
    loss: float
    losses: dict[str, float] = Field(default_factory=dict)


class SampleEvent(BaseEvent):
    """A preview picture is written; `index` is the number of its prompt, from 0.

    Of a picture that was ordered, `order` is the order and `seconds` the time it took.
    """

    type: Literal["sample"] = "sample"
    path: str
    prompt: str
    seed: int | None
    step: int
    index: int = 0
    order: str = ""
    seconds: float | None = None


class SaveEvent(BaseEvent):
    """A trained file (`weights`) or a training state for resuming (`state`) is written whole."""

    type: Literal["save"] = "save"
    path: str
    step: int
    kind: Literal["weights", "state"] = "weights"


class CaptionEvent(BaseEvent):
    """A text was found for a picture; `kept` tells whether it could be written."""

    type: Literal["caption"] = "caption"
    picture: str
    text: str
    kept: bool = True


class OrderEvent(BaseEvent):
    """How an order of pictures stands: `done` of `total` are painted.

    `accepted`: it was read; `painting`: one more is painted; `done`, `failed` (with every problem),
    `cancelled` (as was asked) and `stopped` (the process ends before it is done) end it.
    """

    type: Literal["order"] = "order"
    order: str
    state: Literal["accepted", "painting", "done", "failed", "cancelled", "stopped"]
    done: int = 0
    total: int = 0
    problems: tuple[Problem, ...] = ()


class WarningEvent(BaseEvent):
    """Something the user should know and the run goes on."""

    type: Literal["warning"] = "warning"
    text: str
    hint: str | None = None
    option: str | None = None


class ControlEvent(BaseEvent):
    """A request file was seen (`accepted`) and what it asks for was done (`done`)."""

    type: Literal["control"] = "control"
    request: str
    state: Literal["accepted", "done"]


class EndEvent(BaseEvent):
    """The last event of a run that could still speak."""

    type: Literal["end"] = "end"
    status: Literal["finished", "stopped", "failed"]
    reason: str = ""
    hint: str | None = None
    problems: tuple[Problem, ...] = ()


class UnknownEvent(BaseEvent):
    """An event of a type this version does not know, as a newer trainer may write it."""

    data: dict[str, Any] = Field(default_factory=dict)


KnownEvent = (
    StartEvent
    | PhaseEvent
    | StepEvent
    | ValidationEvent
    | SampleEvent
    | SaveEvent
    | CaptionEvent
    | OrderEvent
    | WarningEvent
    | ControlEvent
    | EndEvent
)
Event = KnownEvent | UnknownEvent

EVENT_TYPES: Final = (
    "start",
    "phase",
    "step",
    "validation",
    "sample",
    "save",
    "caption",
    "order",
    "warning",
    "control",
    "end",
)
_ADAPTER: Final[TypeAdapter[KnownEvent]] = TypeAdapter(
    Annotated[KnownEvent, Field(discriminator="type")]
)
_READ_LIMIT: Final = 64 * 1024 * 1024


def parse_event(line: bytes, time_before: float = 0.0) -> Event:
    """Read one line. What is no event becomes a `WarningEvent` of `time_before`, never an error."""
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError:
        pass  # told below: either newer than this version, or broken
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict):
        kind = data.get("type")
        moment = data.get("time")
        if isinstance(kind, str) and kind not in EVENT_TYPES:
            known_time = moment if isinstance(moment, int | float) else time_before
            return UnknownEvent(type=kind, time=known_time, data=data)
    shown = line[:120].decode("utf-8", "replace").replace("\x00", "")
    return WarningEvent(
        time=time_before,
        text=f"A line of events.jsonl could not be read and was passed over: {shown!r}",
        hint="This happens after a power cut or a full disk; the rest of the run is not affected.",
    )


def read_events(path: Path, offset: int = 0) -> tuple[list[Event], int]:
    """Return the events from byte `offset` on and the offset to go on from.

    A last line that is not finished yet is left for the next call. A missing file has no events.
    When the file is shorter than `offset` (replaced by hand), reading begins at its start again.
    At most 64 MiB are read at once: call again until nothing comes. Raises `OSError` otherwise.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = offset if offset <= size else 0
            file.seek(start)
            block = file.read(_READ_LIMIT)
    except FileNotFoundError:
        return [], 0
    end = block.rfind(b"\n") + 1
    if end == 0:
        # A single line above the limit cannot be an event of ours: step over what was read.
        return [], start + (len(block) if len(block) == _READ_LIMIT else 0)
    events: list[Event] = []
    moment = 0.0
    for line in block[:end].split(b"\n"):
        if line.strip():
            event = parse_event(line, moment)
            moment = event.time
            events.append(event)
    return events, start + end


class EventWriter:
    """Appends events to one file; safe to use from several threads of one process.

    One event is one `os.write` to a file opened for appending, so a reader never sees two events
    mixed. When the disk refuses (full, unplugged), `start` and `end` raise `OSError`; a `step` or
    `phase` is dropped and counted; everything else is kept and written as soon as it works again,
    together with a warning that tells how much is missing.
    """

    _MAX_WAITING = 1000

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._waiting: list[BaseEvent] = []
        self._dropped = 0
        self._told = False
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._handle: int | None = os.open(path, flags, 0o644)
        self._torn = self._ends_inside_a_line(self._handle)

    @staticmethod
    def _ends_inside_a_line(handle: int) -> bool:
        """Tell whether an earlier process died while it wrote its last line."""
        size = os.lseek(handle, 0, os.SEEK_END)
        if size == 0:
            return False
        os.lseek(handle, size - 1, os.SEEK_SET)
        return os.read(handle, 1) != b"\n"

    def emit(self, event: BaseEvent) -> None:
        """Write one event. Raises `OSError` only for `start` and `end` (see the class)."""
        with self._lock:
            try:
                self._write_waiting()
                self._write(event)
            except OSError as error:
                if isinstance(event, StartEvent | EndEvent):
                    raise
                self._keep(event, error)

    def _write(self, event: BaseEvent) -> None:
        if self._handle is None:
            raise OSError(errno.EBADF, "the event file is closed", str(self._path))
        line = event.model_dump_json().encode("utf-8", "replace") + b"\n"
        data = b"\n" + line if self._torn else line
        written = os.write(self._handle, data)
        self._torn = written < len(data)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    def _write_waiting(self) -> None:
        while self._waiting:
            self._write(self._waiting[0])
            del self._waiting[0]
        if self._dropped:
            text = f"{self._dropped} progress messages could not be written"
            hint = "The disk was full or not to be reached; charts have a gap there."
            self._write(WarningEvent(text=text, hint=hint))
            self._dropped = 0
            self._told = False

    def _keep(self, event: BaseEvent, error: OSError) -> None:
        if isinstance(event, StepEvent | PhaseEvent) or len(self._waiting) >= self._MAX_WAITING:
            self._dropped += 1
        else:
            self._waiting.append(event)
        if self._told:
            return
        self._told = True
        try:
            print(f"Progress cannot be written to {self._path}: {error}", file=sys.stderr)
        except OSError:
            # The log lies on the same full disk; the warning event tells it once there is room.
            self._dropped = max(self._dropped, 1)

    def close(self) -> None:
        """Close the file; a later `emit` of `start` or `end` raises."""
        with self._lock:
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
