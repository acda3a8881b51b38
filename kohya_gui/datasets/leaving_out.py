"""Leave broken pictures out of trainings by a decision: the pictures stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kohya_gui.datasets.places import place_of
from kohya_gui.workspace import Workspace
from sd_scripts.dataset.decision_files import change_decisions
from sd_scripts.dataset.decisions import Change, Decisions
from sd_scripts.errors import UserError


def decisions_for(workspace: Workspace, folder: Path, named: str | None) -> Path:
    """Return the file of decisions for the pictures of a folder: the one that a job names, else
    the workspace's own."""
    return Path(named).expanduser() if named else place_of(workspace, folder).decisions


def leave_out(file: Path, folder: Path, pictures: Sequence[Path], why: str) -> None:
    """Decide that these pictures of a folder are left out; the page of pictures can undo it.

    Raises `UserError` for a file of decisions about another folder, and `OSError`.
    """

    def change(before: Decisions) -> Decisions:
        named = [(before.name_of(picture), picture) for picture in pictures]
        wanted = {
            name: replace(before.of(picture), exclude=True, why=why)
            for name, picture in named
            if name is not None
        }
        if len(wanted) < len(pictures):
            raise UserError("These pictures lie outside of the folder.", option="train_data_dir")
        return before.changed(Change(why, wanted))

    change_decisions(file, folder, change)
