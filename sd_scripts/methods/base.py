"""What the trainer asks of a method: which weights learn, at which rates, and their file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import nn

from sd_scripts.errors import Problem
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.weights.metadata import SaveFacts, TrainingFacts


class Method(Protocol):
    """Weights that learn, attached to a loaded model. A method is one file and one table row.

    A method is made of a job and a `LoadedModel`, also of one on the device "meta" (to count and
    check without loading); it freezes what does not learn and raises `UserError` with all that
    does not fit. `trainable_modules` holds all that learns: its state dict is what a training
    state keeps, and goes back by `load_state_dict`.
    """

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What the user should know of how the method was attached."""
        ...

    @property
    def trainable_modules(self) -> nn.Module:
        """All that learns."""
        ...

    @property
    def num_modules(self) -> dict[str, int]:
        """Number of modules by part ("te1", "te2", "unet"), parts without any left out."""
        ...

    @property
    def num_parameters(self) -> int:
        """How many numbers learn."""
        ...

    @property
    def trains_text_encoder(self) -> bool:
        """Whether gradients must go through a text encoder."""
        ...

    @property
    def step_facts(self) -> Mapping[str, float]:
        """What there is to tell of the last step, under the names of sd-scripts' logs."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimizer's groups: `params`, `lr`, and `name` for logs."""
        ...

    def set_training(self) -> None:
        """Put what learns into training mode."""
        ...

    def begin_at(self, step: int) -> None:
        """Make ready for training, once all weights are loaded.

        `step` is the last one of a run that goes on, whose weights stay bit for bit as they were
        saved, or 0.
        """
        ...

    def after_step(self, step: int) -> None:
        """Do what is due after optimizer step `step` (from 1): clamp norms, freeze a part."""
        ...

    def file_metadata(
        self, job: TrainingJob, facts: TrainingFacts, save: SaveFacts
    ) -> dict[str, str]:
        """Return the metadata of a file saved now."""
        ...

    def save(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, str],
        dtype: torch.dtype | None = None,
    ) -> None:
        """Write the trained file atomically, in the format of its ending. Raises `OSError`."""
        ...
