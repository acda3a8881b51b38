"""Rules between options: each case names the options, and every rule has a case."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import pytest

from sd_scripts.errors import Problem
from sd_scripts.options.jobs import Job, TrainNetworkJob
from sd_scripts.options.rules.all_rules import RULES, Rule
from sd_scripts.options.schema import Options
from sd_scripts.options.values import check_values, job_from_values
from tests.options.captioning_cases import CAPTIONING_CASES
from tests.options.full_rule_cases import FULL_RIGHT
from tests.options.rule_cases import CASES, CASES_OF_OTHERS, RIGHT
from tests.options.support import NEEDED, job, problems


def _from_rule(
    name: str, values: Mapping[str, object], job_type: type[Job] = TrainNetworkJob
) -> list[Problem]:
    found = next(rule for rule in RULES if rule.check.__name__ == name)
    others = [rule for rule in RULES if rule is not found]
    for rule in others:
        RULES.remove(rule)
    try:
        return check_values(job_type, {**NEEDED, **values})
    finally:
        RULES[:] = [found, *others]


@pytest.mark.parametrize(("name", "severity", "values", "option"), CASES)
def test_a_rule_names_the_options_and_the_remedy(
    name: str, severity: str, values: Mapping[str, object], option: str
) -> None:
    found = [problem for problem in _from_rule(name, values) if problem.option == option]
    assert [problem.severity for problem in found] == [severity]
    assert found[0].hint
    assert found[0] in problems(**values)


@pytest.mark.parametrize(("job_type", "name", "severity", "values", "option"), CASES_OF_OTHERS)
def test_a_rule_of_another_job_names_the_options_and_the_remedy(
    job_type: type[Job], name: str, severity: str, values: Mapping[str, object], option: str
) -> None:
    found = [one for one in _from_rule(name, values, job_type) if one.option == option]
    assert [problem.severity for problem in found] == [severity]
    assert found[0].hint


def test_every_rule_has_a_case() -> None:
    cases = {case[0] for case in [*CASES, *CAPTIONING_CASES]}
    cases |= {case[1] for case in CASES_OF_OTHERS}
    assert {rule.check.__name__ for rule in RULES} == cases


@pytest.mark.parametrize("values", RIGHT)
def test_right_jobs_have_nothing_to_complain_of(values: Mapping[str, object]) -> None:
    assert problems(**values) == []


class _Watched:
    """Hands out a group's attributes and notes which options are read."""

    def __init__(self, group: Options, read: set[str]) -> None:
        self._group = group
        self._read = read

    def __getattr__(self, name: str) -> object:
        fields = type(self._group).model_fields
        if name in fields:
            self._read.add(name)
        found = getattr(type(self._group), name, None)
        if isinstance(found, property):
            assert found.fget is not None
            return found.fget(self)
        if name not in fields and callable(found):
            return lambda *args, **kwargs: found(self, *args, **kwargs)
        return getattr(self._group, name)

    def model_dump(self, include: set[str]) -> dict[str, object]:
        self._read |= include
        return self._group.model_dump(include=include)


@pytest.mark.parametrize(("job_type", "values"), FULL_RIGHT)
def test_right_whole_models_have_nothing_to_complain_of(
    job_type: type[Job], values: Mapping[str, object]
) -> None:
    assert check_values(job_type, {**NEEDED, **values}) == []


@cache
def _watched_jobs() -> tuple[Job, ...]:
    """Made once: they are only read."""
    warned = [values for _, severity, values, _ in CASES if severity == "warning"]
    others = [
        (kind, values) for kind, _, severity, values, _ in CASES_OF_OTHERS if severity == "warning"
    ]
    return (
        *(job(**values) for values in (*RIGHT, *warned)),
        *(job_from_values(kind, {**NEEDED, **values}) for kind, values in (*FULL_RIGHT, *others)),
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.check.__name__)
def test_a_rule_reads_only_the_options_it_names(rule: Rule) -> None:
    read: set[str] = set()
    for watched in _watched_jobs():
        groups = watched.groups().values()
        given = [next((g for g in groups if isinstance(g, kind)), None) for kind in rule.groups]
        if None in given:
            continue  # a rule of another job
        list(rule.check(*(_Watched(group, read) for group in given if group is not None)))
    assert read <= set(rule.options)
