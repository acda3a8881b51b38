"""Between a form's widgets and a job's values: empty is the default, zero stays zero."""

from __future__ import annotations

from collections.abc import Mapping

from sd_scripts.options.coerce import coerce, is_empty
from sd_scripts.options.jobs import Job
from sd_scripts.options.schema import OptionSpec, specs_by_name
from sd_scripts.options.types import UnfitError
from sd_scripts.options.values import values_of


def from_form(job_type: type[Job], raw: Mapping[str, object]) -> dict[str, object]:
    """Values of what stands in a form's widgets.

    An empty text or None becomes None (the default). Text is read as numbers, sizes and lists;
    what cannot be read stays as it is, so that `check_values` tells what is wrong with it.
    """
    specs = specs_by_name(job_type)
    values: dict[str, object] = {}
    for name, value in raw.items():
        spec = specs.get(name)
        blank = isinstance(value, str) and spec is not None and _is_blank(spec, value)
        if is_empty(value) or blank:
            values[name] = None
        elif spec is None:
            values[name] = value
        else:
            try:
                values[name] = coerce(spec, value)
            except UnfitError:
                values[name] = value
    return values


def _is_blank(spec: OptionSpec, text: str) -> bool:
    return spec.kind != "text" and not text.strip()


def to_widget(spec: OptionSpec, value: object) -> object:
    """A value as a widget shows it.

    bool: a tick. int, float: a number or None. Everything else is text, "" for no value: choices
    by name, yes/no/automatic as "true"/"false"/"", sizes "512,768", steps "100" or "0.1", lists of
    numbers "0.1, 0.2", lists of texts one a line.
    """
    if spec.kind == "bool" and not spec.optional:
        return value
    if spec.kind in ("int", "float"):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        joint = {"size": ",", "numbers": ", "}.get(spec.kind, "\n")
        return joint.join(str(item) for item in value)
    return str(value)


def to_form(job: Job) -> dict[str, object]:
    """Every option of a job as its widget shows it; see `to_widget`."""
    specs = specs_by_name(type(job))
    return {name: to_widget(specs[name], value) for name, value in values_of(job).items()}


def default_form(job_type: type[Job]) -> dict[str, object]:
    """Widgets of a form nobody has touched; required options are empty."""
    return {name: to_widget(spec, spec.default) for name, spec in specs_by_name(job_type).items()}
