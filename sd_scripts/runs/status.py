"""How a run stands, worked out from its files and its process each time; never written down."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeVar

from sd_scripts.errors import Problem
from sd_scripts.runs import control
from sd_scripts.runs.events import (
    BaseEvent,
    ControlEvent,
    EndEvent,
    PhaseEvent,
    SaveEvent,
    StartEvent,
    StepEvent,
    UnknownEvent,
    parse_event,
)
from sd_scripts.runs.failure import explain, last_error_line, told_problems
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.process import CLOCK_TOLERANCE_SECONDS, is_alive
from sd_scripts.runs.record import RunRecord, read_record

RunState = Literal["starting", "running", "stopping", "finished", "stopped", "failed", "lost"]

ACTIVE: Final[frozenset[RunState]] = frozenset({"starting", "running", "stopping"})
START_GRACE_SECONDS: Final = 30.0
"""So long a new folder may be without a process: its launcher may be about to write one."""

_HEAD_BYTES: Final = 4 * 1024 * 1024
_TAIL_BYTES: Final = 128 * 1024
_START_MARK: Final = b'{"type":"start"'
_LOG_TAIL_BYTES: Final = 8 * 1024


@dataclass(frozen=True)
class Facts:
    """The last event of each kind that matters, since the last start."""

    start: StartEvent | None = None
    step: StepEvent | None = None
    phase: PhaseEvent | None = None
    state_save: SaveEvent | None = None
    stop: ControlEvent | None = None
    end: EndEvent | None = None
    last_time: float | None = None


@dataclass(frozen=True)
class RunStatus:
    """How a run stands. Times are Unix seconds; `detail` and `hint` are sentences for a person.

    `phase_done` of `phase_total` is how far the long work is that goes on now, if it is counted.
    """

    state: RunState
    detail: str
    hint: str | None = None
    step: int = 0
    total_steps: int | None = None
    epoch: int = 0
    num_epochs: int | None = None
    loss: float | None = None
    seconds_per_step: float | None = None
    eta_seconds: float | None = None
    alive: bool = False
    paused: bool = False
    pid: int | None = None
    started: float | None = None
    ended: float | None = None
    family: str | None = None
    resume_from: Path | None = None
    problems: tuple[Problem, ...] = ()
    phase_done: float = 0
    phase_total: float | None = None

    @property
    def active(self) -> bool:
        """True while the run is at work or about to be."""
        return self.state in ACTIVE

    @property
    def fraction(self) -> float | None:
        """Done part of the steps, 0 to 1; None while the total is not known."""
        return min(1.0, self.step / self.total_steps) if self.total_steps else None

    @property
    def progress(self) -> float | None:
        """Done part of what goes on now, 0 to 1: of the steps, or of counted work without any."""
        if self.step or not self.phase_total:
            return self.fraction
        return min(1.0, self.phase_done / self.phase_total)


def read_tail(path: Path, num_bytes: int) -> bytes:
    """Return the last `num_bytes` of a file, or b"" when it is not there or cannot be read."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - num_bytes))
            return file.read(num_bytes)
    except OSError:
        return b""


_E = TypeVar("_E", bound=BaseEvent)
_LINE_MARK: Final = b'\n{"type":"'


class _Tail:
    """The last lines of an event file, searched from the end without parsing all of them."""

    def __init__(self, data: bytes, *, whole: bool) -> None:
        """`whole`: the first line is not cut. A last line that is not finished is left out."""
        begin = 0 if whole else data.find(b"\n") + 1
        block = b"\n" + data[begin : data.rfind(b"\n") + 1]
        if block.count(_LINE_MARK) != block.count(b"\n") - 1:
            block = self._in_our_form(block)
        self._block = block

    @staticmethod
    def _in_our_form(block: bytes) -> bytes:
        """Write lines of others (spaces, another order of keys) as ours; garbage goes."""
        lines = []
        for line in block.split(b"\n"):
            if line.startswith(_LINE_MARK[1:]):
                lines.append(line)
            elif line.strip() and not isinstance(event := parse_event(line), UnknownEvent):
                lines.append(event.model_dump_json().encode("utf-8"))
        return b"\n" + b"".join(line + b"\n" for line in lines)

    def newest(
        self, kind: type[_E], fits: Callable[[_E], bool] = lambda _: True
    ) -> tuple[_E | None, int]:
        """Return the newest event of a kind that `fits`, and its place; (None, -1) if none."""
        mark = _LINE_MARK + kind.model_fields["type"].default.encode("ascii") + b'"'
        place = self._block.rfind(mark)
        while place >= 0:
            event = parse_event(self._block[place + 1 : self._block.find(b"\n", place + 1)])
            if isinstance(event, kind) and fits(event):
                return event, place
            place = self._block.rfind(mark, 0, place)
        return None, -1

    @property
    def last_time(self) -> float | None:
        """The time of the newest event."""
        begin = self._block.rfind(b"\n", 0, len(self._block) - 1)
        return parse_event(self._block[begin + 1 : -1]).time if begin >= 0 else None


def read_facts(path: Path) -> Facts:
    """Read the ends of an event file, whatever its length: 4 MiB of its head, 128 KiB of its
    tail."""
    data = read_tail(path, _TAIL_BYTES)
    if not data:
        return Facts()
    tail = _Tail(data, whole=len(data) < _TAIL_BYTES)
    start, started_at = tail.newest(StartEvent)
    end, ended_at = tail.newest(EndEvent)
    step, step_at = tail.newest(StepEvent)
    phase, phase_at = tail.newest(PhaseEvent)
    stop, stop_at = tail.newest(ControlEvent, lambda event: event.request == "stop")
    if start is None and len(data) == _TAIL_BYTES:
        start = _first_start(path)
    return Facts(
        start=start,
        # What was told before the newest start belongs to an earlier process.
        step=step if step_at > started_at else None,
        # A phase is over when steps came after it.
        phase=phase if phase_at > step_at else None,
        state_save=tail.newest(SaveEvent, lambda save: save.kind == "state")[0],
        stop=stop if stop_at > started_at else None,
        end=end if ended_at > started_at else None,
        last_time=tail.last_time,
    )


def _first_start(path: Path) -> StartEvent | None:
    """Look for the start behind the phases that came before it (hours of caching, perhaps)."""
    try:
        with open(path, "rb") as file:
            head = file.read(_TAIL_BYTES)
            if _START_MARK not in head:
                head += file.read(_HEAD_BYTES)
    except OSError:
        return None
    begin = head.find(_START_MARK)
    end = head.find(b"\n", begin)
    if begin < 0 or end < 0:
        return None
    event = parse_event(head[begin:end])
    return event if isinstance(event, StartEvent) else None


def newest_state(run: RunFolder, facts: Facts) -> Path | None:
    """Return the newest training state of the run that is still there, or None."""
    if facts.state_save is not None and Path(facts.state_save.path).is_dir():
        return Path(facts.state_save.path)
    try:
        with os.scandir(run.state) as entries:
            states = [
                (entry.stat().st_mtime_ns, entry.path)
                for entry in entries
                if entry.is_dir(follow_symlinks=False)
                and not entry.name.startswith(".")
                and not entry.name.endswith(".part")
            ]
    except OSError:
        return None
    return Path(max(states)[1]) if states else None


def derive_status(run: RunFolder, record: RunRecord | None = None) -> RunStatus:
    """Work out how a run stands. Never raises for what is missing or broken in the folder."""
    record = record or read_record(run)
    # The process first: what it wrote before it ended is then surely in the files read after.
    alive = record is not None and record.process is not None and is_alive(record.process)
    facts = read_facts(run.events)
    if facts.end is not None and record is not None and _is_of_before(facts.end, record):
        facts = Facts(state_save=facts.state_save)
    base = _with_facts(record, facts, alive)
    if facts.end is not None:
        if facts.end.status != "finished":
            base = replace(base, resume_from=newest_state(run, facts))
        return _ended(base, facts.end)
    if alive:
        return _at_work(run, base, facts)
    if _may_still_come(run, record):
        return replace(base, state="starting", detail="The process is being started.")
    return _gone(run, base, facts, record)


def _is_of_before(end: EndEvent, record: RunRecord) -> bool:
    """Tell whether an end was told before this process was there, in a folder that is used anew.

    Newer records name that end; with older ones only the times can be compared, which a clock that
    was put back makes wrong.
    """
    if record.format > 1:
        return end.time == record.earlier_end
    return record.create_time is not None and (
        end.time < record.create_time - CLOCK_TOLERANCE_SECONDS
    )


def _with_facts(record: RunRecord | None, facts: Facts, alive: bool) -> RunStatus:
    start, step = facts.start, facts.step
    phase = facts.phase if alive else None
    counted = phase if phase and (phase.total or 0) > 1 else None  # one thing to do is no count
    return RunStatus(
        state="running",
        detail="",
        step=step.step if step else (start.resumed_step if start else 0),
        total_steps=start.total_steps if start else None,
        epoch=step.epoch if step else 0,
        num_epochs=start.num_epochs if start else None,
        loss=step.loss if step else None,
        seconds_per_step=step.seconds_per_step if step else None,
        eta_seconds=step.eta_seconds if step and alive else None,
        alive=alive,
        pid=record.pid if record else None,
        started=record.started if record else None,
        family=start.family if start else None,
        phase_done=counted.done if counted else 0,
        phase_total=counted.total if counted else None,
    )


def _ended(base: RunStatus, end: EndEvent) -> RunStatus:
    usual = {
        "finished": "Training is finished.",
        "stopped": "It was stopped on request and saved.",
        "failed": "It failed.",
    }
    hint = end.hint
    if end.status == "failed" and not hint and not end.problems and (why := explain(end.reason)):
        hint = f"{why.cause} {why.hint}"
    return replace(
        base,
        state=end.status,
        detail=end.reason or usual[end.status],
        hint=hint,
        ended=end.time,
        eta_seconds=None,
        problems=end.problems,
        phase_done=0,
        phase_total=None,
    )


def _at_work(run: RunFolder, base: RunStatus, facts: Facts) -> RunStatus:
    phase = facts.phase
    doing = (phase.text or phase.name) if phase else ""
    if facts.stop is not None or control.is_requested(run, "stop"):
        return replace(
            base,
            state="stopping",
            detail=doing or f"Saving and ending after step {base.step}.",
            hint="A second Stop ends the process at once; what is not saved yet is then lost.",
        )
    if facts.start is None and facts.step is None:
        return replace(base, state="starting", detail=doing or "The program is loading.")
    if control.is_requested(run, "pause"):
        return replace(base, detail=f"Paused after step {base.step}.", paused=True)
    total = f" of {base.total_steps}" if base.total_steps else ""
    return replace(base, detail=doing or f"Step {base.step}{total}.")


def _may_still_come(run: RunFolder, record: RunRecord | None) -> bool:
    """Tell whether a folder without a process is one that is just being started."""
    if record is not None and record.process is not None:
        return False
    if record is not None and record.launcher is not None and is_alive(record.launcher):
        # A launcher that lives for days must not make a start that failed look young.
        return _is_young(record.started, 4 * START_GRACE_SECONDS)
    try:
        begun = record.started if record is not None else run.path.stat().st_mtime
    except OSError:
        return False
    return _is_young(begun, START_GRACE_SECONDS)


def _is_young(begun: float, seconds: float) -> bool:
    """Tell whether something began in these last seconds: not what lies far in the future, since
    the clock was put back."""
    return -seconds < time.time() - begun < seconds


def _gone(run: RunFolder, base: RunStatus, facts: Facts, record: RunRecord | None) -> RunStatus:
    """The process ended without a last word: say what its log gives away."""
    state_folder = newest_state(run, facts)
    resume = (
        f"Resume from the state {state_folder.name}."
        if state_folder
        else "There is no saved state to resume from; files saved before are in the output folder."
    )
    ended = facts.last_time or base.started
    base = replace(base, ended=ended, resume_from=state_folder, eta_seconds=None)
    if control.is_requested(run, control.KILL_MARK):
        return replace(base, state="stopped", detail="It was ended by force.", hint=resume)
    if record is None or record.process is None:
        return replace(
            base,
            state="lost",
            detail="The process was never started, or its run.json is missing.",
            hint="Start it again.",
        )
    log = read_tail(run.log, _LOG_TAIL_BYTES).decode("utf-8", "replace")
    if facts.start is None and (told := told_problems(log)):
        # It found the job unfit before it had opened the run folder.
        more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
        detail = f"{told[0].message}{more}"
        return replace(base, state="failed", detail=detail, hint=told[0].hint, problems=told)
    why, error = explain(log), last_error_line(log)
    if why is not None or error is not None:
        detail = why.cause if why else f"It ended with an error: {error}"
        hint = f"{why.hint} {resume}" if why else f"The log holds the whole message. {resume}"
        return replace(base, state="failed" if error else "lost", detail=detail, hint=hint)
    return replace(
        base,
        state="lost",
        detail="The process is gone without a last word: it was killed (by the system for lack of"
        " memory, by kill -9, or by another program) or the power failed.",
        hint=f"{resume} If memory ran out, close other programs and lower the batch size first.",
    )
