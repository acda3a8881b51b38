"""The latent cache: which pictures have to be encoded and why, encoding them, finding them again.

An entry's key is made of everything its moments depend on (see `LatentCache.facts`), so there is
nothing to check and nothing to go stale: what changed simply has another key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from torch import Tensor

from sd_scripts.data.check import content_hashes, note_broken
from sd_scripts.data.encoding import Job, View, encode_jobs
from sd_scripts.data.identity import EncoderIdentity
from sd_scripts.data.kohya_latents import KohyaLatents
from sd_scripts.data.long_work import EncodeSettings, Hooks, Outcome
from sd_scripts.data.manifest import Facts, Manifest, reason_for, window_facts
from sd_scripts.data.mask_cache import MaskCache
from sd_scripts.data.store import TensorStore, content_key
from sd_scripts.dataset.index import PictureIndex
from sd_scripts.dataset.samples import DatasetPlan, Sample

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

CODE_VERSION: Final = "1"
"""Raise it when pictures are decoded, resized or cropped differently than before."""


@dataclass(frozen=True)
class Encoding:
    """What is to be encoded. `reasons` counts pictures by why; `num_reused` are there already."""

    jobs: tuple[Job, ...]
    reasons: Mapping[str, int]
    num_reused: int

    @property
    def text(self) -> str:
        """Return one sentence for the log."""
        if not self.jobs:
            return f"all {self.num_reused} pictures are in the latent cache"
        why = ", ".join(f"{count} {reason}" for reason, count in self.reasons.items())
        return f"encoding {len(self.jobs)} of {len(self.jobs) + self.num_reused} pictures: {why}"


class LatentCache:
    """Moments of a plan's pictures by content, on disk or in memory.

    Samples whose pixels vary are never cached (`covers` tells): each showing is another picture.
    """

    def __init__(
        self, cache_dir: Path, identity: EncoderIdentity, index: PictureIndex, *, in_memory: bool
    ) -> None:
        self.store = TensorStore(cache_dir / "latents", in_memory=in_memory)
        self.masks = MaskCache(cache_dir, index, in_memory=in_memory)
        self._manifest = Manifest(cache_dir / "latents" / "made_from")
        self._identity = identity
        self._index = index
        self._hashes: dict[Path, str] = {}
        self.kohya: KohyaLatents | None = None
        """Latents that are taken from files of sd-scripts instead of being encoded."""

    def covers(self, sample: Sample) -> bool:
        """Whether this sample's moments are kept here."""
        return sample.has_fixed_pixels

    def facts(self, sample: Sample) -> Facts:
        """Return everything a sample's moments depend on, but for the mirroring."""
        return {
            "picture": self._hashes[sample.path],
            "bucket": f"{sample.bucket[0]}x{sample.bucket[1]}",
            "resized": f"{sample.resized[0]}x{sample.resized[1]}",
            "interpolation": sample.resize_interpolation or "automatic",
            "crop": "centre",
            "weights": self._identity.weights,
            "dtype": self._identity.dtype,
            "code": CODE_VERSION,
            **window_facts(sample),
        }

    def key(self, sample: Sample, flipped: bool) -> str:
        """Return the key of a sample's moments, as they are or mirrored."""
        return content_key({**self.facts(sample), "flipped": int(flipped)})

    def moments(self, sample: Sample, flipped: bool) -> Tensor:
        """Return moments [2C, h, w] float32; they must have been encoded before."""
        if self.kohya is not None and self.kohya.has(sample, flipped):
            return self.kohya.moments(sample, flipped)
        return self.store.load(self.key(sample, flipped))["moments"].float()

    def plan(self, plan: DatasetPlan, hooks: Hooks) -> Encoding:
        """Say what has to be encoded for `plan`. Reads and hashes new and changed pictures."""
        samples = [sample for sample in plan.all_samples if self.covers(sample)]
        paths = list({sample.path for sample in samples})
        self._hashes = content_hashes(self._index, paths, hooks)
        wanted = {
            (sample.id, flipped): self.key(sample, flipped)
            for sample in samples
            for flipped in ((False, True) if sample.flip else (False,))
            if self.kohya is None or not self.kohya.has(sample, flipped)
        }
        done = self.store.existing(wanted.values())
        jobs: list[Job] = []
        reasons: Counter[str] = Counter()
        for sample in sorted(samples, key=_encoding_order):
            keys = {
                flipped: key
                for flipped in (False, True)
                if (key := wanted.get((sample.id, flipped))) is not None and key not in done
            }
            if keys:
                done.update(keys.values())  # the same picture may be used twice
                jobs.append(Job(sample, keys))
                reasons[self._reason(sample, keys)] += 1
        return Encoding(tuple(jobs), dict(reasons), len(samples) - len(jobs))

    def encode(
        self,
        encoding: Encoding,
        vae: AutoencoderKL,
        settings: EncodeSettings,
        hooks: Hooks,
    ) -> Outcome:
        """Encode what `plan` found missing; every finished picture is kept, however it ends.

        Pictures that can't be decoded are noted in the picture index: the next `plan_dataset`
        leaves them out by name, or refuses them, as `bad_images` says. `UserError` if the VAE
        gives NaN or the cache can't be written.
        """

        def keep(view: View, moments: Tensor) -> None:
            self.store.save(view.job.keys[view.flipped], {"moments": moments})
            self._manifest.put(view.job.sample.path, self.facts(view.job.sample))

        try:
            outcome = encode_jobs(encoding.jobs, vae, keep, settings, hooks)
        finally:
            if not self.store.in_memory:
                self._manifest.save()
        note_broken(self._index, outcome.broken)
        return outcome

    def _reason(self, sample: Sample, missing: Mapping[bool, str]) -> str:
        old, new = self._manifest.get(sample.path), self.facts(sample)
        if old == new and False not in missing:
            return "to be mirrored now"
        return reason_for(old, new)


def _encoding_order(sample: Sample) -> tuple[object, ...]:
    """Pictures of one bucket follow each other, so that they fill the VAE's batches."""
    return sample.bucket, sample.dataset, sample.id
