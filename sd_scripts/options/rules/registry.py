"""Rules between options: each takes the groups it reads and yields what is wrong between them.

A rule holds for every job that has all of its groups, or subclasses of them. It names the options
it reads, so that it is left out when one of them is wrong in itself (it would judge a value nobody
chose).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from sd_scripts.errors import Problem
from sd_scripts.options.schema import Options

Check = Callable[..., Iterable[Problem]]


@dataclass(frozen=True)
class Rule:
    """A check, the groups it takes (by parameter) and the options it reads."""

    check: Check
    groups: tuple[type[Options], ...]
    options: tuple[str, ...]


RULES: list[Rule] = []


def rule(*options: str) -> Callable[[Check], Check]:
    """Register a check of these options; its parameters are annotated with the groups it wants."""

    def register(check: Check) -> Check:
        hints: dict[str, Any] = get_type_hints(check)
        hints.pop("return")
        groups = tuple(hints.values())
        known = {name for group in groups for name in group.model_fields}
        assert set(options) <= known, (check.__name__, set(options) - known)
        RULES.append(Rule(check, groups, options))
        return check

    return register


def run_rules(groups: Mapping[str, Options], unreliable: Collection[str] = ()) -> Iterator[Problem]:
    """Problems between the options of a job's groups, without rules that read `unreliable` ones."""
    for found in RULES:
        if any(option in unreliable for option in found.options):
            continue
        given = [
            next((group for group in groups.values() if isinstance(group, wanted)), None)
            for wanted in found.groups
        ]
        if all(group is not None for group in given):
            yield from found.check(*given)
