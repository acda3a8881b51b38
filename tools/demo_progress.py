"""How far the trial's training is, shown on one line of a terminal."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sd_scripts.runs import control
from sd_scripts.runs.events import (
    Event,
    PhaseEvent,
    SaveEvent,
    StartEvent,
    StepEvent,
    WarningEvent,
    read_events,
)
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.status import derive_status

POLL_SECONDS: Final = 0.2
BAR_WIDTH: Final = 30


@dataclass
class Progress:
    """Follows a run's events and shows them on one line (or, in a log, one line each tenth)."""

    live: bool
    run: RunFolder
    total: int = 0
    shown: int = -1
    saved: list[Path] = field(default_factory=list)

    def see(self, event: Event) -> None:
        """Take in one event and tell what a person wants to see of it."""
        match event:
            case StartEvent() if event.total_steps:
                self.total = event.total_steps
                self.line(
                    f"Training {event.trainable_parameters:,} parameters on "
                    f"{event.num_images} pictures, {event.total_steps} steps."
                )
            case StepEvent():
                self.bar(event)
            case PhaseEvent() if event.total and event.done >= event.total:
                self.line(f"Done: {event.name} ({event.total:g})")
            case SaveEvent() if event.kind == "weights":
                self.saved.append(Path(event.path))
            case WarningEvent():
                self.line(f"Note: {event.text}")

    def bar(self, event: StepEvent) -> None:
        """Show how far the training is."""
        share = event.step / max(1, self.total)
        tenth = int(share * 10)
        if not self.live and tenth == self.shown:
            return
        self.shown = tenth
        bar = "#" * int(share * BAR_WIDTH)
        rest = f"  {event.eta_seconds:.0f} s left" if event.eta_seconds else ""
        text = f"[{bar:<{BAR_WIDTH}}] {event.step}/{self.total}  loss {event.loss:.4f}{rest}"
        print(f"\r{text:<78}" if self.live else text, end="" if self.live else "\n", flush=True)

    def line(self, text: str) -> None:
        """Show a line of its own, below the bar if there is one."""
        print(f"\r{text:<78}" if self.live else text, flush=True)


def follow(run: RunFolder, progress: Progress) -> None:
    """Watch the run until it has ended, however it ends; Ctrl-C asks it to save and end."""
    offset, asked = 0, False
    while True:
        try:
            events, offset = read_events(run.events, offset)
            for event in events:
                progress.see(event)
            if not events and not derive_status(run).active:
                return
            time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            if asked:
                raise
            asked = True
            progress.line("Stopping: what was learned so far is saved …")
            control.request(run, "stop")
