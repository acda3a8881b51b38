"""Past runs, searched, filtered, sorted and given out page by page."""

from __future__ import annotations

import difflib
import math
import re
import shlex
import threading
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal, get_args

from kohya_gui.jobs.store import RunStore, RunSummary, at_work
from sd_scripts.options.jobs import JOBS
from sd_scripts.options.schema import specs_by_name
from sd_scripts.runs.folder import RunFolder

PAGE_SIZE: Final = 50
_MAX_KNOWN: Final = 20_000

Sort = Literal["newest", "oldest", "name", "loss"]
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)

_BY: Final[dict[Sort, Callable[[RunSummary], tuple[object, ...]]]] = {
    "newest": lambda run: (-run.created, run.id),
    "oldest": lambda run: (run.created, run.id),
    "name": lambda run: (run.name.casefold(), -run.created, run.id),
    "loss": lambda run: (math.inf if run.status.loss is None else run.status.loss, -run.created),
}
_OPTION_TERM: Final = re.compile(r"(\w+)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class HistoryWish:
    """What somebody looks for.

    `text` holds words that must all be found in a run's name, note or tags; `#word` means a tag,
    `option=value` what the run was made with. `state` and `job` are names, "" for all; `page`
    counts from 1.
    """

    text: str = ""
    state: str = ""
    job: str = ""
    sort: Sort = "newest"
    page: int = 1

    @classmethod
    def of(cls, data: Mapping[str, object]) -> HistoryWish:
        """Read what a page or a request sends; anything unfit counts as nothing."""
        page, sort = data.get("page"), data.get("sort")
        known: Sort = next((name for name in SORTS if name == sort), "newest")
        return cls(
            text=str(data.get("text") or "")[:500],
            state=str(data.get("state") or ""),
            job=str(data.get("job") or ""),
            sort=known,
            page=page if isinstance(page, int) and page > 0 else 1,
        )


@dataclass(frozen=True)
class UnknownOption:
    """A search names an option that there is none of; `known` is the nearest one, if any."""

    name: str
    known: str | None


@dataclass(frozen=True)
class HistoryPage:
    """The runs of one page and those at work, how many there are, what one could filter by."""

    runs: tuple[RunSummary, ...]
    running: tuple[RunSummary, ...]
    num_found: int
    num_all: int
    page: int
    num_pages: int
    states: Mapping[str, int]
    jobs: Mapping[str, int]
    tags: Mapping[str, int]
    unknown: tuple[UnknownOption, ...] = ()


@dataclass(frozen=True)
class _Terms:
    words: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    unknown: tuple[UnknownOption, ...] = field(default=())


class History:
    """Looks through the runs of a store. Any number of threads may use it."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int, str, str], bool] = {}

    def look(self, wish: HistoryWish) -> HistoryPage:
        """Return the page of runs that fits best: the last one if there are fewer pages."""
        everything = self._store.list()
        terms = _terms(wish.text)
        found = [run for run in everything if self._fits(run, terms)]
        states: Counter[str] = Counter(run.status.state for run in found)
        jobs = Counter(run.job for run in found)
        chosen = [
            run
            for run in found
            if wish.state in ("", run.status.state) and wish.job in ("", run.job)
        ]
        chosen.sort(key=_BY[wish.sort])
        num_pages = max(1, math.ceil(len(chosen) / PAGE_SIZE))
        page = min(wish.page, num_pages)
        return HistoryPage(
            runs=tuple(chosen[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]),
            running=tuple(at_work(everything)),
            num_found=len(chosen),
            num_all=len(everything),
            page=page,
            num_pages=num_pages,
            states=states,
            jobs=jobs,
            tags=Counter(tag for run in everything for tag in run.note.tags),
            unknown=terms.unknown,
        )

    def _fits(self, run: RunSummary, terms: _Terms) -> bool:
        if terms.words or terms.tags:
            tags = {tag.casefold() for tag in run.note.tags}
            if not tags.issuperset(terms.tags):
                return False
            text = " ".join((run.name, run.id, run.note.note, *run.note.tags)).casefold()
            if not all(word in text for word in terms.words):
                return False
        return all(self._was_made_with(run.folder, name, value) for name, value in terms.options)

    def _was_made_with(self, run: RunFolder, name: str, value: str) -> bool:
        try:
            written = run.config.stat().st_mtime_ns
        except OSError:
            return False
        key = (run.id, written, name, value)
        with self._lock:
            known = self._known.get(key)
        if known is not None:
            return known
        answer = _holds(run, name, value)
        with self._lock:
            if len(self._known) > _MAX_KNOWN:
                self._known.clear()
            self._known[key] = answer
        return answer


@cache
def _option_names() -> frozenset[str]:
    return frozenset(name for job in JOBS.values() for name in specs_by_name(job))


def _terms(text: str) -> _Terms:
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    try:
        parts = list(lexer)
    except ValueError:  # a quote that is still open while somebody types
        parts = text.split()
    words: list[str] = []
    tags: list[str] = []
    options: list[tuple[str, str]] = []
    unknown: list[UnknownOption] = []
    for part in parts:
        if (match := _OPTION_TERM.fullmatch(part)) is not None:
            name = match[1].lower()
            if name in _option_names():
                options.append((name, match[2]))
            else:
                near = difflib.get_close_matches(name, _option_names(), 1)
                unknown.append(UnknownOption(match[1], near[0] if near else None))
        elif part.startswith("#") and len(part) > 1:
            tags.append(part[1:].casefold())
        else:
            words.append(part.casefold())
    return _Terms(tuple(words), tuple(tags), tuple(options), tuple(unknown))


def _holds(run: RunFolder, name: str, wanted: str) -> bool:
    """Tell whether the job of a run has an option at a value, without reading all of its TOML."""
    try:
        text = run.config.read_text("utf-8", "replace")
    except OSError:
        return False
    match = re.search(rf"^{re.escape(name)}[ \t]*=[ \t]*(.+)$", text, re.MULTILINE)
    if match is None:
        return wanted == ""
    try:
        value = tomllib.loads(f"x = {match[1]}")["x"]
    except (ValueError, RecursionError):  # a value of several lines
        try:
            value = tomllib.loads(text).get(name, match[1])
        except (ValueError, RecursionError):
            value = match[1]
    return _equals(value, wanted)


def _equals(value: object, wanted: str) -> bool:
    """Compare as a person would: numbers by value, texts by a part of them, lists by any item."""
    if isinstance(value, bool):
        return wanted.lower() == str(value).lower()
    if isinstance(value, int | float):
        try:
            return float(wanted) == float(value)
        except ValueError:
            return False
    if isinstance(value, list):
        return any(_equals(item, wanted) for item in value)
    return wanted.casefold() in str(value).casefold() if wanted else value == ""
