"""The work that taggers and captioners share: pictures through a model, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

from sd_scripts.captioning.pictures import Picture
from sd_scripts.captioning.pipeline import (
    OPENERS,
    Background,
    Engine,
    Entry,
    Reading,
    batches_of,
)
from sd_scripts.captioning.plan import Plan
from sd_scripts.captioning.store import Result, Store
from sd_scripts.dataset.pictures import PictureProblem, shown
from sd_scripts.dataset.words import count
from sd_scripts.errors import Problem
from sd_scripts.options.groups.captioning import InferenceOptions
from sd_scripts.runs.events import StartEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests
from sd_scripts.script import Ending

_MAX_THREADS: Final = 8


@dataclass(frozen=True)
class Workplace:
    """The run a job is done in."""

    run: RunFolder
    reporter: Reporter
    requests: Requests


@dataclass
class Tally:
    """What came of the pictures so far."""

    written: int = 0
    empty: int = 0
    broken: int = 0
    not_written: int = 0

    @property
    def seen(self) -> int:
        """Pictures that are dealt with."""
        return self.written + self.broken + self.not_written


def caption_folder(
    plan: Plan,
    store: Store,
    load: Callable[[], Engine],
    inference: InferenceOptions,
    verb: str,
    place: Workplace,
) -> tuple[Ending, str]:
    """Go through a plan's pictures with the model that `load` gives; the model is freed after.

    `verb` is what is done, for people ("Tagging"). Returns how it ended, with a sentence.
    """
    pictures = plan.without_text(store)
    place.reporter.start(started(len(pictures), place.run))
    if place.requests.stop():
        return "stopped", "Stopped on request before the first picture"
    if not pictures:
        told = f"all {count(len(plan.pictures), 'picture')} have a text already"
        return "finished", f"Finished: {told}"
    store.begin(pictures)
    engine = load()
    try:
        walk = Walk(engine, store, place, verb, inference.debug)
        threads = num_threads(inference.max_data_loader_n_workers)
        ending = walk.over(pictures, Reading(threads, OPENERS[plan.large_pictures]))
    finally:
        engine.close()
    return ending, summary(ending, walk.tally, len(pictures), len(plan.pictures) - len(pictures))


def num_threads(wanted: int | None) -> int:
    """Return how many threads prepare pictures: what is wanted, else one for each core that this
    process may use, at most 8."""
    if wanted is not None:
        return wanted
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(_MAX_THREADS, usable or 1)


def started(num_pictures: int, run: RunFolder) -> StartEvent:
    """The event with which the work begins: there are pictures, but no steps."""
    return StartEvent(
        total_steps=0,
        num_epochs=0,
        num_images=num_pictures,
        family="",
        trainable_parameters=0,
        name=run.id,
    )


@dataclass(frozen=True)
class Done:
    """A batch that the model has seen, without its pixels: what is to be written of it."""

    entries: Sequence[Entry]
    broken: Sequence[PictureProblem]
    outcomes: Sequence[Any]


@dataclass
class Walk:
    """One walk over pictures. With `debug`, what was found in each is told."""

    engine: Engine
    store: Store
    place: Workplace
    verb: str
    debug: bool = False
    tally: Tally = field(default_factory=Tally)

    def over(self, pictures: Sequence[Picture], reading: Reading) -> Ending:
        """Go through the pictures; stops between two batches when asked to.

        All that the model has said is written when this returns or raises.
        """
        total = len(pictures)
        self.place.reporter.phase(self.verb, 0, total)
        background = Background[Done](lambda done: self._keep(done, total))
        ending: Ending = "finished"
        try:
            with closing(batches_of(self.engine, pictures, reading)) as batches:
                for batch in batches:
                    outcomes = self.engine.infer(batch.inputs) if batch.entries else ()
                    background.put(Done(batch.entries, batch.broken, outcomes))
                    self.place.requests.wait_while_paused()
                    if self.place.requests.stop():
                        ending = "stopped"
                        break
        finally:
            try:
                background.finish()
            finally:
                self.store.close()
        return "finished" if self.tally.seen == total else ending

    def _keep(self, batches: Sequence[Done], total: int) -> None:
        reporter = self.place.reporter
        broken = [problem for batch in batches for problem in batch.broken]
        for problem in broken:
            reporter.warn(_skipped(problem))
        results = []
        for batch in batches:
            for entry, outcome in zip(batch.entries, batch.outcomes, strict=True):
                text = self.engine.text(outcome)
                results.append(Result(entry.picture, text, entry.size))
                if self.debug:
                    reporter.say(f"{shown(entry.picture.path)}: {text}")
        refused = self.store.write(results)
        for result in results:
            told = refused.get(result.picture.path)
            if told is not None:
                reporter.warn(told)
            reporter.caption(result.picture.path, result.text, kept=told is None)
        self.tally.broken += len(broken)
        self.tally.not_written += len(refused)
        self.tally.written += len(results) - len(refused)
        self.tally.empty += sum(not result.text.strip() for result in results)
        reporter.phase(self.verb, self.tally.seen, total)


def _skipped(problem: PictureProblem) -> Problem:
    return Problem(f"{problem}; it is left out", "train_data_dir", problem.hint, "warning")


def summary(ending: Ending, tally: Tally, num_pictures: int, num_skipped: int) -> str:
    """Say how it ended, in one sentence."""
    done = f"{tally.written} of {count(num_pictures, 'picture')} done"
    told = [f"Finished: {done}" if ending == "finished" else f"Stopped on request: {done}"]
    if num_skipped:
        told.append(f"{num_skipped} had a text already")
    if tally.broken:
        told.append(f"{tally.broken} could not be read")
    if tally.not_written:
        told.append(f"{count(tally.not_written, 'text')} could not be written")
    if tally.empty:
        told.append(f"nothing was found in {tally.empty}")
    return "; ".join(told)
