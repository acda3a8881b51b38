"""What every check is given: the plan of what would be trained, and what the pictures measure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sd_scripts.dataset.decisions import CropWindow
from sd_scripts.dataset.doctor.findings import Finding, Remedy
from sd_scripts.dataset.doctor.measure import Measures
from sd_scripts.dataset.samples import DatasetPlan, Sample
from sd_scripts.dataset.words import count


@dataclass(frozen=True)
class CaptionWishes:
    """What captions are to be like: the word they have to hold, the most tokens that are read."""

    trigger: str | None = None
    max_tokens: int = 75


@dataclass(frozen=True)
class View:
    """A data set as the checks see it.

    `samples` are the planned pictures, each file once. `hashes` tell which files have the same
    bytes.
    """

    plan: DatasetPlan
    measures: Mapping[Path, Measures]
    hashes: Mapping[Path, str]
    wishes: CaptionWishes = field(default_factory=CaptionWishes)

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """Each picture once, in the order of the plan."""
        return tuple({sample.path: sample for sample in self.plan.all_samples}.values())

    def sound(self) -> Iterator[tuple[Sample, Measures]]:
        """The pictures that could be decoded, with their measures."""
        for sample in self.samples:
            measures = self.measures.get(sample.path)
            if measures is not None and not measures.damage:
                yield sample, measures


Check = Callable[[View], Iterator[Finding]]


def pictures_word(number: int) -> str:
    """The number of pictures with its noun, as a sentence begins with it."""
    return count(number, "picture")


def are(number: int, one: str, several: str) -> str:
    """The verb that fits a number."""
    return one if number == 1 else several


def names(paths: Iterable[Path]) -> tuple[str, ...]:
    """Absolute paths as text."""
    return tuple(os.path.abspath(path) for path in paths)


def leave_out(paths: Iterable[Path], label: str = "Leave out") -> Remedy:
    """The remedy that pictures are not learned."""
    return Remedy("exclude", label, names(paths))


def use_parts(windows: Mapping[Path, CropWindow], label: str) -> Remedy:
    """The remedy that only a part of each picture is used."""
    by_name = {os.path.abspath(path): window for path, window in windows.items()}
    return Remedy("crop", label, tuple(by_name), by_name)


def mend_captions(paths: Iterable[Path], label: str, prefix: str = "") -> Remedy:
    """The remedy that captions are edited."""
    return Remedy("caption", label, names(paths), prefix=prefix)
