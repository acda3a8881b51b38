"""Good starting values: small TOML files that hold only what differs from the defaults."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

import kohya_gui
from kohya_gui.forms.drafts import Draft
from kohya_gui.forms.form import Raw, default_raw, only_changed, raw_of_values
from kohya_gui.forms.preparation import full_raw
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import JOBS, Job
from sd_scripts.options.schema import OptionSpec, specs_by_name
from sd_scripts.options.toml_file import read_toml

FOLDER: Final = Path(kohya_gui.__file__).resolve().parent.parent / "presets"
FOLDER_OF_JOB: Final = {
    "train_network": "lora",
    "train_db": "dreambooth",
    "train_textual_inversion": "textual_inversion",
}
KEPT_OPTIONS: Final = ("output_name", "caption_extension", "token_string", "init_word")
"""Values of the user's own that a preset leaves alone, besides paths and file information."""
_KEPT_GROUPS: Final = ("metadata",)
_HEAD: Final = re.compile(r"#\s*(title|note|families|group)\s*:\s*(.+)")


Group = Literal["start", "subject", "memory", "method", "own"]


@dataclass(frozen=True)
class Preset:
    """One file: `title` and `note` stand in its first comments, `families` are those it is for.

    `group` is "start" for those that are always in view, "own" for the user's, else where the page
    puts it.
    """

    id: str
    title: str
    note: str
    families: tuple[str, ...]
    group: Group
    values: Mapping[str, object]


def read_preset(path: Path) -> Preset:
    """Read one preset. Raises `UserError` when its head or its TOML is not in order."""
    text = path.read_text("utf-8")
    head = {found[1]: found[2] for line in text.splitlines() if (found := _HEAD.match(line))}
    if not {"title", "note"} <= head.keys():
        raise UserError(
            f"{path.name} has no title or no note in its first lines.",
            hint="Write '# title: …' and '# note: …' above everything else.",
        )
    families = tuple(name.strip() for name in head.get("families", "").split(",") if name.strip())
    group = head.get("group", "start").strip()
    if group not in get_args(Group):
        raise UserError(
            f"{path.name} belongs to the group {group!r}, which there is not.",
            hint=f"Write '# group: …' with one of {', '.join(get_args(Group))}, or nothing.",
        )
    values = read_toml(text, path.name)
    return Preset(path.stem, head["title"], head["note"], families, cast("Group", group), values)


def preset_of_text(text: str, preset_id: str, name: str) -> Preset:
    """Read a preset of the user's own, which may do without a head. Raises `UserError`."""
    head = {
        found[1]: found[2].strip() for line in text.splitlines() if (found := _HEAD.match(line))
    }
    named = (one.strip() for one in head.get("families", "").split(","))
    families = tuple(one for one in named if one)
    title, note = head.get("title", name), head.get("note", "")
    return Preset(preset_id, title, note, families, "own", read_toml(text, name))


def preset_files(job_type: type[Job], folder: Path = FOLDER) -> tuple[Path, ...]:
    """Return the preset files of a job, in the order of the numbers they begin with."""
    own = folder / FOLDER_OF_JOB.get(job_type.name, job_type.name)
    return tuple(sorted(own.glob("*.toml"), key=_place))


def _place(path: Path) -> tuple[int, str]:
    number = path.stem.split("-")[0]
    return (int(number) if number.isdecimal() else sys.maxsize, path.stem)


def presets_of(job_type: type[Job], folder: Path = FOLDER) -> tuple[Preset, ...]:
    """Return the presets of a job. A file that is not in order is told and left out: somebody may
    be working on it, and the page must open all the same."""
    found = []
    for path in preset_files(job_type, folder):
        try:
            found.append(read_preset(path))
        except (UserError, OSError, UnicodeDecodeError) as error:
            print(f"note: the preset {path} is left out: {error}", file=sys.stderr)
    return tuple(found)


def apply_preset(preset: Preset, draft: Draft) -> Draft:
    """Return the draft with a preset's values: what is the user's own stays, all else is new."""
    job_type = JOBS[draft.job]
    present = full_raw(draft)
    wanted = preset_raw(job_type, preset)
    for name, spec in specs_by_name(job_type).items():
        if is_users_own(spec) and (
            name not in preset.values or present[name] != default_raw(job_type)[name]
        ):
            wanted[name] = present[name]
    about = {**draft.about, "preset": preset.id}
    return Draft(draft.job, only_changed(job_type, wanted), draft.prompts, about)


def is_users_own(spec: OptionSpec) -> bool:
    """Tell whether presets leave an option alone: paths, names, and file information."""
    return spec.path is not None or spec.group in _KEPT_GROUPS or spec.name in KEPT_OPTIONS


def preset_raw(job_type: type[Job], preset: Preset) -> Raw:
    """Return the form that a preset alone makes."""
    return raw_of_values(job_type, preset.values)
