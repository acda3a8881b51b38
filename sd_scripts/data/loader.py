"""The batches of a job, epoch by epoch: the same ones however they are loaded.

Every random choice comes from a stream named by (seed, epoch, sample, repeat, purpose), and every
batch's step is known beforehand: an epoch can start at any batch, in any number of processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from sd_scripts.data.ahead import ProcessPool, in_thread
from sd_scripts.data.assemble import Assembled, Assembler, Task
from sd_scripts.data.batch import Batch, CachedText
from sd_scripts.data.latent_cache import LatentCache
from sd_scripts.data.latents import LatentScaling, sample_moments
from sd_scripts.data.pixels import crop_top_left, to_tensor
from sd_scripts.data.schedule import Share, Sharing, batches_per_process, shares_of_epoch
from sd_scripts.data.text_cache import TextCache
from sd_scripts.dataset.buckets import Size
from sd_scripts.dataset.pictures import shown
from sd_scripts.dataset.samples import DatasetPlan
from sd_scripts.errors import UserError
from sd_scripts.options.groups.data import DataOptions


@dataclass(frozen=True)
class LoaderSettings:
    """What of a job shapes its batches. `total_steps` is the job's length (caption warm-up)."""

    seed: int
    total_steps: int
    accumulation: int = 1
    prior_loss_weight: float = 1.0
    num_workers: int = 0
    persistent_workers: bool = False
    sharing: Sharing = field(default_factory=Sharing)

    @classmethod
    def of(
        cls,
        data: DataOptions,
        *,
        seed: int,
        total_steps: int,
        accumulation: int,
        sharing: Sharing | None = None,
    ) -> LoaderSettings:
        """Take the settings from a job's options and what was resolved about it."""
        return cls(
            seed=seed,
            total_steps=total_steps,
            accumulation=accumulation,
            prior_loss_weight=data.prior_loss_weight,
            num_workers=data.max_data_loader_n_workers,
            persistent_workers=data.persistent_data_loader_workers,
            sharing=sharing or Sharing(),
        )


class BatchSource:
    """Batches of a plan for one process.

    Cached latents need no worker processes, whose start would cost more than it saves: they are
    read in memory, or by one thread from disk. Pictures are decoded in up to `num_workers`
    processes, at most one per processor; with 0, by one thread.
    """

    def __init__(
        self,
        plan: DatasetPlan,
        settings: LoaderSettings,
        *,
        scaling: LatentScaling,
        latents: LatentCache | None = None,
        text: TextCache | None = None,
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._scaling = scaling
        self._latents = latents
        self._text = text
        self._assembler = Assembler(plan.samples, settings.seed, settings.total_steps)
        self._pool: ProcessPool[Task, Assembled] | None = None

    @property
    def batches_per_epoch(self) -> int:
        """Batches this process trains in an epoch."""
        return batches_per_process(self._plan, self._settings.sharing.num_processes)

    @property
    def needs_pixels(self) -> bool:
        """Whether some batches come with pixels, so that the VAE has to stay."""
        return self._latents is None or any(
            not self._latents.covers(sample) for sample in self._plan.samples
        )

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """Yield the batches of `epoch` (from 1), from batch `start_batch` (from 0) on.

        Raises `UserError` where a picture can't be decoded.
        """
        shares = shares_of_epoch(
            self._plan,
            seed=self._settings.seed,
            epoch=epoch,
            accumulation=self._settings.accumulation,
            sharing=self._settings.sharing,
        )
        tasks = [Task(share, self._with_pixels(share)) for share in shares[start_batch:]]
        yield from map(self._batch, self._loaded(tasks))

    def names(self, batch: Batch) -> list[str]:
        """Return the paths of a batch's pictures, for messages."""
        return list(batch.names)

    def close(self) -> None:
        """End worker processes, if there are any."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _with_pixels(self, share: Share) -> bool:
        cache = self._latents
        if cache is None:
            return True
        samples = self._plan.samples
        return not all(cache.covers(samples[entry.sample_id]) for entry in share.entries)

    def _loaded(self, tasks: Sequence[Task]) -> Iterator[_Loaded]:
        """Assemble `tasks` in order and fetch what is cached, in the way that fits them."""
        with_pixels = any(task.with_pixels for task in tasks)
        num_workers = min(self._settings.num_workers, os.cpu_count() or 1)
        if with_pixels and num_workers:
            if self._pool is None:
                persistent = self._settings.persistent_workers
                self._pool = ProcessPool(self._assembler, num_workers, persistent=persistent)
            return map(self._load, self._pool.run(tasks))
        if with_pixels or (self._latents and not self._latents.store.in_memory):
            return in_thread(lambda task: self._load(self._assembler(task)), tasks)
        return (self._load(self._assembler(task)) for task in tasks)

    def _load(self, assembled: Assembled) -> _Loaded:
        """Fetch the cached parts of a batch."""
        if assembled.problem is not None:
            raise UserError(
                str(assembled.problem), option="train_data_dir", hint=assembled.problem.hint
            )
        text = self._text.get(assembled.captions) if self._text else None
        if assembled.task.with_pixels or self._latents is None:
            return _Loaded(assembled, None, text)
        moments = [
            self._latents.moments(self._plan.samples[entry.sample_id], crop.flipped)
            for entry, crop in zip(assembled.task.share.entries, assembled.crops, strict=True)
        ]
        return _Loaded(assembled, torch.stack(moments), text)

    def _batch(self, loaded: _Loaded) -> Batch:
        """Turn a loaded batch into tensors, sampling its latents."""
        assembled, moments, text = loaded
        share, pixels, crops = assembled.task.share, assembled.pixels, assembled.crops
        samples = [self._plan.samples[entry.sample_id] for entry in share.entries]
        latent_seeds = self._assembler.seeds(share, "latents")
        prior = self._settings.prior_loss_weight
        return Batch(
            sample_ids=tuple(sample.id for sample in samples),
            names=tuple(shown(sample.path) for sample in samples),
            captions=assembled.captions,
            original_sizes=_height_width(sample.image_size for sample in samples),
            crop_top_lefts=torch.tensor(
                [crop_top_left(sample, crop) for sample, crop in zip(samples, crops, strict=True)]
            ),
            target_sizes=_height_width(sample.bucket for sample in samples),
            loss_weights=torch.tensor(
                [share.weight * (prior if sample.is_reg else 1.0) for sample in samples]
            ),
            noise_seeds=self._assembler.seeds(share, "noise"),
            latent_seeds=latent_seeds,
            latents=(
                None if moments is None else sample_moments(moments, latent_seeds, self._scaling)
            ),
            pixels=None if pixels is None else to_tensor(pixels),
            text=text,
        )


class _Loaded(NamedTuple):
    """A batch with its cached parts: moments [B, 2C, h, w] and text encoder outputs."""

    assembled: Assembled
    moments: Tensor | None
    text: CachedText | None


def _height_width(sizes: Iterable[Size]) -> Tensor:
    """Turn (width, height) sizes into [B, 2] int64, height first."""
    return torch.tensor([(height, width) for width, height in sizes])
