"""What long work on pictures has in common: how it talks to the outside, and how it ended."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from sd_scripts.dataset.pictures import PictureProblem

State = Literal["complete", "stopped", "broken"]


def _no_progress(name: str, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Hooks:
    """How long work talks to the outside: `progress(name, done, total)`, and whether to stop."""

    progress: Callable[[str, int, int], None] = _no_progress
    should_stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class EncodeSettings:
    """How many pictures the VAE takes at a time, and how many threads decode them."""

    vae_batch_size: int = 1
    decode_threads: int = field(default_factory=lambda: min(8, os.cpu_count() or 1))


@dataclass(frozen=True)
class Outcome:
    """How long work on pictures ended.

    `state` is "complete", "stopped" (as asked; what was done is kept), or "broken": the pictures
    in `broken` can't be decoded, and the plan has to be made anew without them. `num_done` counts
    what was done, mirrored copies too.
    """

    state: State
    num_done: int
    broken: tuple[PictureProblem, ...] = ()
