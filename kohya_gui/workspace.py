"""The workspace: the one folder in which the GUI keeps runs, queue, drafts and settings."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from sd_scripts.errors import UserError


@dataclass(frozen=True)
class Workspace:
    """Paths of a workspace. Making the object touches nothing on the disk."""

    path: Path

    @property
    def runs(self) -> Path:
        """One folder a run (see `sd_scripts.runs.folder`)."""
        return self.path / "runs"

    @property
    def trash(self) -> Path:
        """Runs on their way out; beside the runs, so that moving there is one rename."""
        return self.runs / ".trash"

    @property
    def queue(self) -> Path:
        """Jobs that wait, and the lock that two GUIs share."""
        return self.path / "queue"

    @property
    def drafts(self) -> Path:
        """Forms that were filled in but not started."""
        return self.path / "drafts"

    @property
    def settings(self) -> Path:
        """`settings.json` (see `kohya_gui.settings`)."""
        return self.path / "settings.json"


def default_workspace() -> Path:
    """Return the user's data folder for this program.

    Not a folder in the checkout: that one is replaced by an update, thrown away with an old
    version, shared by several users, or read-only; runs of weeks should outlive it.
    """
    return platformdirs.user_data_path("kohya_gui", appauthor=False)


def open_workspace(path: Path | None = None) -> Workspace:
    """Return the workspace at `path` (default: `default_workspace()`), its folders made.

    Raises `UserError` when it cannot be made or written to.
    """
    workspace = Workspace((path or default_workspace()).expanduser().absolute())
    try:
        for folder in (workspace.runs, workspace.queue, workspace.drafts):
            folder.mkdir(parents=True, exist_ok=True)
        probe = workspace.path / f".write-test-{os.getpid()}-{secrets.token_hex(4)}"
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"The workspace {workspace.path} cannot be used: {error.strerror or error}.",
            option="workspace",
            hint="Choose a folder you may write to with --workspace.",
        ) from error
    return workspace
