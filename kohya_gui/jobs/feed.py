"""Everything a run has told so far, read on by offset: curves, pictures, files, warnings."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from kohya_gui.jobs.series import MAX_POINTS, SMOOTHING, Chart, Series
from sd_scripts.runs.events import (
    CaptionEvent,
    EndEvent,
    Event,
    PhaseEvent,
    SampleEvent,
    SaveEvent,
    StartEvent,
    StepEvent,
    ValidationEvent,
    WarningEvent,
    read_events,
)

MAX_WARNINGS: Final = 500


class RunFeed:
    """Follows one `events.jsonl`; each `poll` reads only what is new. Several threads may use it.

    The lists hold events in the order they were told; a warning told again is kept once.
    """

    def __init__(self, events_path: Path, smoothing: float = SMOOTHING) -> None:
        self._path = events_path
        self._lock = threading.Lock()
        self._smoothing = smoothing
        self._clear()

    def _clear(self) -> None:
        self._offset = 0
        self._series = Series(self._smoothing)
        self._samples: list[SampleEvent] = []
        self._saves: list[SaveEvent] = []
        self._captions: list[CaptionEvent] = []
        self._warnings: dict[tuple[str, str | None], WarningEvent] = {}
        self._start: StartEvent | None = None
        self._step: StepEvent | None = None
        self._phase: PhaseEvent | None = None
        self._end: EndEvent | None = None

    def poll(self) -> bool:
        """Read what is new; True when there was anything. Raises `OSError`."""
        with self._lock:
            changed = False
            while True:
                before = self._offset
                events, self._offset = read_events(self._path, before)
                if self._offset < before:  # replaced or cut short: begin anew
                    self._clear()
                    changed = True
                    continue
                for event in events:
                    self._take(event)
                changed = changed or bool(events)
                if self._offset == before:
                    return changed

    def _take(self, event: Event) -> None:
        match event:
            case StepEvent():
                self._step = event
                self._series.add_step(event.step, event.loss, event.lr)
            case PhaseEvent():
                self._phase = event
            case SampleEvent():
                self._samples.append(event)
            case SaveEvent():
                self._saves.append(event)
            case CaptionEvent():
                self._captions.append(event)
            case WarningEvent():
                if len(self._warnings) < MAX_WARNINGS:
                    self._warnings.setdefault((event.text, event.option), event)
            case ValidationEvent():
                self._series.add_validation(event.step, event.loss)
            case StartEvent():
                self._start, self._end = event, None
            case EndEvent():
                self._end = event
            case _:
                pass  # requests are shown by the status; unknown events are for newer versions

    def chart(self, max_points: int = MAX_POINTS) -> Chart:
        """Return the curves for drawing."""
        with self._lock:
            return self._series.chart(max_points)

    @property
    def samples(self) -> tuple[SampleEvent, ...]:
        """Preview pictures."""
        return tuple(self._samples)

    @property
    def saves(self) -> tuple[SaveEvent, ...]:
        """Saved files and states; some may have been pruned since."""
        return tuple(self._saves)

    @property
    def captions(self) -> tuple[CaptionEvent, ...]:
        """Texts that were found for pictures."""
        return tuple(self._captions)

    @property
    def warnings(self) -> tuple[WarningEvent, ...]:
        """Warnings, the first `MAX_WARNINGS` different ones."""
        return tuple(self._warnings.values())

    @property
    def start(self) -> StartEvent | None:
        """The newest start."""
        return self._start

    @property
    def step(self) -> StepEvent | None:
        """The newest step."""
        return self._step

    @property
    def phase(self) -> PhaseEvent | None:
        """The newest phase, perhaps over."""
        return self._phase

    @property
    def end(self) -> EndEvent | None:
        """The end, if the run told one after its newest start."""
        return self._end
