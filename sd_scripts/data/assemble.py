"""What one showing of a sample is: its caption, its crop and its pixels, from its own streams.

This runs in the training process or in worker processes; the result is the same, since nothing
here depends on anything but the plan, the settings and the share of work.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sd_scripts.data.pixels import Crop, Pixels, choose_crop, cut, load_pixels
from sd_scripts.data.schedule import Share
from sd_scripts.dataset.captions import process_caption
from sd_scripts.dataset.order import Entry, stream_seed
from sd_scripts.dataset.pictures import PictureProblem
from sd_scripts.dataset.samples import Sample


class Task(NamedTuple):
    """One batch to assemble; without pixels where its latents are cached."""

    share: Share
    with_pixels: bool


@dataclass(frozen=True, slots=True)
class Assembled:
    """A batch before it meets tensors: cheap to send from one process to another.

    `pixels` is [B, H, W, 3] uint8. `problem` is set, and nothing else is of use, where a picture
    could not be decoded.
    """

    task: Task
    captions: tuple[str, ...] = ()
    crops: tuple[Crop, ...] = ()
    pixels: Pixels | None = None
    problem: PictureProblem | None = None


class Assembler:
    """Makes batches of a plan's samples; small, and the same in every process."""

    def __init__(self, samples: Sequence[Sample], seed: int, total_steps: int) -> None:
        self._samples = samples
        self._seed = seed
        self._total_steps = total_steps

    def __call__(self, task: Task) -> Assembled:
        """Assemble one batch: captions, crops and, if asked for, pixels."""
        entries = task.share.entries
        samples = [self._samples[entry.sample_id] for entry in entries]
        captions = tuple(self._caption(task.share, entry) for entry in entries)
        crops = tuple(self._crop(task.share, entry) for entry in entries)
        if not task.with_pixels:
            return Assembled(task, captions, crops)
        try:
            pixels = np.stack(
                [
                    cut(load_pixels(sample), crop, sample.bucket)
                    for sample, crop in zip(samples, crops, strict=True)
                ]
            )
        except PictureProblem as problem:
            return Assembled(task, problem=problem)
        return Assembled(task, captions, crops, pixels)

    def seeds(self, share: Share, purpose: str) -> tuple[int, ...]:
        """Return the seed of each entry's stream for one purpose."""
        return tuple(self._stream(share, entry, purpose) for entry in share.entries)

    def _stream(self, share: Share, entry: Entry, purpose: str) -> int:
        return stream_seed(self._seed, share.epoch, entry.sample_id, entry.repeat, purpose)

    def _caption(self, share: Share, entry: Entry) -> str:
        sample = self._samples[entry.sample_id]
        return process_caption(
            sample.caption,
            sample.rules,
            step=share.step,
            max_steps=self._total_steps,
            epoch=share.epoch,
            rng=random.Random(self._stream(share, entry, "caption")),
        )

    def _crop(self, share: Share, entry: Entry) -> Crop:
        sample = self._samples[entry.sample_id]
        flipped = sample.flip and random.Random(self._stream(share, entry, "flip")).random() < 0.5
        if not sample.random_crop:
            return choose_crop(sample, flipped)
        return choose_crop(sample, flipped, random.Random(self._stream(share, entry, "crop")))
