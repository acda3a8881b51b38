"""Several runs from one job: lists of values for options that take one, every combination a run."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from sd_scripts.errors import Problem, UserError
from sd_scripts.options.coerce import coerce
from sd_scripts.options.jobs import Job, TrainingJob
from sd_scripts.options.schema import OptionSpec, specs_by_name
from sd_scripts.options.toml_file import in_file, to_toml_value
from sd_scripts.options.types import UnfitError
from sd_scripts.runs.folder import safe_name

MAX_RUNS: Final = 36
"""So many runs come of one job at most: a board of six by six."""
_LONGEST_NAME: Final = 80
_NAMED_IN_PROBLEMS: Final = 3
_NAME: Final = "output_name"


@dataclass(frozen=True)
class Axis:
    """An option and the values it shall have, in their order, each once."""

    option: str
    values: tuple[object, ...]


@dataclass(frozen=True)
class Variant:
    """One run of a sweep: its name and what it sets."""

    name: str
    changes: Mapping[str, object]


def can_vary(spec: OptionSpec) -> bool:
    """Tell whether an option takes one value, so that a list of them makes runs."""
    return spec.kind not in ("texts", "key_values")


def take_lists(
    job_type: type[Job], values: Mapping[str, object]
) -> tuple[dict[str, object], tuple[Axis, ...]]:
    """Take lists out of a training's values where the option has one value only.

    Returns the values with the first of each list in its place, and the lists as axes.
    """
    known = specs_by_name(job_type) if issubclass(job_type, TrainingJob) else {}
    plain: dict[str, object] = {}
    axes = []
    for name, value in values.items():
        spec = known.get(name)
        if spec is None or not isinstance(value, list) or not value or _takes(spec, value):
            plain[name] = value
            continue
        axes.append(Axis(name, _each_once(value)))
        plain[name] = value[0]
    return plain, tuple(axes)


def read_axes(
    job_type: type[Job], wanted: Mapping[str, Sequence[str]]
) -> tuple[tuple[Axis, ...], list[Problem]]:
    """Read values that somebody typed, as the form would; what does not fit is told."""
    known = specs_by_name(job_type)
    problems: list[Problem] = []
    axes = []
    for name, texts in wanted.items():
        spec = known.get(name)
        if spec is None or not can_vary(spec):
            problems.append(Problem("there is no such option", name, "choose one of the list"))
            continue
        values = []
        for text in texts:
            try:
                values.append(coerce(spec, text))
            except UnfitError as unfit:
                problems.append(Problem(unfit.message, name, unfit.hint))
        if values:
            axes.append(Axis(name, _each_once(values)))
    return tuple(axes), problems


def lists_toml(job_type: type[Job], wanted: Mapping[str, Sequence[str]]) -> str:
    """Return typed lists as TOML lines; they stand above a job's sections."""
    known = specs_by_name(job_type)
    lines = []
    for name, texts in wanted.items():
        if name in known:
            values = [_written(known[name], text) for text in texts]
            lines.append(f"{name} = {to_toml_value(values)}\n")
    return "".join(lines)


def variants(name: str, axes: Sequence[Axis]) -> tuple[Variant, ...]:
    """Return every combination, named so that one tells them apart.

    Raises `UserError` when that is more than `MAX_RUNS`.
    """
    counts = [len(axis.values) for axis in axes]
    if (number := math.prod(counts)) > MAX_RUNS:
        product = " × ".join(map(str, counts))
        raise UserError(
            f"That makes {number} runs ({product}); at most {MAX_RUNS} fit into one go.",
            option=", ".join(axis.option for axis in axes),
            hint="Take out some values, or try one option after the other.",
        )
    found: dict[str, Variant] = {}
    for values in itertools.product(*(axis.values for axis in axes)):
        changes = {axis.option: value for axis, value in zip(axes, values, strict=True)}
        own = _named(name, changes)
        if len(own) > _LONGEST_NAME or own in found:
            own = f"{safe_name(name)[:60]}-{len(found) + 1}"
        # Files of the same name would take each other's place where runs share a folder.
        found[own] = Variant(own, {**changes, _NAME: own})
    return tuple(found.values())


def tag_of(name: str) -> str:
    """Return the tag by which the runs of a sweep are found again."""
    return f"{safe_name(name).replace(' ', '_')[:20]}-{time.strftime('%m%d-%H%M%S')}"


def told_together(found: Mapping[str, Iterable[Problem]]) -> list[Problem]:
    """Return the problems of several runs by their names, each once, with the runs that have it."""
    runs: dict[Problem, list[str]] = {}
    for name, problems in found.items():
        for problem in problems:
            runs.setdefault(problem, []).append(name)
    return [
        problem
        if len(names) == len(found)
        else Problem(
            f"{_some(names)}: {problem.message}", problem.option, problem.hint, problem.severity
        )
        for problem, names in runs.items()
    ]


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_IN_PROBLEMS
    shown = ", ".join(names[:_NAMED_IN_PROBLEMS])
    return f"{shown} (+ {more})" if more > 0 else shown


def _named(name: str, changes: Mapping[str, object]) -> str:
    parts = [f"{option}-{_short(value)}" for option, value in changes.items() if option != _NAME]
    return safe_name("-".join([str(changes.get(_NAME, name)), *parts]))


def _short(value: object) -> str:
    if isinstance(value, tuple | list):
        return "x".join(map(str, value))
    text = str(value)
    if isinstance(value, bool):
        return text.lower()
    return PurePath(text).stem if isinstance(value, str) and ("/" in text or "\\" in text) else text


def _written(spec: OptionSpec, text: str) -> object:
    try:
        return in_file(spec, coerce(spec, text))
    except UnfitError:
        return text  # told beside it


def _each_once(values: Sequence[object]) -> tuple[object, ...]:
    """Return values without those that are there already; `True` and `1` are two."""
    return tuple({repr(value): value for value in values}.values())


def _takes(spec: OptionSpec, value: list[object]) -> bool:
    """Tell whether an option takes a list as its one value."""
    if not can_vary(spec):
        return True
    try:
        coerce(spec, value)
    except UnfitError:
        return False
    return True
