"""Loss and learning rates for TensorBoard, when a log folder is asked for."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from sd_scripts.errors import Problem
from sd_scripts.options.jobs import TrainingJob


class Tracker(Protocol):
    """Takes the numbers of each step."""

    def step(self, step: int, loss: float, rates: Mapping[str, float]) -> None: ...

    def validation(self, step: int, loss: float, losses: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class NoTracker:
    """What is used when nothing was asked for."""

    def step(self, step: int, loss: float, rates: Mapping[str, float]) -> None:
        """Do nothing."""

    def validation(self, step: int, loss: float, losses: Mapping[str, float]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class TensorBoardTracker:
    """Writes `loss/current`, `loss/average` and `lr/<group>`, as users of sd-scripts know them."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))
        self._sum = 0.0
        self._count = 0

    def step(self, step: int, loss: float, rates: Mapping[str, float]) -> None:
        """Write one step; the average is over this process's run so far."""
        self._sum, self._count = self._sum + loss, self._count + 1
        self._writer.add_scalar("loss/current", loss, step)
        self._writer.add_scalar("loss/average", self._sum / self._count, step)
        for name, rate in rates.items():
            self._writer.add_scalar(f"lr/{name}", rate, step)

    def validation(self, step: int, loss: float, losses: Mapping[str, float]) -> None:
        """Write the loss on held-out pictures, and how far the training loss is below it."""
        self._writer.add_scalar("loss/validation/step_average", loss, step)
        if self._count:
            average = self._sum / self._count
            self._writer.add_scalar("loss/validation/step_divergence", loss - average, step)
        for name, value in losses.items():
            self._writer.add_scalar(f"loss/validation/{name.replace(' ', '_')}", value, step)

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()


TRACKERS: Final = {"tensorboard": TensorBoardTracker}


def tracker_problems(job: TrainingJob) -> list[Problem]:
    """Tell what is missing for the tracker that was asked for."""
    logging = job.logging
    if logging.logging_dir and importlib.util.find_spec("tensorboard") is None:
        return [
            Problem(
                "TensorBoard is not installed",
                "logging_dir",
                "Install the extra “trackers”, or leave logging_dir empty: the page shows the "
                "same charts.",
            )
        ]
    return []


def build_tracker(job: TrainingJob) -> Tracker:
    """Make the tracker of a job; its folder is `logging_dir/<prefix><date>/<name>`."""
    logging = job.logging
    if not logging.logging_dir:
        return NoTracker()
    dated = f"{logging.log_prefix or ''}{datetime.now():%Y%m%d%H%M%S}"
    return TRACKERS[logging.log_with or "tensorboard"](
        Path(logging.logging_dir) / dated / (logging.log_tracker_name or job.tracker_name)
    )
