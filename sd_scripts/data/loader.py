"""The batches of a job, epoch by epoch: the same ones however they are loaded.

Every random choice comes from a stream named by (seed, epoch, sample, repeat, purpose), and every
batch's step is known beforehand: an epoch can start at any batch, in any number of processes.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import tee
from typing import NamedTuple

import torch
from torch import Tensor

from sd_scripts.data.assemble import Assembler, Showing
from sd_scripts.data.batch import Batch, CachedText
from sd_scripts.data.latent_cache import LatentCache
from sd_scripts.data.latents import LatentScaling, sample_moments, to_tensor
from sd_scripts.data.mask_cache import mask_at_latents
from sd_scripts.data.pixels import (
    Cutout,
    Pixels,
    crop_top_left,
    cutout,
    letter_box_top_left,
    load_batch,
)
from sd_scripts.data.prefetch import prefetched
from sd_scripts.data.schedule import Share, Sharing, batches_per_process, shares_of_epoch
from sd_scripts.data.text_cache import TextCache
from sd_scripts.data.workers import WorkerPool
from sd_scripts.dataset.buckets import Size
from sd_scripts.dataset.pictures import PictureProblem, shown
from sd_scripts.dataset.samples import DatasetPlan
from sd_scripts.errors import UserError
from sd_scripts.options.groups.data import DataOptions


@dataclass(frozen=True)
class LoaderSettings:
    """What of a job shapes its batches.

    `total_steps` is the job's length (caption warm-up). With `letter_box_crops`, crops are told as
    sd-scripts tells them, instead of as they were really taken.
    """

    seed: int
    total_steps: int
    accumulation: int = 1
    prior_loss_weight: float = 1.0
    num_workers: int = 0
    persistent_workers: bool = False
    letter_box_crops: bool = False
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
            letter_box_crops=data.kohya_crop_conditioning,
            sharing=sharing or Sharing(),
        )


class BatchSource:
    """Batches of a plan for one process.

    Cached latents need no worker processes, whatever `num_workers` says: they are in memory, or
    one thread reads them from disk. Pictures are decoded in up to `num_workers` processes, at
    most one per processor; with 0, by one thread.
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
        self._pool: WorkerPool | None = None

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

    @property
    def plan(self) -> DatasetPlan:
        """The plan whose batches these are."""
        return self._plan

    def of_plan(self, plan: DatasetPlan, seed: int) -> BatchSource:
        """Return the batches of another plan, of pictures that are in the same caches."""
        settings = replace(self._settings, seed=seed, total_steps=1, accumulation=1)
        return BatchSource(
            plan, settings, scaling=self._scaling, latents=self._latents, text=self._text
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
        yield from map(self._batch, self._loaded(shares[start_batch:]))

    def close(self) -> None:
        """End worker processes, if there are any."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _loaded(self, shares: Sequence[Share]) -> Iterator[_Loaded]:
        """Load batches in order, ahead of their use unless everything is in memory."""
        drafts = (_Draft(share, self._assembler.showings(share)) for share in shares)
        loading = self._load_all(drafts)
        if self._latents and self._latents.store.in_memory and not self.needs_pixels:
            return loading
        return prefetched(loading)

    def _load_all(self, drafts: Iterable[_Draft]) -> Iterator[_Loaded]:
        drafts, ahead = tee(drafts)
        wanted = (draft.cutouts for draft in ahead if self._wants_pixels(draft))
        with closing(self._pictures(wanted)) as pictures:
            for draft in drafts:
                text = self._text.get(draft.captions) if self._text else None
                if self._wants_pixels(draft):
                    pixels = _next_pixels(pictures)
                    masks = torch.from_numpy(pixels[..., 3]) if pixels.shape[-1] == 4 else None
                    at_latents = None if masks is None else mask_at_latents(masks)
                    yield _Loaded(draft, None, pixels[..., :3], text, at_latents)
                else:
                    yield _Loaded(draft, self._moments(draft), None, text, self._masks(draft))

    def _pictures(self, wanted: Iterable[list[Cutout]]) -> Generator[Pixels]:
        """Yield the pixels of the batches `wanted`, decoded by worker processes or here."""
        num_workers = min(self._settings.num_workers, os.cpu_count() or 1)
        if not num_workers or not self.needs_pixels:
            yield from map(load_batch, wanted)
            return
        if self._pool is None:
            persistent = self._settings.persistent_workers
            self._pool = WorkerPool(num_workers, persistent=persistent)
        yield from self._pool.run(wanted)

    def _wants_pixels(self, draft: _Draft) -> bool:
        cache = self._latents
        return cache is None or not all(cache.covers(one.sample) for one in draft.showings)

    def _moments(self, draft: _Draft) -> Tensor:
        assert self._latents is not None
        found = [self._latents.moments(one.sample, one.crop.flipped) for one in draft.showings]
        return torch.stack(found)

    def _masks(self, draft: _Draft) -> Tensor | None:
        assert self._latents is not None
        if not any(one.sample.mask for one in draft.showings):
            return None
        masks = self._latents.masks
        return torch.stack([masks.mask(one.sample, one.crop.flipped) for one in draft.showings])

    def _batch(self, loaded: _Loaded) -> Batch:
        """Turn a loaded batch into tensors, sampling its latents."""
        (share, showings), moments, pixels, text, masks = loaded
        prior = self._settings.prior_loss_weight
        latent_seeds = tuple(one.latent_seed for one in showings)
        return Batch(
            sample_ids=tuple(one.sample.id for one in showings),
            names=tuple(shown(one.sample.path) for one in showings),
            captions=loaded.draft.captions,
            original_sizes=_height_width(one.sample.image_size for one in showings),
            crop_top_lefts=torch.tensor([self._crop_told(one) for one in showings]),
            target_sizes=_height_width(one.sample.bucket for one in showings),
            loss_weights=torch.tensor(
                [share.weight * (prior if one.sample.is_reg else 1.0) for one in showings]
            ),
            noise_seeds=tuple(one.noise_seed for one in showings),
            latent_seeds=latent_seeds,
            latents=(
                None if moments is None else sample_moments(moments, latent_seeds, self._scaling)
            ),
            pixels=None if pixels is None else to_tensor(pixels),
            text=text,
            masks=masks,
        )

    def _crop_told(self, showing: Showing) -> tuple[int, int]:
        """What the model is told of a crop: (top, left)."""
        if self._settings.letter_box_crops:
            return letter_box_top_left(showing.sample, showing.crop.flipped)
        return crop_top_left(showing.sample, showing.crop)


class _Draft(NamedTuple):
    """A batch before anything of it is loaded."""

    share: Share
    showings: list[Showing]

    @property
    def captions(self) -> tuple[str, ...]:
        return tuple(one.caption for one in self.showings)

    @property
    def cutouts(self) -> list[Cutout]:
        return [cutout(one.sample, one.crop, one.color) for one in self.showings]


class _Loaded(NamedTuple):
    """A batch with moments [B, 2C, h, w] or pixels [B, H, W, 3], text encoder outputs, and masks
    [B, 1, h, w] if there are any."""

    draft: _Draft
    moments: Tensor | None
    pixels: Pixels | None
    text: CachedText | None
    masks: Tensor | None


def _next_pixels(pictures: Iterator[Pixels]) -> Pixels:
    try:
        return next(pictures)
    except PictureProblem as problem:
        raise UserError(str(problem), option="bad_images", hint=problem.hint) from problem


def _height_width(sizes: Iterable[Size]) -> Tensor:
    """Turn (width, height) sizes into [B, 2] int64, height first."""
    return torch.tensor([(height, width) for width, height in sizes])
