"""Presets of the user's own: TOML files in the workspace, made from a form, renamed, given away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from kohya_gui.context import Context
from kohya_gui.forms import preset_words
from kohya_gui.forms.drafts import Draft
from kohya_gui.forms.form import default_raw, only_changed
from kohya_gui.forms.preparation import full_raw
from kohya_gui.forms.presets import FOLDER_OF_JOB, Preset, is_users_own, preset_of_text
from kohya_gui.jobs.lock import file_lock
from kohya_gui.locales import Texts
from kohya_gui.workspace import Workspace
from sd_scripts.errors import Problem, UserError
from sd_scripts.files import write_atomic
from sd_scripts.options.form_values import from_form
from sd_scripts.options.jobs import Job
from sd_scripts.options.schema import specs_by_name
from sd_scripts.options.toml_file import values_to_toml
from sd_scripts.options.values import errors_of_single_values, unknown_option
from sd_scripts.runs.folder import safe_name

OWN: Final = "own:"
"""Ids of these presets begin so; the file's name without its ending follows."""
Action = Callable[[Draft, Mapping[str, object]], dict[str, Any]]
"""What is done with a form, by what was sent with the wish; returns what the page shows of it."""


class OwnPresets:
    """The presets of one kind of job in one workspace. Every call looks at the disk anew."""

    def __init__(self, workspace: Workspace, job_type: type[Job]) -> None:
        self._job_type = job_type
        self._folder = workspace.path / "presets" / FOLDER_OF_JOB.get(job_type.name, job_type.name)
        self._lock = workspace.queue / "presets.lock"

    def list(self) -> tuple[Preset, ...]:
        """Return all that can be read, by title; others are passed over."""
        found = (self._read(path) for path in sorted(self._folder.glob("*.toml")))
        return tuple(sorted((one for one in found if one), key=lambda one: one.title.casefold()))

    def find(self, preset_id: str) -> Preset | None:
        """Return a preset by its id, or None."""
        path = self._path(preset_id)
        return self._read(path) if path is not None else None

    def text(self, preset_id: str) -> str | None:
        """Return a preset's file, or None."""
        path = self._path(preset_id)
        try:
            return path.read_text("utf-8") if path is not None else None
        except OSError:
            return None

    def save(self, preset: Preset, *, may_replace: bool = False) -> bool:
        """Write a preset under its title; False when there is one already, from somebody else at
        the same moment, too. Raises `OSError`, and `UserError` when another program keeps the
        lock."""
        path = self._folder / f"{safe_name(preset.title, fallback='preset')}.toml"
        head = f"# title: {_line(preset.title)}\n# note: {_line(preset.note)}\n"
        head += f"# families: {', '.join(preset.families)}\n" if preset.families else ""
        with file_lock(self._lock):
            if path.exists() and not may_replace:
                return False
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, f"{head}\n{values_to_toml(self._job_type, preset.values)}")
        return True

    def rename(self, preset_id: str, title: str) -> bool:
        """Give a preset another title; False when that is taken or it is gone. Raises `OSError`."""
        path, preset = self._path(preset_id), self.find(preset_id)
        if path is None or preset is None:
            return False
        same_file = path.stem == safe_name(title, fallback="preset")
        if not self.save(replace(preset, title=title), may_replace=same_file):
            return False
        if not same_file:
            path.unlink(missing_ok=True)
        return True

    def delete(self, preset_id: str) -> None:
        """Remove a preset; nothing happens when it is gone. Raises `OSError`."""
        path = self._path(preset_id)
        if path is not None:
            path.unlink(missing_ok=True)

    def _path(self, preset_id: str) -> Path | None:
        """Return the file of an id; None for one that is no plain name."""
        name = preset_id.removeprefix(OWN)
        plain = preset_id.startswith(OWN) and safe_name(name) == name
        return self._folder / f"{name}.toml" if plain else None

    def _read(self, path: Path) -> Preset | None:
        try:
            return preset_of_text(path.read_text("utf-8-sig"), f"{OWN}{path.stem}", path.stem)
        except (UserError, OSError, UnicodeDecodeError):
            return None


def _line(text: str) -> str:
    return " ".join(text.split())


class PresetDesk:
    """What the page does with presets of the user's own, and what it shows of it."""

    def __init__(self, context: Context, job_type: type[Job]) -> None:
        self._text = context.text
        self._workspace = context.workspace
        self._job_type = job_type
        self.own = OwnPresets(context.workspace, job_type)
        ways: dict[str, Action] = {
            "preset_save": self._save,
            "preset_rename": self._rename,
            "preset_delete": self._delete,
            "preset_export": self._export,
            "preset_import": self._import,
        }
        self.actions = {name: self._then_rows(action) for name, action in ways.items()}
        """What can be done with them; each may raise `UserError` and `OSError`."""

    def rows(self) -> list[dict[str, Any]]:
        """Return all own presets as the page shows them."""
        return [preset_row(preset, self._job_type.name, self._text) for preset in self.own.list()]

    def _then_rows(self, action: Action) -> Action:
        """Let an action's answer tell how the own presets stand after it."""
        return lambda draft, data: {**action(draft, data), "own": self.rows()}

    def _save(self, draft: Draft, data: Mapping[str, object]) -> dict[str, Any]:
        title, note = (_line(str(data.get(key) or "")) for key in ("title", "note"))
        if not title:
            raise UserError(self._text("presets.needs_title"))
        values = preset_values(self._job_type, draft)
        return self._keep(Preset("", title, note, (), "own", values), data)

    def _import(self, draft: Draft, data: Mapping[str, object]) -> dict[str, Any]:
        source = str(data.get("source") or "preset.toml")
        preset = preset_of_text(str(data.get("text") or ""), "", Path(source).stem)
        known = specs_by_name(self._job_type)
        problems = [
            problem
            for name in preset.values
            if name not in known
            and (problem := unknown_option(self._job_type, name, preset.values)) is not None
        ]
        if problems:
            raise UserError.of(problems)
        values = {
            name: value
            for name, value in preset.values.items()
            if name in known and not is_users_own(known[name])
        }
        if wrong := errors_of_single_values(self._job_type, values):
            raise UserError.of(wrong)
        read = {k: v for k, v in from_form(self._job_type, values).items() if v is not None}
        return self._keep(replace(preset, values=read, group="own"), data)

    def _keep(self, preset: Preset, data: Mapping[str, object]) -> dict[str, Any]:
        if not self.own.save(preset, may_replace=bool(data.get("replace"))):
            return {"state": "preset_exists", "title": preset.title, "sent": dict(data)}
        return self._said("presets.saved", title=preset.title)

    def _rename(self, draft: Draft, data: Mapping[str, object]) -> dict[str, Any]:
        title = _line(str(data.get("title") or ""))
        if not title:
            raise UserError(self._text("presets.needs_title"))
        if not self.own.rename(str(data.get("preset")), title):
            raise UserError(self._text("presets.not_renamed", title=title))
        return self._said("presets.saved", title=title)

    def _delete(self, draft: Draft, data: Mapping[str, object]) -> dict[str, Any]:
        self.own.delete(str(data.get("preset")))
        return self._said("presets.deleted")

    def _export(self, draft: Draft, data: Mapping[str, object]) -> dict[str, Any]:
        wanted = str(data.get("preset"))
        text = self.own.text(wanted)
        if text is None:
            raise UserError.of([Problem(self._text("presets.gone"))])
        return {"state": "preset_file", "file": f"{wanted.removeprefix(OWN)}.toml", "text": text}

    def _said(self, key: str, **fields: object) -> dict[str, Any]:
        return {"state": "presets", "text": self._text(key, **fields)}


def preset_row(preset: Preset, job_name: str, text: Texts) -> dict[str, Any]:
    """Return a preset of a job as the page's script shows it."""
    return {
        "id": preset.id,
        "title": preset_words.title(preset, job_name, text),
        "note": preset_words.note(preset, job_name, text),
        "families": list(preset.families),
        "group": preset.group,
    }


def preset_values(job_type: type[Job], draft: Draft) -> dict[str, object]:
    """Return what of a form makes a preset: what differs from the defaults and is not the user's
    own. Raises `UserError` for values that cannot be read."""
    specs = specs_by_name(job_type)
    raw = only_changed(job_type, {**default_raw(job_type), **full_raw(draft)})
    kept = {name: value for name, value in raw.items() if not is_users_own(specs[name])}
    values = from_form(job_type, kept)
    if problems := errors_of_single_values(job_type, values):
        raise UserError.of(problems)
    return {name: value for name, value in values.items() if value is not None}
