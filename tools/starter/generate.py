"""Makes pictures of many prompts at once with a loaded model and the samplers of previews."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sd_scripts.errors import raise_if_errors
from sd_scripts.families.base import LoadedModel, LoadOptions, TextConditioning
from sd_scripts.families.detect import inspect_model, resolve_model
from sd_scripts.families.registry import FAMILIES
from sd_scripts.train.samplers import make_sampler
from tools.starter.scenes import PICTURE_SIZE


@dataclass(frozen=True)
class Way:
    """How pictures are sampled: steps, classifier-free guidance, sampler (a preview's names)."""

    steps: int = 30
    guidance: float = 4.0
    sampler: str = "ddim"
    batch: int = 25


def load_model(path: Path) -> LoadedModel:
    """Load a model as the trainers do. Raises `UserError`."""
    resolved, problems = resolve_model(inspect_model(path))
    raise_if_errors(problems)
    assert resolved is not None, "without errors the model is known"
    return FAMILIES[resolved.family].load(path, LoadOptions(resolved=resolved))


@torch.no_grad()
def generate(
    model: LoadedModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    way: Way,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Image.Image]:
    """Return a 128 px picture for each prompt and seed, the same in batches of any length.

    Works with what is attached to the model, such as a LoRA; `progress` is told how many
    pictures are done.
    """
    pictures: list[Image.Image] = []
    for first in range(0, len(prompts), way.batch):
        part = slice(first, first + way.batch)
        pictures += decode(model, _denoise(model, prompts[part], seeds[part], way))
        progress(len(pictures))
    return pictures


def _denoise(model: LoadedModel, prompts: Sequence[str], seeds: Sequence[int], way: Way) -> Tensor:
    """Return finished latents [B, 4, 16, 16], scaled as the U-Net knows them."""
    count = len(prompts)
    sampler: Any = make_sampler(
        way.sampler,
        prediction_type=model.prediction_type,
        zero_terminal_snr=model.zero_terminal_snr,
    )
    sampler.set_timesteps(way.steps)
    text = model.family.encode_text(model, ["", *prompts])
    both = TextConditioning(torch.cat([text.hidden[:1].expand(count, -1, -1), text.hidden[1:]]))
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    shape = (4, PICTURE_SIZE // 8, PICTURE_SIZE // 8)
    latents: Tensor = torch.stack([torch.randn(shape, generator=one) for one in generators])
    latents = latents * sampler.init_noise_sigma
    noisy_steps = "generator" in inspect.signature(sampler.step).parameters
    settings = {"generator": generators} if noisy_steps else {}
    for time in sampler.timesteps:
        scaled = sampler.scale_model_input(latents, time)
        times = torch.full((2 * count,), float(time))
        predicted = model.family.predict(model, torch.cat([scaled, scaled]), times, both, {})
        without, with_text = predicted.chunk(2)
        guided = without + way.guidance * (with_text - without)
        latents = sampler.step(guided, time, latents, **settings, return_dict=False)[0]
    return latents


@torch.no_grad()
def decode(model: LoadedModel, latents: Tensor) -> list[Image.Image]:
    """Turn latents [B, 4, h, w] into pictures."""
    assert model.vae is not None, "the model was loaded with its VAE"
    pixels = model.vae.decode(latents / model.family.vae_scale, return_dict=False)[0]
    values = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in values]
