"""Which pictures meet in which batch, and where every random number of a sample comes from.

Everything follows from (seed, epoch), so any epoch's order can be made again at any time, in any
process: a resumed run goes on exactly where it stopped.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import NamedTuple

from sd_scripts.dataset.buckets import Size
from sd_scripts.dataset.samples import DatasetPlan


class Entry(NamedTuple):
    """One showing of a sample in an epoch; `repeat` counts from 0 within the epoch."""

    sample_id: int
    repeat: int


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """One batch: entries of one dataset and one bucket."""

    dataset: int
    bucket: Size
    entries: tuple[Entry, ...]


def stream_seed(seed: int, epoch: int, sample_id: int, repeat: int, purpose: str) -> int:
    """A 63-bit seed for one purpose ("caption", "noise", …) of one showing of one sample.

    Different purposes are different streams, so that switching one thing on (say, flips) does not
    change the random numbers of another.
    """
    text = f"{seed}/{epoch}/{sample_id}/{repeat}/{purpose}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def epoch_batches(plan: DatasetPlan, *, seed: int, epoch: int) -> list[BatchPlan]:
    """All batches of `epoch` (counted from 1) in the order they are trained.

    Each bucket is shuffled and cut into batches, the last one perhaps short; then all batches are
    shuffled. A batch never mixes buckets or datasets.
    """
    buckets: dict[tuple[int, Size], list[Entry]] = {}
    for sample in plan.samples:
        entries = buckets.setdefault((sample.dataset, sample.bucket), [])
        entries.extend(Entry(sample.id, repeat) for repeat in range(sample.num_repeats))
    rng = random.Random(stream_seed(seed, epoch, 0, 0, "order"))
    batches: list[BatchPlan] = []
    for (dataset, bucket), entries in sorted(buckets.items()):
        rng.shuffle(entries)
        size = plan.datasets[dataset].settings.batch_size
        batches.extend(
            BatchPlan(dataset, bucket, tuple(entries[start : start + size]))
            for start in range(0, len(entries), size)
        )
    rng.shuffle(batches)
    return batches
