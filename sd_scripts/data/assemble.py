"""What one showing of a sample is: its caption, its crop and its seeds, from its own streams."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from sd_scripts.data.colors import ColorShift, choose_color
from sd_scripts.data.face_crop import choose_face_crop
from sd_scripts.data.pixels import Crop, choose_crop
from sd_scripts.data.schedule import Share
from sd_scripts.dataset.captions import process_caption
from sd_scripts.dataset.faces import face_in_window
from sd_scripts.dataset.order import Entry, stream_seed
from sd_scripts.dataset.samples import Sample


class Showing(NamedTuple):
    """One sample in one batch; the seeds name the streams of the objective and of the VAE."""

    sample: Sample
    caption: str
    crop: Crop
    noise_seed: int
    latent_seed: int
    color: ColorShift | None = None


class Assembler:
    """Decides by chance, but always the same, how the samples of a plan are shown."""

    def __init__(self, samples: Sequence[Sample], seed: int, total_steps: int) -> None:
        self._samples = samples
        self._seed = seed
        self._total_steps = total_steps

    def showings(self, share: Share) -> list[Showing]:
        """Return the samples of one batch as they are shown in it."""
        return [self._showing(share, entry) for entry in share.entries]

    def _showing(self, share: Share, entry: Entry) -> Showing:
        sample = self._samples[entry.sample_id]

        def stream(purpose: str) -> int:
            return stream_seed(self._seed, share.epoch, entry.sample_id, entry.repeat, purpose)

        caption = process_caption(
            sample.caption,
            sample.rules,
            step=share.step,
            max_steps=self._total_steps,
            epoch=share.epoch,
            rng=random.Random(stream("caption")),
        )
        flipped = sample.flip and random.Random(stream("flip")).random() < 0.5
        crop = _crop(sample, flipped, random.Random(stream("crop")))
        color = choose_color(random.Random(stream("color"))) if sample.color_aug else None
        return Showing(sample, caption, crop, stream("noise"), stream("latents"), color)


def _crop(sample: Sample, flipped: bool, rng: random.Random) -> Crop:
    face = face_in_window(sample.path, sample.window) if sample.face_crop_aug_range else None
    if face is not None:
        return choose_face_crop(sample, face, flipped, rng)
    return choose_crop(sample, flipped, rng if sample.random_crop else None)
