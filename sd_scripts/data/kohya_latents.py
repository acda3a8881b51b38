"""Latents of sd-scripts' cache files: found, checked against the VAE, used, and written.

A file tells neither its VAE nor its picture, so a picture that is newer than its file is encoded
anew, and of each folder one file is compared with what the VAE really gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from sd_scripts.data.kohya_files import (
    Array,
    UnfitFile,
    latent_arrays,
    latent_file,
    latent_files,
    read_latents,
    write_arrays,
)
from sd_scripts.data.latents import LatentScaling, encode_moments, sample_moments, to_tensor
from sd_scripts.data.pixels import choose_crop, cut, load_pixels
from sd_scripts.dataset.buckets import Size
from sd_scripts.dataset.order import stream_seed
from sd_scripts.dataset.pictures import PictureProblem
from sd_scripts.dataset.samples import Sample
from sd_scripts.dataset.words import count

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

_NO_NOISE: Final = -30.0
"""Log variance of latents that are one sample already: the least that is ever used."""
_TOLERANCE: Final = 0.1
_Key = tuple[Path, Size, bool]


@dataclass
class KohyaLatents:
    """Which samples' latents are taken from files, and why others are not.

    `owners` are the pictures that each file may be of: names tell no extension.
    """

    family: str
    found: dict[_Key, Path] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    owners: dict[Path, set[Path]] = field(default_factory=dict)

    def look(self, samples: Iterable[Sample]) -> None:
        """Look for the files of all samples; broken and old ones are noted.

        sd-scripts knows no crop windows, so no file is about a part of a picture.
        """
        samples = list(samples)
        for sample in samples:
            for name in latent_files(sample, self.family):
                self.owners.setdefault(name, set()).add(sample.path)
        for sample in samples:
            if sample.window is not None:
                continue
            files = [one for one in latent_files(sample, self.family) if one.is_file()]
            if not files:
                continue
            try:
                file = next((one for one in files if not self._is_shared(one)), None)
                if file is None:
                    raise UnfitFile("of several pictures with one name")
                if file.stat().st_mtime_ns < sample.path.stat().st_mtime_ns:
                    raise UnfitFile("older than the picture")
                for flipped in _views(sample):
                    read_latents(file, sample, flipped)
            except (UnfitFile, OSError) as error:
                self.refused[str(error)] += 1
                continue
            self.found |= {(sample.path, sample.bucket, view): file for view in _views(sample)}

    def check(self, samples: Sequence[Sample], load_vae: Callable[[], AutoencoderKL]) -> None:
        """Compare one file of each folder with the VAE; files of another VAE are not used."""
        checked: dict[Path, bool] = {}
        for sample in samples:
            if not self.has(sample, False):
                continue
            folder = sample.path.parent
            if folder not in checked:
                checked[folder] = self._is_alike(sample, load_vae())
            if not checked[folder]:
                for view in _views(sample):
                    self.found.pop((sample.path, sample.bucket, view), None)
                self.refused["made by another VAE"] += 1

    def has(self, sample: Sample, flipped: bool) -> bool:
        """Whether a sample's latents are taken from a file."""
        return (sample.path, sample.bucket, flipped) in self.found

    def to_write(self, samples: Iterable[Sample]) -> tuple[list[Sample], int]:
        """Return the samples that have no file that fits and can have one.

        And how many pictures can have none, since they share its name with others.
        """
        alone: list[Sample] = []
        shared: set[Path] = set()
        for sample in samples:
            if self._is_shared(latent_file(sample, self.family)):
                shared.add(sample.path)
            elif not self.has(sample, False):
                alone.append(sample)
        return alone, len(shared)

    def _is_shared(self, file: Path) -> bool:
        return len(self.owners.get(file, ())) > 1

    def moments(self, sample: Sample, flipped: bool) -> Tensor:
        """Return moments [2C, h, w] float32 that are sampled to the file's latents."""
        latents = self._latents(sample, flipped)
        return torch.cat([latents, torch.full_like(latents, _NO_NOISE)])

    @property
    def text(self) -> str:
        """Return one sentence for the log; empty if there are no such files."""
        parts = [f"latents of {count(len(self.found), 'view')} are taken from files of sd-scripts"]
        parts += [f"{number} not used: {reason}" for reason, number in self.refused.items()]
        return "; ".join(parts) if self.found or self.refused else ""

    def _latents(self, sample: Sample, flipped: bool) -> Tensor:
        file = self.found[sample.path, sample.bucket, flipped]
        return torch.from_numpy(read_latents(file, sample, flipped))

    def _is_alike(self, sample: Sample, vae: AutoencoderKL) -> bool:
        """Whether a file's latents are what the VAE gives, but for sampling and rounding."""
        try:
            pixels = cut(load_pixels(sample), choose_crop(sample, False), sample.bucket)
        except PictureProblem:
            return False  # found again, and told, when it is to be encoded
        moments = encode_moments(vae, to_tensor(pixels[None]))[0].float().cpu()
        mean, log_variance = moments.chunk(2)
        latents = self._latents(sample, False)
        if latents.shape != mean.shape:
            return False
        spread = torch.exp(log_variance.clamp(-30.0, 20.0)).mean()
        allowed = (_TOLERANCE**2) * mean.square().mean() + 4.0 * spread
        return bool((latents - mean).square().mean() <= allowed)


def write_latents(
    samples: Sequence[Sample], family: str, moments: Callable[[Sample, bool], Tensor]
) -> Iterator[Path]:
    """Write the latents of all samples beside their pictures, yielding each file's name.

    Of pictures with a crop window nothing is written: sd-scripts knows none. No two pictures may
    share a name (see `KohyaLatents.to_write`). Where a picture is used at one size only, the keys
    without a size are written too, for older versions. Raises `UserError`.
    """
    by_file: dict[Path, dict[Size, Sample]] = {}
    for sample in samples:
        if sample.window is not None:
            continue
        by_file.setdefault(latent_file(sample, family), {}).setdefault(sample.bucket, sample)
    for path, sizes in by_file.items():
        arrays: dict[str, Array] = {}
        for sample in sizes.values():
            latents = {view: _sampled(sample, moments(sample, view)) for view in _views(sample)}
            height, width = latents[False].shape[1:]
            suffixes = [f"_{height}x{width}"] + [""] * (len(sizes) == 1)
            for suffix in suffixes:
                numbers = {view: one.numpy() for view, one in latents.items()}
                arrays |= latent_arrays(sample, numbers, suffix)
        write_arrays(path, arrays)
        yield path


def _sampled(sample: Sample, moments: Tensor) -> Tensor:
    seed = stream_seed(0, 0, 0, 0, f"npz/{sample.path.name}")
    return sample_moments(moments[None], [seed], LatentScaling(1.0))[0]


def _views(sample: Sample) -> tuple[bool, ...]:
    return (False, True) if sample.flip else (False,)
