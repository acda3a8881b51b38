"""What the page shows of a failure: its last words, remedies and their price, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kohya_gui.jobs.remedies import Diagnosis, Remedy
from kohya_gui.jobs.store import RunSummary
from kohya_gui.locales import Texts
from sd_scripts.options.explain import shown
from sd_scripts.options.jobs import JOBS
from sd_scripts.options.schema import specs_by_name


def option_label(job: str, name: str, text: Texts) -> str:
    """Return an option's label in the language of the page."""
    spec = specs_by_name(JOBS[job]).get(name) if job in JOBS else None
    return text.optional(f"option.{name}.label", spec.label if spec else name)


def value_shown(value: object, text: Texts) -> str:
    """Return an option's value as a person reads it."""
    if value is None or value == "" or value == ():
        return text("changes.nothing")
    if isinstance(value, bool):
        return text("changes.on" if value else "changes.off")
    if isinstance(value, tuple | list):
        return ", ".join(str(one) for one in value)
    return str(value) if isinstance(value, str) else shown(value)


def change_rows(
    job: str, before: Mapping[str, object], after: Mapping[str, object], text: Texts
) -> list[dict[str, str]]:
    """Return what is different, an option a row."""
    return [
        {
            "option": name,
            "label": option_label(job, name, text),
            "before": value_shown(before.get(name), text),
            "after": value_shown(value, text),
        }
        for name, value in after.items()
    ]


def failure_row(summary: RunSummary, found: Diagnosis, text: Texts) -> dict[str, Any]:
    """Return a diagnosis for the page's script."""
    return {
        "kind": found.kind,
        "log": list(found.log),
        "free_bytes": found.free_bytes,
        "remedies": [_remedy(summary, found, one, text) for one in found.remedies],
    }


def goes_on_text(remedy: Remedy, text: Texts) -> str:
    """Return whether a training goes on or begins anew with a remedy, or nothing."""
    if not remedy.goes_on:
        return ""
    fields = {"state": remedy.state.name} if remedy.state else {}
    return text(f"remedy_goes_on.{remedy.goes_on}", **fields)


def _remedy(summary: RunSummary, found: Diagnosis, remedy: Remedy, text: Texts) -> dict[str, Any]:
    key = "field" if remedy.kind == "field" else remedy.name
    label = option_label(summary.job, remedy.option or "", text)
    return {
        "name": remedy.name,
        "kind": remedy.kind,
        "title": text(f"remedy.{key}", option=label),
        "cost": text(f"remedy_cost.{key}", option=label),
        "goes_on": goes_on_text(remedy, text),
        "option": remedy.option,
        "changes": change_rows(summary.job, found.before, remedy.changes, text),
        "pictures": [path.name for path in remedy.pictures],
    }
