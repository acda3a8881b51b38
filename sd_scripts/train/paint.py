"""Paints pictures with a model as it is in memory: prompts in, pictures out.

Previews, the demo's verdict and tests paint with this code, so all show what a run really learned.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor

from sd_scripts.families.base import LoadedModel, TextConditioning
from sd_scripts.train.prompts import PreviewPrompt
from sd_scripts.train.samplers import make_sampler

Encode = Callable[[list[str]], TextConditioning]

_GUIDANCE_RESCALE: Final = 0.7  # for zero terminal SNR; section 3.4 of arXiv:2305.08891


class Interrupted(Exception):
    """A stop was requested while a picture was being painted."""


def _never() -> bool:
    return False


def paint(
    model: LoadedModel,
    prompts: Sequence[PreviewPrompt],
    seeds: Sequence[int],
    encode: Encode,
    should_stop: Callable[[], bool] = _never,
) -> list[Image.Image]:
    """Paint one picture a prompt, all in one batch.

    Prompts are resolved (`prompts.resolved`) and differ in their texts only. Each picture begins
    from the noise of its own seed, whatever the batch. Raises `Interrupted` if a stop is asked for,
    and `RuntimeError` if the VAE gives no valid numbers.
    """
    return decode(model, denoise(model, prompts, seeds, encode, should_stop))


def denoise(
    model: LoadedModel,
    prompts: Sequence[PreviewPrompt],
    seeds: Sequence[int],
    encode: Encode,
    should_stop: Callable[[], bool] = _never,
) -> Tensor:
    """Return latents [B, 4, h/8, w/8] of finished pictures, as the U-Net knows them."""
    first, count = prompts[0], len(prompts)
    assert len({_settings(prompt) for prompt in prompts}) == 1, "a batch has one size and sampler"
    assert first.width, "prompts are resolved before"
    assert first.height, "prompts are resolved before"
    assert first.sample_sampler, "prompts are resolved before"
    sampler: Any = make_sampler(
        first.sample_sampler,
        prediction_type=model.prediction_type,
        zero_terminal_snr=model.zero_terminal_snr,
    )
    sampler.set_timesteps(first.sample_steps)
    parameter = next(model.unet.parameters())
    device, dtype = parameter.device, parameter.dtype
    columns = list(zip(*(prompt.texts for prompt in prompts), strict=True))
    text = encode([words for column in columns for words in column])
    rows = count * len(columns)
    size = torch.tensor([[first.height, first.width]] * rows, device=device)
    extra = model.family.conditioning_inputs(size, torch.zeros_like(size), size)
    config: Any = model.unet.config
    shape = (config.in_channels, first.height // 8, first.width // 8)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    start = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
    latents: Tensor = start.to(device) * sampler.init_noise_sigma
    noisy_steps = "generator" in inspect.signature(sampler.step).parameters
    settings = {"generator": generators if count > 1 else generators[0]} if noisy_steps else {}
    for time in sampler.timesteps:
        if should_stop():
            raise Interrupted
        scaled = sampler.scale_model_input(latents, time)
        times = torch.full((rows,), float(time), device=device)
        given = torch.cat([scaled] * len(columns)).to(dtype)
        predicted = model.family.predict(model, given, times, text, extra).float()
        if first.guided:
            negative, positive = predicted.chunk(2)
            rescale = _GUIDANCE_RESCALE if model.zero_terminal_snr else 0.0
            predicted = _guided(positive, negative, first.scale, rescale)
        stepped: tuple[Tensor, ...] = sampler.step(
            predicted, time, latents, **settings, return_dict=False
        )
        latents = stepped[0]
    return latents


def _settings(prompt: PreviewPrompt) -> tuple[object, ...]:
    return (
        prompt.width,
        prompt.height,
        prompt.sample_steps,
        prompt.scale,
        prompt.sample_sampler,
    )


def _guided(positive: Tensor, negative: Tensor, scale: float, rescale: float) -> Tensor:
    """Classifier-free guidance; `rescale` pulls its standard deviation back (arXiv:2305.08891)."""
    guided = negative + scale * (positive - negative)
    if not rescale:
        return guided
    axes = list(range(1, guided.ndim))
    factor = positive.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True)
    return guided * (rescale * factor + (1 - rescale))


def decode(model: LoadedModel, latents: Tensor) -> list[Image.Image]:
    """Turn latents [B, 4, h, w] into pictures. Raises `RuntimeError` on invalid numbers."""
    vae = model.vae
    assert vae is not None, "painting needs the VAE"
    weight = next(vae.parameters())
    unscaled = (latents / model.family.vae_scale).to(weight.device, weight.dtype)
    pixels = vae.decode(unscaled, return_dict=False)[0].float().cpu()
    if not torch.isfinite(pixels).all():
        raise RuntimeError("the picture decoder (VAE) returned no valid numbers")
    bytes_ = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in bytes_]
