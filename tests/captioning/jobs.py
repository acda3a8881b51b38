"""Jobs of taggers and captioners for tests, run in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sd_scripts.captioning.entry import run_captioning, run_tagging
from sd_scripts.options.jobs import MakeCaptionsJob, TagImagesJob
from sd_scripts.options.values import job_from_values
from sd_scripts.runs.events import EndEvent, Event, WarningEvent, read_events
from sd_scripts.runs.folder import RunFolder


def arguments(values: dict[str, object]) -> list[str]:
    """Return a command line of options; None takes one out."""
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


@dataclass
class Bench:
    """A folder of pictures, a model, and a place for runs."""

    pictures: Path
    place: Path
    command: Callable[[Sequence[str]], int]
    options: dict[str, object]

    def run(self, name: str = "run", **changes: object) -> int:
        """Run the job; returns its exit code."""
        given = {"run_dir": self.place / name, **self.options, **changes}
        return self.command([str(self.pictures), *arguments(given)])

    def folder(self, name: str = "run") -> RunFolder:
        """Return a run's folder."""
        return RunFolder(self.place / name)

    def events(self, name: str = "run") -> list[Event]:
        """Return what a run told."""
        return read_events(self.folder(name).events)[0]

    def warnings(self, name: str = "run") -> list[str]:
        """Return the texts of its warnings."""
        return [event.text for event in self.events(name) if isinstance(event, WarningEvent)]

    def end(self, name: str = "run") -> EndEvent:
        """Return its last event, which must be its end."""
        event = self.events(name)[-1]
        assert isinstance(event, EndEvent)
        return event

    def texts(self) -> dict[str, str]:
        """Return every file beside the pictures that is none, by name."""
        files = [path for path in self.pictures.rglob("*") if path.is_file()]
        return {
            path.relative_to(self.pictures).as_posix(): path.read_text("utf-8")
            for path in sorted(files)
            if path.suffix != ".png"
        }


def tagging(pictures: Path, place: Path, tagger: Path, **options: object) -> Bench:
    """Return a tagging job."""
    return Bench(pictures, place, run_tagging, {"model_dir": tagger, **options})


def captioning(pictures: Path, place: Path, captioner: Path, **options: object) -> Bench:
    """Return a captioning job."""
    return Bench(pictures, place, run_captioning, {"caption_weights": captioner, **options})


def tag_job(**values: Any) -> TagImagesJob:
    """Return a tagging job of these values."""
    return job_from_values(TagImagesJob, {"train_data_dir": "d", **values})


def caption_job(**values: Any) -> MakeCaptionsJob:
    """Return a captioning job of these values."""
    return job_from_values(MakeCaptionsJob, {"train_data_dir": "d", **values})
