"""Validation: the loss on held-out pictures, at fixed timesteps with fixed noise."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

import torch

from sd_scripts.data.loader import BatchSource
from sd_scripts.dataset.index import PictureIndex, cache_folder
from sd_scripts.dataset.pictures import shown
from sd_scripts.dataset.samples import DatasetPlan
from sd_scripts.files import write_atomic
from sd_scripts.options.groups.validation import ValidationOptions
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.train.ema import weights_to_use
from sd_scripts.train.measure import Measure, fixed_timesteps
from sd_scripts.train.team import Team

if TYPE_CHECKING:
    from sd_scripts.train.loop import Step
    from sd_scripts.train.session import Session

_PHASE: Final = "validation"


@dataclass(frozen=True)
class Validator:
    """Measures the held-out pictures of one job.

    `source` gives this process's share of their batches; `team` adds up what all have found.
    """

    options: ValidationOptions
    source: BatchSource
    measure: Measure
    timesteps: tuple[int, ...]
    team: Team

    def due(self, step: Step, last_step: int) -> bool:
        """Tell whether to measure after this step; after the last one always."""
        by_step = self.options.validate_every_n_steps
        by_epoch = self.options.validate_every_n_epochs or (0 if by_step else 1)
        if by_step and step.number % by_step == 0:
            return True
        ends = step.ends_epoch and by_epoch and step.epoch % by_epoch == 0
        return bool(ends) or step.number == last_step

    def losses(
        self, reporter: Reporter, should_stop: Callable[[], bool]
    ) -> dict[int, float] | None:
        """Return the mean loss by timestep; None if a stop was asked for meanwhile."""
        count = self.source.batches_per_epoch
        # Where weights are shared out, no process computes without the others: the leader's share
        # is the largest, and all have as many batches.
        together = self.team.sharding.on
        own = count
        if limit := self.options.max_validation_steps:
            own = min(count, len(range(self.team.seat.rank, limit, self.team.size)))
            count = min(count, len(range(0, limit, self.team.size))) if together else own
        sums = torch.zeros(len(self.timesteps) + 1, dtype=torch.float64)
        for done, batch in enumerate(islice(self.source.epoch(1), count)):
            if should_stop():
                return None
            reporter.phase(_PHASE, done, count)
            # What fills up the last round of several processes is measured by another one.
            counts = bool(batch.loss_weights.any()) and done < own
            if not counts and not together:
                continue
            losses = self.measure.losses(batch, self.timesteps).double().sum(dim=1)
            if counts:
                sums[:-1] += losses
                sums[-1] += len(batch)
        reporter.phase(_PHASE, count, count)
        sums = self.team.total(sums)
        means = (sums[:-1] / sums[-1]).tolist()
        return dict(zip(self.timesteps, means, strict=True))


def validate(session: Session, step: Step) -> bool:
    """Measure the held-out pictures if that is due after this step; tells whether it was."""
    validator = session.validator
    if validator is None or not validator.due(step, session.arithmetic.total_steps):
        return False
    # Several processes must all measure to the end, or they would wait for each other for ever.
    stop = session.requests.stop if session.team.size == 1 else _never
    with weights_to_use(session.optimizer, session.ema), session.course.all_compute():
        found = validator.losses(session.reporter, stop)
    if found is not None:
        mean = sum(found.values()) / len(found)
        losses = {f"timestep {timestep}": loss for timestep, loss in found.items()}
        session.reporter.validation(step.number, step.epoch, mean, losses)
        session.tracker.validation(step.number, mean, losses)
    return True


def _never() -> bool:
    return False


def validation_timesteps(job: TrainingJob) -> tuple[int, ...]:
    """Return the timesteps that a job's pictures are measured at."""
    return fixed_timesteps(job.objective.timestep_range)


def note_split(job: TrainingJob, plan: DatasetPlan, run: RunFolder) -> None:
    """Write down which pictures are held out and how they are measured. Raises `OSError`."""
    index = PictureIndex(cache_folder(job.data.cache_dir))
    contents = index.content_hashes([sample.path for sample in plan.validation])
    pictures = [
        {
            "path": shown(sample.path.absolute()),
            "content": contents[sample.path],
            "size": list(sample.bucket),
            "caption": sample.caption,
        }
        for sample in plan.validation
    ]
    facts = {"timesteps": validation_timesteps(job), "pictures": pictures}
    write_atomic(run.validation, json.dumps(facts, indent=2, ensure_ascii=False))
