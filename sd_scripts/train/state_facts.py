"""What a training state is, apart from its tensors: its position and its origin (torch-free)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sd_scripts.errors import UserError
from sd_scripts.files import standing_in, stands_in

FORMAT: Final = 1
FACTS_FILE: Final = "train_state.json"
WEIGHTS_FILE: Final = "trained.safetensors"


@dataclass
class Position:
    """How far a run has come: finished steps, finished epochs, finished batches of this epoch."""

    step: int = 0
    epoch: int = 0
    batch: int = 0


Stamp = tuple[int, int, int]


def stamp_of(path: Path) -> Stamp:
    """Return what tells this very file or folder from another put in its place."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


@dataclass(frozen=True)
class StateFacts:
    """What identifies a state: its position and what the run was made of.

    `plan` is a digest of the training pictures in their order, `seed` the job's seed, `rates` the
    learning rates the job asked for, `optimizer` and `optimizer_args` (name=value) what it learned
    with, `num_processes` how many trained together and `sharded` whether they shared out the
    weights, `session` the id shared by a run and what resumes it, `files` the trained files there
    are so far, with their stamps, `packing` the forms of frozen weights (None in states from before
    that was kept).
    """

    current_step: int
    current_epoch: int
    batch_in_epoch: int
    seed: int
    plan: str
    session: str
    rates: tuple[float | None, ...] = ()
    optimizer: str = ""
    optimizer_args: tuple[str, ...] = ()
    files: tuple[tuple[str, Stamp], ...] = ()
    num_processes: int = 1
    sharded: bool = False
    packing: tuple[str, ...] | None = None
    format: int = FORMAT


def find_state(path: Path) -> Path:
    """Return the state folder that `resume` means: itself, or the newest one of a run folder.

    One that a killed process had written, but not yet given its name, counts, too. Raises
    `UserError` if there is none.
    """
    for place in (path, standing_in(path)):
        if place is not None and (place / FACTS_FILE).is_file():
            return place
    found = [folder.parent for pattern in (f"*/{FACTS_FILE}", f"state/*/{FACTS_FILE}")
             for folder in path.glob(pattern)]  # fmt: skip
    whole = [folder for folder in found if not folder.name.startswith(".") or stands_in(folder)]
    if whole:
        return max(whole, key=lambda folder: read_facts(folder).current_step)
    if (path / "random_states_0.pkl").exists():
        raise UserError(
            f"{path} is a state written by sd-scripts, which only its own version can read",
            option="resume",
            hint="Go on from its LoRA file instead, with network_weights.",
        )
    raise UserError(
        f"There is no training state in {path}",
        option="resume",
        hint="Choose a folder whose name ends in -state, or the folder of a run that saved one.",
    )


def read_facts(folder: Path) -> StateFacts:
    """Read what a state is. Raises `UserError` if it is broken or of a newer format."""
    try:
        values = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
        lists = {name: tuple(values.get(name, ())) for name in ("rates", "optimizer_args")}
        if values.get("packing") is not None:
            lists["packing"] = tuple(values["packing"])
        files = tuple((str(path), tuple(stamp)) for path, stamp in values.get("files", ()))
        facts = StateFacts(**{**values, **lists, "files": files})
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(
            f"The training state {folder} cannot be read: {error}",
            option="resume",
            hint="Choose another state; this one is broken or of a newer version.",
        ) from error
    if facts.format > FORMAT:
        raise UserError(
            f"The training state {folder} was written by a newer version",
            option="resume",
            hint="Update this program.",
        )
    return facts
