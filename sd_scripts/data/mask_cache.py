"""The mask cache: masks at latent size, kept beside the latents under keys of their own.

Latents never depend on a mask, and a mask's key holds the hash of the file it came from: a changed
mask is another entry, and with masks switched off none is ever looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from sd_scripts.data.check import content_hashes, note_broken
from sd_scripts.data.long_work import EncodeSettings, Hooks, Outcome
from sd_scripts.data.manifest import window_facts
from sd_scripts.data.pixels import choose_crop, cut, load_mask
from sd_scripts.data.store import TensorStore, content_key
from sd_scripts.dataset.index import PictureIndex
from sd_scripts.dataset.pictures import PictureProblem, shown
from sd_scripts.dataset.samples import DatasetPlan, Sample
from sd_scripts.dataset.words import some
from sd_scripts.errors import Problem

PHASE: Final = "Reading masks"
PIXELS_PER_LATENT: Final = 8
_CODE_VERSION: Final = "1"
"""Raise it when masks are decoded, resized or cropped differently than before."""


def mask_at_latents(mask: Tensor) -> Tensor:
    """Average masks [B, H, W] uint8 over each latent's pixels: [B, 1, H/8, W/8] in 0 … 1.

    Sums of 64 bytes are exact in float32, so that a mirrored mask is the mirror of the mask.
    """
    return torch.nn.functional.avg_pool2d(mask[:, None].float(), PIXELS_PER_LATENT) / 255.0


class MaskCache:
    """Masks of a plan's pictures by content, on disk or in memory."""

    def __init__(self, cache_dir: Path, index: PictureIndex, *, in_memory: bool) -> None:
        self.store = TensorStore(cache_dir / "masks", in_memory=in_memory)
        self._index = index
        self._hashes: dict[Path, str] = {}

    def key(self, sample: Sample) -> str:
        """Return the key of a sample's mask; it has to have one."""
        assert sample.mask is not None
        return content_key(
            {
                "mask": self._hashes[sample.mask.path],
                "channel": sample.mask.channel,
                "bucket": f"{sample.bucket[0]}x{sample.bucket[1]}",
                "resized": f"{sample.resized[0]}x{sample.resized[1]}",
                "interpolation": sample.resize_interpolation or "automatic",
                "crop": "centre",
                "code": _CODE_VERSION,
                **window_facts(sample),
            }
        )

    def mask(self, sample: Sample, flipped: bool) -> Tensor:
        """Return a sample's mask [1, h, w] float32, all ones if it has none."""
        if sample.mask is None:
            width, height = (side // PIXELS_PER_LATENT for side in sample.bucket)
            return torch.ones((1, height, width))
        mask = self.store.load(self.key(sample))["mask"]
        return mask.flip(-1) if flipped else mask

    def fill(
        self, plan: DatasetPlan, settings: EncodeSettings, hooks: Hooks
    ) -> tuple[Outcome, list[Problem]]:
        """Read the masks that are missing, in threads; whatever was read is kept.

        Masks that can't be decoded are noted in the picture index, so that the next plan names
        them. Returns how it ended and what to tell the user.
        """
        samples = [one for one in plan.all_samples if one.mask is not None and one.has_fixed_pixels]
        paths = {one.mask.path for one in samples if one.mask is not None}
        self._hashes = content_hashes(self._index, sorted(paths), hooks)
        by_key = {self.key(sample): sample for sample in samples}
        done = self.store.existing(by_key)
        jobs = [(key, sample) for key, sample in by_key.items() if key not in done]
        outcome = self._read(jobs, settings, hooks)
        note_broken(self._index, outcome.broken)
        if outcome.state != "complete":
            return outcome, []
        empty = [one for one in by_key.values() if not self.mask(one, flipped=False).any()]
        return outcome, [_empty_masks(empty)] if empty else []

    def _read(
        self, jobs: Sequence[tuple[str, Sample]], settings: EncodeSettings, hooks: Hooks
    ) -> Outcome:
        broken: list[PictureProblem] = []
        waiting, num_done = iter(jobs), 0
        with ThreadPoolExecutor(settings.decode_threads) as pool:
            while part := list(islice(waiting, 4 * settings.decode_threads)):
                if hooks.should_stop():
                    return Outcome("stopped", num_done, tuple(broken))
                hooks.progress(PHASE, num_done, len(jobs))
                masks = pool.map(_mask_or_problem, [sample for _, sample in part])
                for (key, _), mask in zip(part, masks, strict=True):
                    if isinstance(mask, PictureProblem):
                        broken.append(mask)
                    else:
                        self.store.save(key, {"mask": mask})
                num_done += len(part)
        if jobs:
            hooks.progress(PHASE, num_done, len(jobs))
        return Outcome("broken" if broken else "complete", num_done, tuple(broken))


def _mask_or_problem(sample: Sample) -> Tensor | PictureProblem:
    assert sample.mask is not None
    try:
        size, method = sample.resized, sample.resize_interpolation
        mask = load_mask(sample.mask, size, method, sample.window)
    except PictureProblem as problem:
        return problem
    part = cut(mask, choose_crop(sample, flipped=False), sample.bucket)
    return mask_at_latents(torch.from_numpy(part[None, :, :, 0]))[0]


def _empty_masks(samples: Sequence[Sample]) -> Problem:
    names = some(sorted({shown(sample.path.name) for sample in samples}))
    return Problem(
        f"masks that are black everywhere, so that nothing is learned from these pictures: {names}",
        "masked_loss, alpha_mask",
        "paint white (or opaque) what shall be learned, or take these pictures out",
        "warning",
    )
