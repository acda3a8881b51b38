"""What became of somebody's old settings: the job, and for each of their keys what was done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from sd_scripts.options.jobs import Job

Fate = Literal["mapped", "changed", "ignored", "unknown"]
FATES: Final[tuple[Fate, ...]] = ("mapped", "changed", "ignored", "unknown")
HEADINGS: Final[dict[Fate, str]] = {
    "changed": "Taken over with a change",
    "ignored": "Not taken over",
    "unknown": "Unknown",
    "mapped": "Taken over as it is",
}
"""Headings of the lists for a console, what deserves a look first."""


@dataclass(frozen=True)
class Report:
    """Old settings as one of our jobs.

    Each key of the input stands in exactly one of `mapped`, `changed`, `ignored` and `unknown`,
    with words about it. `job` is None if, and only if, `refused` says why there is none: a kind of
    model or training that this program has not, or values that first have to be mended. `job_type`
    is the kind of job that the settings describe, None if this program has no such job; `values`
    are its options as far as they were understood, so that a form can be filled even with an
    unfinished job. `prompts` are preview prompts that stood in the settings as text: sd-scripts
    and this program read them from a file, which whoever writes the job has to write as well.
    """

    job: Job | None
    job_type: type[Job] | None
    values: Mapping[str, object]
    refused: tuple[str, ...] = ()
    mapped: Mapping[str, str] = field(default_factory=dict)
    changed: Mapping[str, str] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    prompts: str = ""

    def __post_init__(self) -> None:
        assert (self.job is None) == bool(self.refused), "no job without a reason, and vice versa"

    def keys(self, fate: Fate) -> Mapping[str, str]:
        """The keys of one list, with words about each."""
        lists = {
            "mapped": self.mapped,
            "changed": self.changed,
            "ignored": self.ignored,
            "unknown": self.unknown,
        }
        return lists[fate]

    def sections(self) -> Iterator[tuple[Fate, list[str]]]:
        """The lists that are not empty, line by line, in the order in which a person wants to read
        them; keys of which the same is said stand in one line."""
        for fate in HEADINGS:
            if found := self.keys(fate):
                yield fate, list(_grouped(found))

    def words(self) -> str:
        """The whole report as text for a console."""
        blocks = []
        if self.refused:
            blocks.append("\n".join(["No job can be made of this:", *_bulleted(self.refused)]))
        elif self.job is not None:
            blocks.append(f"A job for {self.job.name} ({self.job.title}).")
        for fate, lines in self.sections():
            blocks.append("\n".join([f"{HEADINGS[fate]}:", *_bulleted(lines)]))
        return "\n\n".join(blocks) + "\n"


def _bulleted(lines: Iterable[str]) -> Iterator[str]:
    return (f"  - {line}" for line in lines)


def _grouped(found: Mapping[str, str]) -> Iterator[str]:
    by_words: dict[str, list[str]] = {}
    for key, words in found.items():
        by_words.setdefault(words, []).append(key)
    for words, keys in by_words.items():
        yield f"{', '.join(keys)}: {words}"


class Sorting:
    """Puts every key of an input into one of the lists; a key of which several things were made is
    told with all of them."""

    def __init__(self) -> None:
        self._said: dict[str, list[tuple[Fate, str]]] = {}

    def put(self, key: str, fate: Fate, words: str) -> None:
        """Say something about a key, beside what was said of it already."""
        if (fate, words) not in self._said.setdefault(key, []):
            self._said[key].append((fate, words))

    def instead(self, key: str, fate: Fate, words: str) -> None:
        """Say something about a key in place of what was said so far; where several things were
        made of it, beside the others."""
        if len(self._said.get(key, ())) > 1:
            self.put(key, fate, words)
        else:
            self._said[key] = [(fate, words)]

    def lists(self, keys: Iterable[str]) -> dict[Fate, dict[str, str]]:
        """The lists, each in the order of the input's `keys`. Every key must have been put."""
        found: dict[Fate, dict[str, str]] = {fate: {} for fate in FATES}
        for key in keys:
            said = self._said[key]
            fates = {fate for fate, _ in said}
            fate: Fate = next(iter(fates)) if len(fates) == 1 else "changed"
            found[fate][key] = "; ".join(words for _, words in said)
        return found

    def knows(self, key: str) -> bool:
        """Whether something was said about a key."""
        return key in self._said
