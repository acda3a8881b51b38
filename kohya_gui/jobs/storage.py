"""What the program keeps on the disk: where, how large, and what of it can be cleared."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kohya_gui.jobs.store import FolderSize, RunStore, folder_size
from kohya_gui.workspace import Workspace
from sd_scripts.dataset.index import cache_folder
from sd_scripts.errors import UserError

CLEARABLE: Final = ("caches", "thumbnails", "checks", "uploads")
"""What is made again when it is needed."""


@dataclass(frozen=True)
class Place:
    """A folder of the program by the name it has in the page."""

    name: str
    path: Path

    @property
    def clearable(self) -> bool:
        """Tell whether its content may go."""
        return self.name in CLEARABLE

    def size(self) -> FolderSize:
        """Return what it takes now."""
        return folder_size(self.path)


def places(workspace: Workspace) -> tuple[Place, ...]:
    """Return every folder that the program writes to by itself."""
    return (
        Place("runs", workspace.runs),
        Place("caches", cache_folder()),
        Place("thumbnails", workspace.path / "thumbnails"),
        Place("checks", workspace.path / "checks"),
        Place("uploads", workspace.path / "uploads"),
        Place("drafts", workspace.drafts),
        Place("configs", workspace.path / "configs"),
    )


def clear(workspace: Workspace, store: RunStore, name: str) -> FolderSize:
    """Remove what lies in a place; return what that freed. Links in it go, what they lead to stays.

    Raises `UserError` for a place that holds what cannot be made again, while a run is at work
    (it may be reading there), and when something cannot be removed.
    """
    place = next((one for one in places(workspace) if one.name == name and one.clearable), None)
    if place is None:
        raise UserError(f"“{name}” is nothing that can be cleared.")
    busy = [run.name for run in store.list() if run.busy]
    if busy:
        raise UserError(
            f"“{busy[0]}” is still at work and may be reading there.",
            hint="Wait for its end, or stop it.",
        )
    size = place.size()
    if not place.path.is_dir() or place.path.is_symlink():
        return FolderSize(0, 0)
    try:
        for entry in list(place.path.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"Not everything could be cleared: {error.strerror or error}.",
            hint="Close programs that have its files open, and check the folder's rights.",
        ) from error
    return size
