"""What a run has brought: its checkpoints, which of them looks best, and how it is kept."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from kohya_gui.jobs.series import Curve
from kohya_gui.workspace import Workspace
from sd_scripts.files import atomic_path
from sd_scripts.runs.events import SaveEvent
from sd_scripts.runs.folder import RunFolder

_CLEARLY: Final = 0.01
"""By so much, as a share, a held-out loss must be lower to count as better."""


@dataclass(frozen=True)
class Checkpoint:
    """A result of a run that is still there; `loss` on held-out pictures, where there were any."""

    step: int
    path: Path
    loss: float | None = None


@dataclass(frozen=True)
class Advice:
    """Which checkpoint to begin with. `reason` is the key of a text."""

    step: int
    reason: Literal["lowest", "end", "eye"]


def checkpoints_of(
    run: RunFolder, saves: Sequence[SaveEvent], validation: Curve
) -> tuple[Checkpoint, ...]:
    """Return the weights that a run saved, one a step, in order; the last name of a step counts."""
    losses = dict(zip(validation.steps, validation.values, strict=True))
    found: dict[int, Checkpoint] = {}
    for save in saves:
        path = run.path / save.path  # an absolute path stays what it is
        if save.kind == "weights" and path.is_file():
            found[save.step] = Checkpoint(save.step, path, losses.get(save.step))
    return tuple(found[step] for step in sorted(found))


def advice_on(checkpoints: Sequence[Checkpoint]) -> Advice | None:
    """Return where to begin looking, and why.

    With pictures held out: the earliest whose loss on them is about the lowest, since after it the
    pictures are rather copied than understood. Without: the last one, and that only eyes can tell.
    """
    if not checkpoints:
        return None
    losses = [(one.loss, one.step) for one in checkpoints if one.loss is not None]
    if len(losses) < 2:
        return Advice(checkpoints[-1].step, "eye")
    lowest = min(loss for loss, _ in losses)
    step = next(step for loss, step in losses if loss <= lowest * (1 + _CLEARLY))
    return Advice(step, "end" if step == checkpoints[-1].step else "lowest")


def keep_result(workspace: Workspace, checkpoint: Path, name: str) -> Path:
    """Copy a picked result to the workspace's own folder of results; return the copy.

    Runs may be deleted, this stays. A file of that name with other content is left alone: the copy
    gets a number. Raises `OSError`.
    """
    folder = workspace.path / "results"
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        target = folder / f"{name}{'' if number == 1 else f'-{number}'}{checkpoint.suffix}"
        if not target.exists():
            with atomic_path(target) as temporary:
                shutil.copyfile(checkpoint, temporary)
            return target
        if same_content(target, checkpoint):
            return target
        number += 1


def same_content(first: Path, second: Path) -> bool:
    """Whether two files hold the same bytes."""
    if first.stat().st_size != second.stat().st_size:
        return False
    with open(first, "rb") as one, open(second, "rb") as other:
        while block := one.read(2**20):
            if block != other.read(2**20):
                return False
    return True
