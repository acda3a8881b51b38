"""From a checked plan to batches: latents and captions encoded once, encoders loaded if needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sd_scripts.data.batch import Batch
from sd_scripts.data.check import check_pictures, files_of
from sd_scripts.data.identity import encoder_identity
from sd_scripts.data.kohya_latents import KohyaLatents, write_latents
from sd_scripts.data.kohya_text import KohyaTexts, files_to_write, write_texts
from sd_scripts.data.latent_cache import LatentCache
from sd_scripts.data.latents import LatentScaling, encode_pixels
from sd_scripts.data.long_work import EncodeSettings, Hooks, Outcome
from sd_scripts.data.text_cache import TextCache, captions_to_cache
from sd_scripts.dataset.index import PictureIndex, cache_folder
from sd_scripts.dataset.pictures import PictureProblem
from sd_scripts.dataset.samples import DatasetPlan, Sample
from sd_scripts.dataset.words import count
from sd_scripts.families.base import LoadedModel, TextConditioning
from sd_scripts.families.text import check_clip_skip
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import StopRequested
from sd_scripts.train.precision import Precision

_WEIGHT_SUFFIXES = frozenset((".safetensors", ".bin", ".ckpt", ".pt"))


class BrokenPictures(Exception):
    """Pictures turned out to be broken while they were decoded: the plan must be made again."""

    def __init__(self, problems: Sequence[PictureProblem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))


def _heed(outcome: Outcome) -> None:
    """Raise what an unfinished piece of work asks for: a stop, or a new plan."""
    if outcome.state == "stopped":
        raise StopRequested
    if outcome.state == "broken":
        raise BrokenPictures(outcome.broken)


@dataclass(frozen=True)
class Caching:
    """What the caches of one job have in common. `in_memory`: they may be kept there alone."""

    job: TrainingJob
    model: LoadedModel
    precision: Precision
    reporter: Reporter
    hooks: Hooks
    in_memory: bool = True

    @property
    def folder(self) -> Path:
        """The folder that holds all caches."""
        return cache_folder(self.job.data.cache_dir)

    def files(self, *parts: str) -> list[Path]:
        """Return the files that hold a model's parts ("vae", "text_encoder", …)."""
        replaced = self.job.model.vae if parts == ("vae",) else None
        path = Path(replaced or self.job.model.pretrained_model_name_or_path)
        if path.is_file():
            return [path]
        folders = [path / part for part in parts if (path / part).is_dir()] or [path]
        return sorted(
            file
            for folder in folders
            for file in folder.iterdir()
            if file.suffix in _WEIGHT_SUFFIXES
        )


def scaling_of(model: LoadedModel) -> LatentScaling:
    """Return how this model's U-Net wants latents."""
    return LatentScaling(model.family.vae_scale)


def latent_cache(caching: Caching, plan: DatasetPlan) -> LatentCache | None:
    """Encode what the cache lacks; None if latents are not to be cached (pictures are checked).

    Raises `BrokenPictures`, `StopRequested`, or `UserError` if the VAE gives invalid numbers.
    """
    data = caching.job.data
    index = PictureIndex(caching.folder)
    settings = EncodeSettings(vae_batch_size=data.vae_batch_size)
    if not data.cache_latents:
        _heed(check_pictures(files_of(plan), index, caching.folder, settings, caching.hooks))
        return None
    family, model = caching.model.family, caching.model

    def load() -> Sequence[torch.nn.Module]:
        family.load_missing(model, ["vae"])
        assert model.vae is not None
        return [model.vae]

    identity = encoder_identity(
        caching.folder, "vae", caching.files("vae"), caching.precision.vae, load
    )
    cache = LatentCache(
        caching.folder,
        identity,
        index,
        in_memory=caching.in_memory and not data.cache_latents_to_disk,
    )
    covered = [sample for sample in plan.all_samples if cache.covers(sample)]
    if data.kohya_caches != "off":
        cache.kohya = _kohya_latents(caching, covered, load)
    encoding = cache.plan(plan, caching.hooks)
    caching.reporter.say(encoding.text)
    if encoding.jobs:
        vae: Any = load()[0]
        _heed(cache.encode(encoding, vae, settings, caching.hooks))
    if data.kohya_caches == "write":
        _write_kohya_latents(caching, covered, cache)
    outcome, told = cache.masks.fill(plan, settings, caching.hooks)
    for problem in told:
        caching.reporter.warn(problem)
    _heed(outcome)
    return cache


def _kohya_latents(
    caching: Caching, samples: Sequence[Sample], load: Callable[[], Sequence[Any]]
) -> KohyaLatents:
    """Find the latents that sd-scripts has left beside the pictures, as far as they fit."""
    found = KohyaLatents(caching.model.family.name)
    found.look(samples)
    found.check(samples, lambda: load()[0])
    if found.text:
        caching.reporter.say(found.text)
    return found


def _write_kohya_latents(caching: Caching, samples: Sequence[Sample], cache: LatentCache) -> None:
    """Write the latents of sd-scripts' names beside those pictures that have none that fit.

    This run learns from them as well: one that resumes it finds them, and has to go on exactly.
    """
    assert cache.kohya is not None
    wanted, left_out = cache.kohya.to_write(samples)
    if left_out:
        caching.reporter.say(
            f"latents of {count(left_out, 'picture')} are not written for sd-scripts: their files "
            "would be of several pictures with one name"
        )
    for done, _ in enumerate(write_latents(wanted, caching.model.family.name, cache.moments), 1):
        if caching.hooks.should_stop():
            raise StopRequested
        caching.hooks.progress("writing latents for sd-scripts", done, len(wanted))
    cache.kohya.look(wanted)


def text_cache(caching: Caching, plan: DatasetPlan) -> TextCache | None:
    """Encode captions that the cache lacks; None if captions are not to be cached."""
    data, options = caching.job.data, caching.job.model
    weighted = caching.job.caption.weighted_captions
    if not data.cache_text_encoder_outputs:
        return None
    model = caching.model

    def load() -> Sequence[torch.nn.Module]:
        model.family.load_missing(model, ["text_encoders"])
        return model.text_encoders

    identity = encoder_identity(
        caching.folder,
        "text_encoders",
        caching.files("text_encoder", "text_encoder_2"),
        caching.precision.frozen,
        load,
    )
    cache = TextCache(
        caching.folder,
        identity,
        max_token_length=options.max_token_length,
        clip_skip=options.clip_skip,
        weighted=weighted,
        in_memory=caching.in_memory and not data.cache_text_encoder_outputs_to_disk,
    )
    captions = captions_to_cache(plan)

    def encode(texts: Sequence[str]) -> TextConditioning:
        load()
        return model.family.encode_text(
            model, texts, options.max_token_length, options.clip_skip, weighted=weighted
        )

    if data.kohya_caches != "off" and model.family.name == "sdxl" and not weighted:
        cache.kohya = _kohya_texts(caching, plan, cache.missing(captions), encode)
    if cache.missing(captions) and not cache.encode(captions, encode, caching.hooks):
        raise StopRequested
    if data.kohya_caches == "write" and cache.kohya is not None:
        load()
        _write_kohya_texts(caching, plan, cache)
    return cache


def _kohya_texts(
    caching: Caching,
    plan: DatasetPlan,
    missing: Sequence[str],
    encode: Callable[[Sequence[str]], TextConditioning],
) -> KohyaTexts | None:
    """Find the captions that sd-scripts has left encoded beside the pictures, as far as they fit.

    None if there is nothing to be found or written: all captions are in the cache.
    """
    if not missing and caching.job.data.kohya_caches == "read":
        return None
    config, length = caching.model.unet.config, caching.job.model.max_token_length
    found = KohyaTexts(
        (2 + (length or 75), config["cross_attention_dim"]),
        config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"],
        caching.precision.frozen,
    )
    found.look(plan)

    def outputs(caption: str) -> dict[str, Tensor]:
        encoded = encode([caption])
        assert encoded.pooled is not None
        return {"hidden": encoded.hidden[0], "pooled": encoded.pooled[0]}

    with torch.no_grad():
        found.check(outputs)
    found.leave(set(found.found) - set(missing))
    if found.text:
        caching.reporter.say(found.text)
    return found


def _write_kohya_texts(caching: Caching, plan: DatasetPlan, cache: TextCache) -> None:
    """Write the captions of sd-scripts' names beside those pictures that have none that fit."""
    assert cache.kohya is not None
    wanted, left_out = files_to_write(plan, cache.kohya.files)
    if left_out:
        caching.reporter.say(
            f"{left_out} captions are not written for sd-scripts: they are changed before they are "
            "learned, or pictures with one name have different ones"
        )
    width = caching.model.text_encoders[0].config.hidden_size
    for done, _ in enumerate(write_texts(wanted, cache.row, width), 1):
        if caching.hooks.should_stop():
            raise StopRequested
        caching.hooks.progress("writing captions for sd-scripts", done, len(wanted))


def check_text_options(job: TrainingJob, model: LoadedModel) -> None:
    """Raise `UserError` if the model's text encoders cannot be read as the options say."""
    if model.family.name != "sdxl":
        for encoder in model.text_encoders:
            check_clip_skip(encoder, job.model.clip_skip)


def latents_of(model: LoadedModel, vae_batch_size: int) -> Callable[[Batch], Tensor]:
    """Return what gives a batch's latents [B, 4, h, w], cached or encoded now."""
    scaling = scaling_of(model)

    def latents(batch: Batch) -> Tensor:
        if batch.latents is not None:
            return batch.latents
        assert model.vae is not None
        return encode_pixels(model.vae, batch, scaling, vae_batch_size)

    return latents


def text_of(
    job: TrainingJob, model: LoadedModel, *, learns: bool
) -> Callable[[Batch], TextConditioning]:
    """Return what gives a batch's conditioning: cached, or encoded now (with gradient)."""

    def text(batch: Batch) -> TextConditioning:
        if batch.text is not None:
            return TextConditioning(batch.text.hidden, batch.text.pooled)
        with torch.set_grad_enabled(learns):
            return model.family.encode_text(
                model,
                batch.captions,
                job.model.max_token_length,
                job.model.clip_skip,
                weighted=job.caption.weighted_captions,
            )

    return text
