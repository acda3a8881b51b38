"""The whole examination: plan what would be trained, measure each picture once, run every check."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from sd_scripts.dataset.doctor import captions, files, likeness, quality, sizes
from sd_scripts.dataset.doctor.findings import Finding, Report
from sd_scripts.dataset.doctor.measure import Measures, measure
from sd_scripts.dataset.doctor.view import CaptionWishes, Check, View, pictures_word
from sd_scripts.dataset.index import hash_file
from sd_scripts.dataset.plan import plan_dataset
from sd_scripts.dataset.samples import DatasetPlan, Sample
from sd_scripts.dataset.words import count
from sd_scripts.errors import Problem
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions

CHECKS: Final[dict[str, Check]] = {
    "unreadable": files.unreadable,
    "too_small": sizes.too_small,
    "twins": likeness.twins,
    "blurred": quality.blurred,
    "light": quality.badly_lit,
    "compressed": quality.compressed,
    "borders": quality.bordered,
    "transparent": files.transparent,
    "turned": files.turned,
    "shape": sizes.extreme,
    "captions": captions.missing,
    "same_captions": captions.repeated,
    "trigger": captions.trigger,
    "long_captions": captions.too_long,
    "cropped": sizes.cropped,
    "lonely": sizes.lonely,
    "unequal": sizes.unequal,
}
"""Every check by its name."""

_WEIGHTS: Final = ("bad", "doubtful", "note")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Listening:
    """Who hears how far an examination is, and who may end it."""

    progress: Progress = lambda text, done, total: None
    should_stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Examination:
    """What is examined, and how."""

    data: DataOptions
    caption: CaptionOptions
    family: str | None = None
    wishes: CaptionWishes = field(default_factory=CaptionWishes)
    skipped: Sequence[str] = ()
    threads: int | None = None


def examine(what: Examination, listening: Listening | None = None) -> tuple[Report, list[Problem]]:
    """Examine a data set; returns the report, and the plan's problems with settings and folders.

    Nothing is changed. Stopped early, the report says what was seen until then.
    """
    listening = listening or Listening()
    seconds: dict[str, float] = {}
    with _timed(seconds, "plan"):
        plan = plan_dataset(
            what.data, what.caption, family=what.family, progress=listening.progress
        )
    samples = list({sample.path: sample for sample in plan.all_samples}.values())
    with _timed(seconds, "measure"):
        measures, hashes = _measure_all(samples, what, listening)
    view = View(plan, measures, hashes, what.wishes)
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        if name not in what.skipped:
            with _timed(seconds, name):
                findings += check(view)
    findings.sort(key=lambda finding: _WEIGHTS.index(finding.weight))
    folder = what.data.train_data_dir or what.data.in_json or what.data.dataset_config or ""
    report = Report(
        folder=os.path.abspath(folder),
        num_pictures=len(samples),
        verdict=_verdict(plan, findings),
        findings=tuple(findings),
        problems=tuple(str(problem) for problem in plan.problems),
        seconds=seconds,
        complete=len(measures) == len(samples),
    )
    return report, list(plan.problems)


@contextmanager
def _timed(table: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    table[name] = round(time.perf_counter() - start, 3)


def usable_cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _measure_all(
    samples: Sequence[Sample], what: Examination, listening: Listening
) -> tuple[dict[Path, Measures], dict[Path, str]]:
    """Measure and hash pictures in threads (decoding frees Python's lock), until asked to stop."""
    measures: dict[Path, Measures] = {}
    hashes: dict[Path, str] = {}
    threads = max(1, what.threads if what.threads is not None else usable_cores())
    waiting = iter(samples)
    with ThreadPoolExecutor(threads) as pool:
        while part := list(islice(waiting, 8 * threads)):
            if listening.should_stop():
                break
            for sample, (one, content) in zip(part, pool.map(_look_at, part), strict=True):
                measures[sample.path] = one
                if content is not None:
                    hashes[sample.path] = content
            listening.progress("Looking at pictures", len(measures), len(samples))
    return measures, hashes


def _look_at(sample: Sample) -> tuple[Measures, str | None]:
    try:
        content = hash_file(sample.path)
    except OSError as error:
        return Measures(damage=f"can't be read ({error.strerror or error})"), None
    return measure(sample.path, sample.window), content


def _verdict(plan: DatasetPlan, findings: Sequence[Finding]) -> str:
    """The whole in one or two sentences."""
    pictures = {os.path.abspath(sample.path) for sample in plan.all_samples}
    if not pictures:
        return "There are no pictures to learn from."
    touched = {name for one in findings if one.weight != "note" for name in one.pictures}
    fine = len(pictures - touched)
    told = f"{fine} of {pictures_word(len(pictures))} are as they should be."
    if fine == len(pictures):
        told = f"All {pictures_word(len(pictures))} are as they should be."
    bad = [one for one in findings if one.weight == "bad"]
    doubtful = [one for one in findings if one.weight == "doubtful"]
    if bad:
        told += f" {count(len(bad), 'thing')} should be mended first."
    elif doubtful:
        told += f" {count(len(doubtful), 'thing')} may be worth a look."
    return told
