"""What somebody has answered so far: one small file a project, so that nothing is lost."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kohya_gui.guided.goals import Card, GoalName
from kohya_gui.jobs.lock import file_lock
from kohya_gui.workspace import Workspace
from sd_scripts.errors import Problem, UserError
from sd_scripts.files import write_atomic

Step = Literal["goal", "pictures", "words", "ready", "watch", "pick"]
STEPS: Final[tuple[Step, ...]] = ("goal", "pictures", "words", "ready", "watch", "pick")
MAX_LISTED: Final = 50
_ID: Final = re.compile(r"[0-9a-f]{16}")

Text = Field(default="", max_length=4096)
Word = Field(default="", max_length=200)


class Project(BaseModel):
    """One thing that is being taught, as it stands.

    `revision` goes up with each change. `folder` holds the pictures; `trigger` is the new word and
    `kind` what it is one of; `changes` are option values unlike the plan's own, and `length` a
    factor on how long it is taught, both from what was wrong with the run before. `queued` is the
    job in the queue while the run has not begun. `picked` is the file that was chosen in the end.
    `tried_run` and `tried_order` name the pictures that were painted last to choose by.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    created: float = Field(default_factory=time.time)
    changed: float = Field(default_factory=time.time)
    revision: int = 0
    step: Step = "goal"
    goal: GoalName = "person"
    name: str = Word
    folder: str = Text
    kind: str = Word
    trigger: str = Word
    caption_engine: Literal["", "tags", "sentences"] = ""
    caption_model: str = Text
    caption_run: str = Word
    caption_queued: str = Word
    model: str = Text
    card: Card = "good"
    changes: dict[str, Any] = Field(default_factory=dict)
    length: float = Field(default=1.0, ge=0.1, le=10.0)
    run: str = Word
    queued: str = Word
    runs: tuple[str, ...] = ()
    picked: str = Text
    tried_run: str = Word
    tried_order: str = Word


ANSWERS: Final = frozenset(
    {
        *("step", "goal", "name", "kind", "trigger", "caption_engine"),
        *("caption_model", "model", "card"),
    }
)
"""The fields that a page may set itself."""


class ChangedError(UserError):
    """Somebody else changed the project since the page read it; `latest` is how it stands now."""

    def __init__(self, latest: Project) -> None:
        super().__init__("This was changed in another window meanwhile.")
        self.latest = latest


class Projects:
    """The projects of one workspace. Any number of threads and programs may use it at once."""

    def __init__(self, workspace: Workspace) -> None:
        self._folder = workspace.path / "teach"

    def new(self, **values: object) -> Project:
        """Begin a project and write it down. Raises `OSError`."""
        project = Project.model_validate({"id": secrets.token_hex(8), **values})
        self._folder.mkdir(parents=True, exist_ok=True)
        self._write(project)
        return project

    def load(self, project_id: str) -> Project | None:
        """Return a project; None when there is none, or it cannot be understood."""
        path = self._path(project_id)
        if path is None:
            return None
        try:
            return Project.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None

    def change(
        self, project_id: str, values: Mapping[str, object], revision: int | None = None
    ) -> Project:
        """Change some fields and return the project as it stands then.

        With `revision`, only if it is still the one that the page has seen: else `ChangedError`.
        Raises `UserError` for a project that is gone or values that cannot be, and `OSError`.
        """
        with file_lock(self._folder / "lock"):
            before = self.load(project_id)
            if before is None:
                raise UserError("This project is not there any more.", hint="Begin a new one.")
            if revision is not None and revision != before.revision:
                raise ChangedError(before)
            known = before.model_dump()
            if all(known.get(name) == value for name, value in values.items()):
                return before
            new = {"revision": before.revision + 1, "changed": time.time()}
            try:
                after = Project.model_validate(known | dict(values) | new)
            except ValidationError as error:
                raise UserError.of(_problems(error)) from error
            self._write(after)
            return after

    def list(self) -> list[Project]:
        """Return the projects, those changed last first."""
        found = []
        try:
            names = [entry.name for entry in os.scandir(self._folder)]
        except OSError:
            return []  # none was begun yet
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix == ".json" and (project := self.load(stem)) is not None:
                found.append(project)
        found.sort(key=lambda one: one.changed, reverse=True)
        return found[:MAX_LISTED]

    def forget(self, project_id: str) -> None:
        """Take a project off the list; its pictures and runs stay. Raises `OSError`, and
        `UserError` when another program keeps the lock."""
        path = self._path(project_id)
        if path is not None and path.exists():
            with file_lock(self._folder / "lock"):  # a change that goes on would bring it back
                path.unlink(missing_ok=True)

    def _path(self, project_id: str) -> Path | None:
        return self._folder / f"{project_id}.json" if _ID.fullmatch(project_id) else None

    def _write(self, project: Project) -> None:
        path = self._path(project.id)
        assert path is not None, "an id of ours"
        text = json.dumps(project.model_dump(mode="json"), ensure_ascii=False, indent=1)
        write_atomic(path, text + "\n")


def _problems(error: ValidationError) -> list[Problem]:
    return [
        Problem(f"this cannot be: {fault['msg']}", ".".join(str(part) for part in fault["loc"]))
        for fault in error.errors()
    ]
