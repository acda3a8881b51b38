"""Which samples a process trains in which batch, and at which step: known before anything loads."""

from __future__ import annotations

from dataclasses import dataclass

from sd_scripts.dataset.order import BatchPlan, Entry, epoch_batches
from sd_scripts.dataset.samples import DatasetPlan


@dataclass(frozen=True)
class Sharing:
    """This process' place among all that train together."""

    process_index: int = 0
    num_processes: int = 1


@dataclass(frozen=True, slots=True)
class Share:
    """One batch of one process.

    `step` is the optimizer step (from 0) it counts towards. `weight` multiplies the loss of each
    sample, so that the mean of all processes' batch means is the mean over all their samples.
    """

    epoch: int
    step: int
    entries: tuple[Entry, ...]
    weight: float = 1.0


def shares_of_epoch(
    plan: DatasetPlan, *, seed: int, epoch: int, accumulation: int, sharing: Sharing
) -> list[Share]:
    """Return this process' batches of `epoch` (from 1), in order; as many for every process.

    Process p of N takes batches p, p + N, p + 2·N, … of the epoch's list. Where the last round
    has too few, a process repeats one of them with weight 0.
    """
    batches = epoch_batches(plan, seed=seed, epoch=epoch)
    rounds = [
        batches[start : start + sharing.num_processes]
        for start in range(0, len(batches), sharing.num_processes)
    ]
    steps_per_epoch = -(-len(rounds) // accumulation)
    first_step = (epoch - 1) * steps_per_epoch
    return [
        _share(batches_together, sharing, epoch, first_step + number // accumulation)
        for number, batches_together in enumerate(rounds)
    ]


def batches_per_process(plan: DatasetPlan, num_processes: int) -> int:
    """Return how many batches each process trains in an epoch."""
    return -(-plan.num_batches_per_epoch // num_processes)


def _share(batches: list[BatchPlan], sharing: Sharing, epoch: int, step: int) -> Share:
    if sharing.process_index >= len(batches):
        return Share(epoch, step, batches[0].entries, weight=0.0)
    entries = batches[sharing.process_index].entries
    total = sum(len(batch.entries) for batch in batches)
    return Share(epoch, step, entries, weight=len(entries) * sharing.num_processes / total)
