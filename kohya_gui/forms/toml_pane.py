"""The form as TOML and back, and how it differs from a preset, a past run or the defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from kohya_gui.context import Context
from kohya_gui.forms.drafts import Draft
from kohya_gui.forms.form import Raw, changed_names, default_raw, raw_of_values
from kohya_gui.forms.preparation import draft_of_file, draft_of_toml, full_raw, prepare
from kohya_gui.forms.presets import Preset, preset_raw
from kohya_gui.forms.report import problem_row
from kohya_gui.jobs.sweeps import lists_toml
from kohya_gui.locales import Texts
from kohya_gui.workspace import Workspace
from sd_scripts.errors import Problem, UserError
from sd_scripts.options.jobs import JOBS, Job
from sd_scripts.options.schema import specs_by_name
from sd_scripts.options.toml_file import read_toml, values_to_toml

NUM_RUNS: Final = 100
"""So many runs, the newest, are offered to be compared with."""
SOURCE: Final = "TOML"


def draft_toml(draft: Draft, workspace: Workspace) -> str:
    """Return what differs from the defaults as TOML, also where it is wrong: that is told beside
    it. Typed prompts stand there as the file that they will be in, lists of values at the top."""
    prepared = prepare(draft, workspace)
    names = [*changed_names(prepared.job_type, prepared.raw)]
    if prepared.prompt_file is not None:
        names.append("sample_prompts")
    specs = specs_by_name(prepared.job_type)
    lists = lists_toml(prepared.job_type, draft.lists)
    values = {name: prepared.values[name] for name in names if name not in draft.lists}
    for name, value in values.items():
        if specs[name].is_list and isinstance(value, str):  # what could not be read as a list
            values[name] = tuple(value.splitlines())
    plain = values_to_toml(prepared.job_type, values)
    return f"{lists}\n{plain}" if lists and plain else lists + plain


def with_toml(draft: Draft, text: str, workspace: Workspace) -> tuple[Draft, tuple[Problem, ...]]:
    """Return the draft that an edited text makes, and what of it could not be taken over.

    Raises `UserError` when it is not TOML. Prompts that are typed in the page stay as long as the
    text still names their file.
    """
    job_type = JOBS[draft.job]
    named = read_toml(text, SOURCE).get("sample_prompts")
    file = prepare(draft, workspace).prompt_file
    new, problems = draft_of_toml(job_type, text, workspace, SOURCE)
    if file is not None and named == str(file):
        values = {name: value for name, value in new.values.items() if name != "sample_prompts"}
        new = replace(new, values=values, prompts=draft.prompts)
    return new, problems


def differences(
    job_type: type[Job], raw: Mapping[str, object], other: Mapping[str, object], text: Texts
) -> list[dict[str, object]]:
    """Return the options that stand differently in a form and in what it is compared with."""
    specs = specs_by_name(job_type)
    return [
        {
            "option": name,
            "label": text.optional(f"option.{name}.label", spec.label),
            "here": _shown(raw[name], text),
            "there": _shown(other[name], text),
            "value": other[name],
        }
        for name, spec in specs.items()
        if (raw[name] or "") != (other[name] or "")
    ]


def _shown(value: object, text: Texts) -> str:
    if isinstance(value, bool):
        return text("form.yes") if value else text("form.no")
    return str(value) if value not in (None, "") else text("form.empty")


class TomlPane:
    """Answers what the pane of one kind of job asks for."""

    def __init__(self, context: Context, job_type: type[Job]) -> None:
        self._context = context
        self._job_type = job_type

    def look(self, draft: Draft, against: str, presets: Sequence[Preset]) -> dict[str, Any]:
        """Return the form as TOML, and how it differs from `against`: "" for the defaults,
        "preset:<id>" or "run:<id>"."""
        raw = full_raw(draft)
        try:
            other = self._other(against, presets)
        except UserError as error:
            return {
                "text": draft_toml(draft, self._context.workspace),
                "differences": [],
                "problems": [problem_row(problem, raw) for problem in error.problems],
            }
        return {
            "text": draft_toml(draft, self._context.workspace),
            "differences": differences(self._job_type, raw, other, self._context.text),
            "problems": [],
        }

    def runs(self) -> list[dict[str, str]]:
        """Return the newest runs of this kind of job, to be compared with."""
        found = [run for run in self._context.store.list() if run.job == self._job_type.name]
        return [{"id": run.id, "name": run.name} for run in found[:NUM_RUNS]]

    def whole(self, draft: Draft) -> str:
        """Return the text as a file of its own: prompts that it names are written. Raises
        `OSError`."""
        prepare(draft, self._context.workspace).write_prompts()
        return draft_toml(draft, self._context.workspace)

    def _other(self, against: str, presets: Sequence[Preset]) -> Raw:
        kind, _, wanted = against.partition(":")
        if kind == "preset":
            found = next((preset for preset in presets if preset.id == wanted), None)
            return preset_raw(self._job_type, found) if found else default_raw(self._job_type)
        if kind == "run":
            summary = self._context.store.summary(wanted)
            if summary is None:
                raise UserError(self._context.text("form.no_such_run", run=wanted))
            workspace = self._context.workspace
            draft, _ = draft_of_file(self._job_type, summary.folder.config, workspace)
            return full_raw(draft)
        return raw_of_values(self._job_type, {})
