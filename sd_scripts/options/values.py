"""From flat values to a job and back; every problem of a job is found in one go.

The order: old names → unknown names → each value by itself → each group → rules between options
(those that read only what is right). `None` and empty texts mean "the default"; zero and False
are values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from sd_scripts.errors import Problem, UserError, errors_among
from sd_scripts.options.coerce import coerce, is_empty
from sd_scripts.options.explain import did_you_mean, field_problems
from sd_scripts.options.jobs import JOBS, Job
from sd_scripts.options.later import LATER, has_no_effect
from sd_scripts.options.old_names import Translation, carried_options, stray_arguments
from sd_scripts.options.rules.all_rules import run_rules
from sd_scripts.options.schema import (
    Options,
    OptionSpec,
    group_types,
    option_specs,
    specs_by_name,
)
from sd_scripts.options.types import UnfitError

SomeJob = TypeVar("SomeJob", bound=Job)


def unknown_option(job_type: type[Job], name: str, values: Mapping[str, object]) -> Problem | None:
    """Words for a name that the job does not have; None if it can be passed over in silence."""
    row = LATER.get(name)
    if row is not None:
        if has_no_effect(row, values):
            return None
        if row.needless:
            return Problem("this is not needed and not used", name, row.hint, severity="warning")
        return Problem("known from sd-scripts, but this program does not have it", name, row.hint)
    specs = option_specs(job_type)
    by_keyword = [spec.name for spec in specs if name.lower().strip("-") in spec.keywords]
    if by_keyword:
        return Problem("there is no such option", name, f"did you mean {' or '.join(by_keyword)}?")
    elsewhere = [other for other in JOBS.values() if name in specs_by_name(other)]
    if elsewhere:
        if any(_is_off(specs_by_name(other)[name], values[name]) for other in elsewhere):
            return None  # files are shared between jobs, and this one asks for nothing
        names = " and ".join(other.name for other in elsewhere)
        stray = stray_arguments(values[name]) if name == "network_args" else []
        return Problem(f"this is an option of {names}", ", ".join(stray) or name, "take it out")
    known = [spec.name for spec in specs] + list(LATER)
    hint = did_you_mean(name, known, "take it out, or look it up in the list of options")
    return Problem("there is no such option", name, hint)


def _is_off(spec: OptionSpec, value: object) -> bool:
    """Whether a value of an option that a job does not have means that it is not used."""
    if is_empty(value):
        return True
    try:
        read = coerce(spec, value)
    except UnfitError:
        return False
    return is_empty(read) or read is False or (read == spec.default and spec.default is not True)


class Reading:
    """Values of a job read as far as they can be, and every problem met on the way."""

    def __init__(self, job_type: type[Job], values: Mapping[str, object]) -> None:
        self._specs = specs_by_name(job_type)
        self._wrong: set[str] = set()
        translation = Translation(values, self._specs)
        self.problems: list[Problem] = list(translation.problems)
        read = self._read(job_type, translation.values)
        self.groups: dict[str, Options] = {
            name: self._group(group, read) for name, group in group_types(job_type).items()
        }
        self.problems += run_rules(self.groups, self._wrong)

    def _read(self, job_type: type[Job], values: Mapping[str, object]) -> dict[str, object]:
        read: dict[str, object] = {}
        for name, value in values.items():
            if name not in self._specs:
                if (problem := unknown_option(job_type, name, values)) is not None:
                    self.problems.append(problem)
            elif not is_empty(value):
                try:
                    one = coerce(self._specs[name], value)
                except UnfitError as unfit:
                    self._blame(name, Problem(unfit.message, name, unfit.hint))
                else:
                    read |= {} if is_empty(one) else {name: one}
        return read

    def _blame(self, name: str, problem: Problem) -> None:
        self._wrong.add(name)
        self.problems.append(problem)

    def _group(self, group: type[Options], values: Mapping[str, object]) -> Options:
        own = {name: values[name] for name in group.model_fields if name in values}
        try:
            return group.model_validate(own)
        except ValidationError as error:
            wrong: set[str] = set()
            for name, problem in field_problems(error, self._specs):
                wrong.add(name)
                if name not in self._wrong:
                    self._blame(name, problem)
        right = {name: value for name, value in own.items() if name not in wrong}
        missing = {name: None for name in wrong if group.model_fields[name].is_required()}
        return group.model_construct(**group_defaults(group, right), **missing)


def group_defaults(group: type[Options], values: Mapping[str, Any]) -> dict[str, Any]:
    """These values of a group as the group itself reads them, required options aside."""
    required = {name: field for name, field in group.model_fields.items() if field.is_required()}
    dummies = {name: "-" for name in required if name not in values}
    checked = group.model_validate({**dummies, **values})
    return {name: value for name, value in checked if name not in dummies}


def check_values(job_type: type[Job], values: Mapping[str, object]) -> list[Problem]:
    """Every error and warning of these values; empty if the job can run as it is."""
    return Reading(job_type, values).problems


def errors_of_single_values(job_type: type[Job], values: Mapping[str, object]) -> list[Problem]:
    """What is wrong with these values by themselves, whatever is missing beside them."""
    found = errors_among(check_values(job_type, values))
    return [problem for problem in found if problem.option in values]


def job_from_values(job_type: type[SomeJob], values: Mapping[str, object]) -> SomeJob:
    """Make a job of flat values. Raises `UserError` with every problem of severity "error"."""
    reading = Reading(job_type, values)
    if errors := errors_among(reading.problems):
        raise UserError.of(errors)
    return job_type.model_validate(reading.groups)


def job_warnings(job: Job) -> list[Problem]:
    """What is worth knowing about a job although it can run (severity "warning")."""
    return [found for found in run_rules(job.groups()) if found.severity == "warning"]


def values_of(job: Job, *, only_changed: bool = False) -> dict[str, object]:
    """Flat values of a job, in order; with `only_changed` only those unlike their default."""
    flat: dict[str, object] = {}
    for group in job.groups().values():
        flat |= dict(group)
    if not only_changed:
        return flat
    specs = specs_by_name(type(job))
    return {
        name: value
        for name, value in flat.items()
        if specs[name].required or value != specs[name].default
    }


def replace_values(job: SomeJob, changes: Mapping[str, object]) -> SomeJob:
    """The same job with some values changed (None: back to the default), checked anew."""
    return job_from_values(type(job), {**values_of(job), **changes})


def merge_values(
    job_type: type[Job], base: Mapping[str, object], overrides: Mapping[str, object]
) -> dict[str, object]:
    """Values of `base` with `overrides` in their place; both under today's names afterwards.

    A name=value list in `overrides` takes the place of the whole list, so options it could carry
    (`conv_dim` in `network_args`) are then taken from it as well. Raises `UserError` if either
    side contradicts itself.
    """
    specs = specs_by_name(job_type)
    below, above = Translation(base, specs), Translation(overrides, specs)
    if errors := [*below.problems, *above.problems]:
        raise UserError.of(errors)
    merged = dict(below.values)
    for carrier, names in carried_options(specs).items():
        if carrier in overrides:
            merged = {name: value for name, value in merged.items() if name not in names}
    return merged | above.values
