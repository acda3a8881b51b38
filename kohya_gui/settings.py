"""What a person set for the whole program, kept in `<workspace>/settings.json`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kohya_gui.jobs.lock import file_lock
from kohya_gui.jobs.processes import Processes
from kohya_gui.workspace import Workspace
from sd_scripts.files import write_atomic

Theme = Literal["system", "light", "dark"]
Tier = Literal["basic", "advanced", "expert"]


class Settings(BaseModel):
    """All settings. What a newer version added is kept as it is, so that going back loses nothing.

    `language` is that of people who chose none ("auto": what their browser asks for). `roots` are
    the folders that may be browsed besides the workspace; empty means the user's own folder.
    `processes` are those of each training. To `webhook` the end of each run is posted; an address
    that is a secret stands in the environment instead (see `jobs.notify`). `page_defaults` holds,
    by job name, option values a new form begins with. Secrets never go in here.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    language: str = Field(default="auto", min_length=2, max_length=20)
    theme: Theme = "system"
    tier: Tier = "basic"
    roots: tuple[str, ...] = ()
    allow_hub: bool = False
    when_busy: Literal["queue", "refuse"] = "queue"
    processes: Processes = Processes()
    webhook: str = ""
    page_defaults: dict[str, dict[str, Any]] = Field(default_factory=dict)


def load_settings(workspace: Workspace) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings and what there is to tell about them; never raises.

    A setting with an impossible value falls back to its default, the others are kept. Whenever
    something had to be left out, the file as it was is put aside first.
    """
    path = workspace.settings
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Settings(), ()
    except OSError as error:
        return Settings(), (f"The settings could not be read ({error}); defaults are used.",)
    except (ValueError, RecursionError):
        return Settings(), (_put_aside(path, "The settings file is damaged; defaults are used."),)
    if not isinstance(data, dict):
        return Settings(), (_put_aside(path, "The settings file is damaged; defaults are used."),)
    try:
        return Settings.model_validate(data), ()
    except ValidationError as error:
        wrong = sorted({str(fault["loc"][0]) for fault in error.errors() if fault["loc"]})
    kept = {key: value for key, value in data.items() if key not in wrong}
    text = (
        f"These settings had impossible values and are back at their defaults: {', '.join(wrong)}."
    )
    return Settings.model_validate(kept), (_put_aside(path, text),)


def _put_aside(path: Path, text: str) -> str:
    """Copy a file that is about to be replaced; return `text` with the place of the copy."""
    aside = path.with_name(f"{path.stem}.damaged-{time.strftime('%Y%m%d-%H%M%S')}{path.suffix}")
    try:
        write_atomic(aside, path.read_bytes())
    except OSError as error:
        return f"{text} It could not be copied aside: {error}."
    return f"{text} The file as it was: {aside.name}."


def settings_lock(workspace: Workspace) -> AbstractContextManager[None]:
    """Hold this from reading settings to writing them, so that no two changes lose each other.

    Raises `UserError` when another program keeps it.
    """
    return file_lock(workspace.queue / "settings.lock")


def save_settings(workspace: Workspace, settings: Settings) -> None:
    """Write the settings in one atomic step. Raises `OSError`."""
    text = json.dumps(settings.model_dump(mode="json"), ensure_ascii=False, indent=2)
    write_atomic(workspace.settings, text + "\n")


def keep_page_defaults(workspace: Workspace, job: str, values: Mapping[str, object]) -> None:
    """Let new forms of a job begin with these values, with none of them with the defaults again.

    Raises `OSError`, and `UserError` when another program keeps the settings.
    """
    with settings_lock(workspace):
        settings = load_settings(workspace)[0]
        new = {name: own for name, own in settings.page_defaults.items() if name != job}
        if values:
            new[job] = dict(values)
        save_settings(workspace, settings.model_copy(update={"page_defaults": new}))
