"""How counts and lists of names are written in messages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sd_scripts.dataset.pictures import shown


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`number` with its noun, in the plural unless there is exactly one."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def some(names: Iterable[str | Path], limit: int = 8, between: str = ", ") -> str:
    """`a, b and 12 more`: names for a message."""
    told = [shown(name) for name in names]
    if len(told) <= limit:
        return between.join(told)
    return f"{between.join(told[:limit])} and {len(told) - limit} more"
