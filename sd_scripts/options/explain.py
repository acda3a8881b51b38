"""Turns what is wrong with a value into words: too small, not a number, did you mean."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from sd_scripts.errors import Problem
from sd_scripts.options.schema import OptionSpec
from sd_scripts.options.types import UnfitError


def nearest(name: str, known: Iterable[str], count: int = 2) -> list[str]:
    """The known names most like `name`, best first; upper case and hyphens do not matter."""
    by_plain = {candidate.lower(): candidate for candidate in known}
    plain = name.strip().lower().replace("-", "_")
    found = difflib.get_close_matches(plain, by_plain, n=count, cutoff=0.7)
    return [by_plain[match] for match in found]


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """A hint with the nearest known names, or `otherwise` if none is near."""
    found = nearest(name, known)
    return f"did you mean {' or '.join(found)}?" if found else otherwise


def shown(value: object, longest: int = 60) -> str:
    """A value as it can stand in a message."""
    if isinstance(value, float):
        return plain_number(value)
    text = str(value) if isinstance(value, int) else repr(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def plain_number(number: float) -> str:
    """A number without a needless ".0"; very small ones as 1e-06."""
    is_whole = math.isfinite(number) and number == int(number) and abs(number) < 1e15
    return str(int(number)) if is_whole else str(number)


def range_words(spec: OptionSpec) -> str | None:
    """What numbers an option takes: "1 to 4096", "above 0", "0 or more"; None if any."""
    low = None if spec.minimum is None else plain_number(spec.minimum)
    high = None if spec.maximum is None else plain_number(spec.maximum)
    if low is not None and high is not None and not spec.exclusive_minimum:
        return f"from {low} to below {high}" if spec.exclusive_maximum else f"{low} to {high}"
    below = None if high is None else f"{'below' if spec.exclusive_maximum else 'at most'} {high}"
    if low is None:
        return below
    above = f"above {low}" if spec.exclusive_minimum else f"{low} or more"
    return above if below is None else f"{above}, {below}"


def range_hint(spec: OptionSpec) -> str:
    """What to give instead of a number out of range."""
    words = range_words(spec)
    unit = f" {spec.unit}" if spec.unit and spec.kind != "steps" else ""
    empty = ", or leave it empty" if spec.optional else ""
    return f"give {words}{unit}{empty}" if words else f"see the help of {spec.name}"


def _field_problem(spec: OptionSpec, error: Any) -> Problem:
    """One of pydantic's errors in a user's words; `error` is a pydantic ErrorDetails."""
    value = shown(error["input"])
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, UnfitError):
        return Problem(cause.message, spec.name, cause.hint)
    match error["type"]:
        case "missing":
            return Problem("this has to be given", spec.name, _first_sentence(spec.help))
        case "greater_than_equal" | "greater_than":
            return Problem(f"{value} is too small", spec.name, range_hint(spec))
        case "less_than_equal" | "less_than":
            return Problem(f"{value} is too large", spec.name, range_hint(spec))
        case "finite_number":
            return Problem(f"{value} is not a finite number", spec.name, range_hint(spec))
        case "string_too_short" | "too_short":
            return Problem("this cannot be empty", spec.name, _first_sentence(spec.help))
        case "string_too_long":
            longest = error["ctx"]["max_length"]
            return Problem("this text is too long", spec.name, f"at most {longest} characters")
        case "too_long":
            return Problem(
                f"{error['ctx']['actual_length']} values are too many",
                spec.name,
                f"give at most {error['ctx']['max_length']}",
            )
    return Problem(f"{value} cannot be used here", spec.name, _first_sentence(spec.help))


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".")


def field_problems(
    error: ValidationError, specs: dict[str, OptionSpec]
) -> Iterator[tuple[str, Problem]]:
    """Every error of a group as (option name, problem)."""
    told: set[str] = set()
    for detail in error.errors(include_url=False):
        name = str(detail["loc"][0])
        if name not in told:
            told.add(name)
            yield name, _field_problem(specs[name], detail)
