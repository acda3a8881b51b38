"""Jobs as TOML: sections named by group on writing, free or absent on reading."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from sd_scripts.errors import Problem, UserError
from sd_scripts.files import parse_toml
from sd_scripts.options.explain import shown
from sd_scripts.options.jobs import JOBS, Job
from sd_scripts.options.old_names import Translation
from sd_scripts.options.schema import OptionSpec, option_specs, specs_by_name
from sd_scripts.options.values import job_from_values, merge_values, values_of

SomeJob = TypeVar("SomeJob", bound=Job)
_BARE_ESCAPES = re.compile(r"[\x7f-\x9f\u2028\u2029]")


def _parse(text: str, source: str) -> dict[str, object]:
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        raise UserError(
            "this is JSON, not TOML",
            option=source,
            hint="settings of kohya_ss are translated by: python -m kohya_gui.importers FILE.json "
            "--out job.toml",
        )
    try:
        return parse_toml(text)
    except tomllib.TOMLDecodeError as error:
        hint = "mend that line"
        if found := re.search(r"line (\d+)", str(error)):
            lines = text.replace("\r\n", "\n").split("\n")
            line = lines[min(int(found[1]), len(lines)) - 1].strip()
            hint = f"mend that line: {shown(line, 100)}"
            if "\\" in line:
                hint = "write a Windows path in single quotes, as in 'C:\\pictures', or with /"
        raise UserError(f"this is not valid TOML: {error}", option=source, hint=hint) from error
    except ValueError as error:
        reason = "a number or a name is too long, or brackets lie too deep in brackets"
        raise UserError(
            f"this is not valid TOML: {reason}", option=source, hint="mend that line"
        ) from error


def _flatten(tables: Mapping[str, object], source: str) -> tuple[dict[str, object], list[Problem]]:
    """Values of all sections in one; the same option twice must say the same."""
    flat: dict[str, object] = {}
    place: dict[str, str] = {}
    problems: list[Problem] = []
    top = {name: value for name, value in tables.items() if not isinstance(value, dict)}
    sections = {name: value for name, value in tables.items() if isinstance(value, dict)}
    for section, values in [("the top of the file", top), *sections.items()]:
        for name, value in values.items():
            if isinstance(value, dict) or name in ("general", "datasets"):
                problems.append(_not_an_option(name, section, source))
            elif name in flat and (flat[name] != value or type(flat[name]) is not type(value)):
                problems.append(
                    Problem(
                        f"{shown(flat[name])} in {place[name]}, but {shown(value)} in {section}",
                        name,
                        "keep one of the two",
                    )
                )
            else:
                flat[name], place[name] = value, section
    return flat, problems


def _not_an_option(name: str, section: str, source: str) -> Problem:
    if name in ("general", "datasets"):
        return Problem(
            f"{source} describes a dataset, not a job",
            "dataset_config",
            "name it in the option dataset_config of a job's file",
        )
    return Problem(
        f"{section} holds a table of its own", name, "options stand at the top or in one section"
    )


def all_specs() -> dict[str, OptionSpec]:
    """Options of every job by name; a name means the same in all of them."""
    return {name: spec for job in JOBS.values() for name, spec in specs_by_name(job).items()}


def read_toml(text: str, source: str = "config") -> dict[str, object]:
    """Flat values of a file under today's names; sections are dissolved, nothing else is checked.

    Raises `UserError` if the text is not TOML (with its line) or contradicts itself.
    """
    flat, problems = _flatten(_parse(text, source), source)
    translation = Translation(flat, all_specs())
    if found := [*problems, *translation.problems]:
        raise UserError.of(found)
    return translation.values


def job_from_toml(
    job_type: type[SomeJob],
    text: str,
    overrides: Mapping[str, object] | None = None,
    source: str = "config",
) -> SomeJob:
    """Make a job of a file's text; `overrides` win. Raises `UserError` with every problem."""
    values = read_toml(text, source)
    return job_from_values(job_type, merge_values(job_type, values, overrides or {}))


def _quoted(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return _BARE_ESCAPES.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)


def _array(items: Iterable[object]) -> str:
    return "[" + ", ".join(to_toml_value(item) for item in items) + "]"


def to_toml_value(value: object) -> str:
    """A value in TOML's spelling; floats so that they are read as the same float."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _quoted(value)
    assert isinstance(value, tuple | list), f"no TOML spelling for {value!r}"
    return _array(value)


def in_file(spec: OptionSpec, value: object) -> object:
    """A value as sd-scripts expects it in a file: sizes as "W,H"."""
    if spec.kind == "size" and isinstance(value, tuple):
        return ",".join(str(side) for side in value)
    return value


def job_to_toml(job: Job, *, only_changed: bool = False) -> str:
    """A job as TOML with a section for each group; options without a value are left out."""
    return values_to_toml(type(job), values_of(job, only_changed=only_changed))


def values_to_toml(job_type: type[Job], given: Mapping[str, object]) -> str:
    """Values as a job keeps them, as TOML with a section for each group; those that sd-scripts
    knows as arguments of a name=value list stand in that list."""
    values = dict(given)
    specs = option_specs(job_type)
    carried = {spec.name: spec.carrier for spec in specs if spec.carrier}
    for name, carrier in carried.items():
        value = values.pop(name, None)
        if value is not None:
            base = values.get(carrier, ())
            assert isinstance(base, tuple)
            values[carrier] = (*base, f"{name}={value}")
    sections: dict[str, list[str]] = {}
    for spec in specs:
        value = values.get(spec.name)
        if value is not None:
            line = f"{spec.name} = {to_toml_value(in_file(spec, value))}"
            sections.setdefault(spec.group, []).append(line)
    return "\n\n".join("\n".join([f"[{group}]", *lines]) for group, lines in sections.items()) + (
        "\n" if sections else ""
    )
