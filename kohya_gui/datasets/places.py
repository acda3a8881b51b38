"""Where the workspace keeps what belongs to a data set, whose own folder stays as it is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kohya_gui.workspace import Workspace
from sd_scripts.files import write_atomic
from sd_scripts.runs.folder import safe_name

MAX_RECENT: Final = 8


@dataclass(frozen=True)
class DatasetPlace:
    """The workspace's folder for one data set. Making the object touches nothing on the disk."""

    path: Path

    @property
    def decisions(self) -> Path:
        """What was decided about single pictures (`sd_scripts.dataset.decisions`)."""
        return self.path / "decisions.json"

    @property
    def doctor(self) -> Path:
        """The doctor's last report."""
        return self.path / "doctor.json"

    @property
    def history(self) -> Path:
        """What caption files held before each edit."""
        return self.path / "history"

    @property
    def view(self) -> Path:
        """How the data set was looked at last: caption ending, training size."""
        return self.path / "view.json"


def place_of(workspace: Workspace, folder: Path) -> DatasetPlace:
    """Return the place of the data set in `folder` (a real, absolute path)."""
    mark = hashlib.blake2b(str(folder).encode("utf-8", "surrogateescape"), digest_size=5)
    name = f"{safe_name(folder.name, fallback='pictures')[:40].rstrip(' .')}-{mark.hexdigest()}"
    return DatasetPlace(_home(workspace) / name)


def _home(workspace: Workspace) -> Path:
    return workspace.path / "datasets"


def recent_folders(workspace: Workspace) -> list[str]:
    """Return the folders that were opened last, newest first; those that are gone too."""
    try:
        found = json.loads((_home(workspace) / "recent.json").read_text("utf-8"))
    except (OSError, ValueError):
        return []  # a convenience: without it one chooses the folder again
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def remember_folder(workspace: Workspace, folder: Path) -> None:
    """Put a folder first among those opened last. Raises `OSError`."""
    others = [one for one in recent_folders(workspace) if one != str(folder)]
    file = _home(workspace) / "recent.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = [str(folder), *others][:MAX_RECENT]
    write_atomic(file, json.dumps(kept, ensure_ascii=False) + "\n", durable=False)


def forget_folder(workspace: Workspace, folder: str) -> None:
    """Take a folder off the list of those opened last. Raises `OSError`."""
    kept = [one for one in recent_folders(workspace) if one != folder]
    file = _home(workspace) / "recent.json"
    if file.exists():
        write_atomic(file, json.dumps(kept, ensure_ascii=False) + "\n", durable=False)
