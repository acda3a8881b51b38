"""Tell what a run is doing: as events for programs, and as plain lines for people."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from sd_scripts.errors import Problem
from sd_scripts.runs.events import (
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
    ValidationEvent,
    WarningEvent,
)

_LINE_EVERY_SECONDS: Final = 5.0
_PHASE_EVERY_SECONDS: Final = 0.5
_NOTHING: Final[Mapping[str, float]] = MappingProxyType({})


def duration(seconds: float) -> str:
    """Write a time span as people do: `42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _words(name: str) -> str:
    """Write the name of a number as words: `max_norm/keys_scaled` is "keys scaled"."""
    return name.rpartition("/")[2].replace("_", " ")


class Pace:
    """Seconds a step over the last steps: the mean, without pauses (saves, previews)."""

    def __init__(self, length: int = 50) -> None:
        self._spans: deque[float] = deque(maxlen=length)
        self._last: float | None = None

    def restart(self) -> None:
        """Begin a new span now: what came before is not part of a step."""
        self._last = time.perf_counter()

    def tick(self) -> float:
        """End one step; returns the mean seconds a step, 0 before the first is known."""
        now = time.perf_counter()
        if self._last is not None:
            self._spans.append(now - self._last)
        self._last = now
        return sum(self._spans) / len(self._spans) if self._spans else 0.0


class Reporter:
    """Writes events and log lines; silent where `main_process` is false."""

    def __init__(self, events_path: Path, *, main_process: bool = True) -> None:
        self._writer = EventWriter(events_path) if main_process else None
        self._pace = Pace()
        self._total_steps = 0
        self._last_line = 0.0
        self._last_phase = (0.0, "")
        self._loss_sum = 0.0
        self._loss_count = 0

    def _emit(self, event: Event) -> None:
        if self._writer is not None:
            self._writer.emit(event)

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def say(self, text: str) -> None:
        """Write one line to the log."""
        if self._writer is not None:
            print(text, flush=True)

    def start(self, event: StartEvent) -> None:
        """Tell what is going to be trained."""
        self._total_steps = event.total_steps
        self._emit(event)

    def phase(self, name: str, done: int, total: int, text: str = "") -> None:
        """Tell how far long work has come; calls in quick succession are thinned out."""
        now = time.perf_counter()
        last, last_name = self._last_phase
        if name == last_name and done < total and now - last < _PHASE_EVERY_SECONDS:
            return
        self._last_phase = (now, name)
        self._emit(PhaseEvent(name=name, done=done, total=total, text=text))
        counted = f" {done}/{total}" if total else ""
        self.say(f"{name}{counted}{': ' + text if text else ''}")

    def begin_steps(self) -> None:
        """Start the clock of the first step, or start it again after other work."""
        self._pace.restart()

    def step(
        self,
        step: int,
        epoch: int,
        loss: float,
        rates: Mapping[str, float],
        more: Mapping[str, float] = _NOTHING,
    ) -> None:
        """Tell one finished optimizer step (counted from 1), and what else there is to tell."""
        seconds = self._pace.tick()
        eta = seconds * (self._total_steps - step)
        self._loss_sum, self._loss_count = self._loss_sum + loss, self._loss_count + 1
        self._emit(
            StepEvent(
                step=step,
                epoch=epoch,
                loss=loss,
                lr=dict(rates),
                seconds_per_step=seconds,
                eta_seconds=eta,
                more=dict(more),
            )
        )
        now = time.perf_counter()
        if now - self._last_line < _LINE_EVERY_SECONDS and step not in (1, self._total_steps):
            return
        self._last_line = now
        mean = self._loss_sum / self._loss_count
        self._loss_sum, self._loss_count = 0.0, 0
        told = "".join(f"  {_words(name)} {value:.3g}" for name, value in more.items())
        self.say(
            f"step {step}/{self._total_steps}  epoch {epoch}  loss {mean:.4f}{told}  "
            f"{seconds:.2f} s/step  {duration(eta)} left"
        )

    def validation(self, step: int, epoch: int, loss: float, losses: Mapping[str, float]) -> None:
        """Tell the loss on held-out pictures, in all and by timestep."""
        self._emit(ValidationEvent(step=step, epoch=epoch, loss=loss, losses=dict(losses)))
        told = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
        self.say(f"validation after step {step}: loss {loss:.4f} ({told})")

    def sample(self, path: Path, prompt: str, seed: int, step: int, index: int) -> None:
        """Tell a finished preview picture."""
        self._emit(SampleEvent(path=str(path), prompt=prompt, seed=seed, step=step, index=index))
        self.say(f"preview {path}")

    def painted(self, event: SampleEvent) -> None:
        """Tell a finished picture of an order."""
        self._emit(event)
        self.say(f"painted {event.path}")

    def order(self, event: OrderEvent) -> None:
        """Tell how an order of pictures stands."""
        self._emit(event)
        if event.state != "painting":
            self.say(f"order {event.order}: {event.state} ({event.done} of {event.total})")
        for problem in event.problems:
            self.say(f"  {problem}")

    def saved(self, path: Path, step: int, *, state: bool) -> None:
        """Tell a written file or training state."""
        self._emit(SaveEvent(path=str(path), step=step, kind="state" if state else "weights"))
        self.say(f"saved {path}")

    def caption(self, picture: Path, text: str, *, kept: bool) -> None:
        """Tell the text that was found for a picture; the log has it with `debug` only."""
        name = str(picture).encode("utf-8", "replace").decode("utf-8")
        self._emit(CaptionEvent(picture=name, text=text, kept=kept))

    def warn(self, problem: Problem) -> None:
        """Tell something that stops nothing but should be known."""
        self._emit(
            WarningEvent(text=problem.message, hint=problem.hint or "", option=problem.option)
        )
        self.say(f"Warning: {problem}")

    def control(self, request: str, *, done: bool = False) -> None:
        """Acknowledge a request, first when it is seen and again when it is done."""
        self._emit(ControlEvent(request=request, state="done" if done else "accepted"))

    def end(self, event: EndEvent) -> None:
        """Tell how the run ended; the last event of a run. A full disk changes no exit code."""
        try:
            self._emit(event)
        except OSError as error:
            print(f"The end could not be written to the run folder: {error}", file=sys.stderr)
        stream = sys.stderr if event.status == "failed" else sys.stdout
        if self._writer is not None and len(event.problems) != 1:  # which was told in these words
            print(event.reason, file=stream, flush=True)
            if event.hint and not event.problems:
                print(event.hint, file=stream, flush=True)
