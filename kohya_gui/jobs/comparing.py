"""Several runs side by side: their losses, what differs in their settings, their previews."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from kohya_gui.jobs.feed import RunFeed
from kohya_gui.jobs.series import Chart
from kohya_gui.jobs.store import RunStore, RunSummary
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import JOBS
from sd_scripts.options.schema import specs_by_name
from sd_scripts.options.toml_file import read_toml
from sd_scripts.runs.events import SampleEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import read_record

FEWEST: Final = 2
MOST: Final = 6
CHART_POINTS: Final = 500
MAX_PROMPTS: Final = 40

NOT_COMPARED: Final = frozenset(
    ("output_name", "output_dir", "logging_dir", "cache_dir", "run_dir", "resume", "config_file")
)
"""Name and places of a run itself: they always differ and explain nothing."""


@dataclass(frozen=True)
class Compared:
    """One of the runs. `pictures_per_step` is how many pictures one step learned from."""

    summary: RunSummary
    chart: Chart
    pictures_per_step: int
    samples: tuple[SampleEvent, ...]


@dataclass(frozen=True)
class Difference:
    """An option that is not the same in all runs; `values` in the order of the runs."""

    option: str
    values: tuple[object, ...]


@dataclass(frozen=True)
class PreviewRow:
    """Previews of one prompt and seed; `cells` by run and step."""

    prompt: str
    seed: int | None
    cells: dict[tuple[str, int], SampleEvent] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Everything that is shown of several runs side by side."""

    runs: tuple[Compared, ...]
    differences: tuple[Difference, ...]
    previews: tuple[PreviewRow, ...]
    missing: tuple[str, ...]


def new_feed(run: RunFolder) -> RunFeed:
    """Return a feed that begins to read at the start."""
    return RunFeed(run.events)


def compare(
    store: RunStore, run_ids: Sequence[str], feed_of: Callable[[RunFolder], RunFeed] = new_feed
) -> Comparison:
    """Put runs side by side; those that are gone are named. Raises `UserError` for too few or too
    many. `feed_of` may give a feed that has read a part before."""
    wanted = list(dict.fromkeys(run_ids))
    if not FEWEST <= len(wanted) <= MOST:
        raise UserError(
            f"{len(wanted)} runs cannot be compared.", hint=f"Choose {FEWEST} to {MOST} runs."
        )
    found = [(run_id, store.summary(run_id)) for run_id in wanted]
    summaries = [summary for _, summary in found if summary is not None]
    values = [_values(summary) for summary in summaries]
    runs = tuple(
        _compared(summary, own, feed_of) for summary, own in zip(summaries, values, strict=True)
    )
    return Comparison(
        runs=runs,
        differences=tuple(_differences(summaries, values)),
        previews=tuple(_previews(runs)[:MAX_PROMPTS]),
        missing=tuple(run_id for run_id, summary in found if summary is None),
    )


def _compared(
    summary: RunSummary, values: dict[str, object], feed_of: Callable[[RunFolder], RunFeed]
) -> Compared:
    feed = feed_of(summary.folder)
    with contextlib.suppress(OSError):  # deleted meanwhile: its name is all there is to show
        feed.poll()
    return Compared(
        summary=summary,
        chart=feed.chart(CHART_POINTS),
        pictures_per_step=_pictures_per_step(summary, values),
        samples=feed.samples,
    )


def _values(summary: RunSummary) -> dict[str, object]:
    """Return the options of a run, those that it left open at their defaults."""
    job_type = JOBS.get(summary.job)
    if job_type is None:
        return {}
    try:
        given = read_toml(summary.folder.config.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, UserError):
        return {}
    specs = specs_by_name(job_type)
    default = {name: spec.default for name, spec in specs.items() if not spec.required}
    return {**default, **{name: value for name, value in given.items() if name in specs}}


def _pictures_per_step(summary: RunSummary, values: dict[str, object]) -> int:
    """Return batch × gathered batches × processes."""
    number = 1
    for name in ("train_batch_size", "gradient_accumulation_steps"):
        value = values.get(name)
        number *= value if isinstance(value, int) and value > 0 else 1
    record = read_record(summary.folder)
    words = " ".join(record.argv) if record else ""
    processes = re.search(r"--num_processes[ =](\d+)", words)
    return number * max(1, int(processes[1]) if processes else 1)


def _differences(
    summaries: Sequence[RunSummary], values: Sequence[dict[str, object]]
) -> list[Difference]:
    names = dict.fromkeys(name for own in values for name in own)
    found = []
    for name in names:
        row = tuple(own.get(name) for own in values)
        first = _plain(row[0])
        if name not in NOT_COMPARED and any(_plain(value) != first for value in row):
            found.append(Difference(name, row))
    return found if len(summaries) > 1 else []


def _plain(value: object) -> object:
    """Return a value so that what means the same is equal."""
    if isinstance(value, list | tuple):
        return tuple(value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _previews(runs: Sequence[Compared]) -> list[PreviewRow]:
    rows: dict[tuple[str, int | None], PreviewRow] = {}
    for run in runs:
        for sample in run.samples:
            row = rows.setdefault(
                (sample.prompt, sample.seed), PreviewRow(sample.prompt, sample.seed)
            )
            row.cells[run.summary.id, sample.step] = sample
    # Those that most runs have come first: only they can be compared.
    return sorted(rows.values(), key=lambda row: -len({run for run, _ in row.cells}))
