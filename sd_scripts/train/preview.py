"""Preview pictures during training: the same prompts and seeds, at every stage."""

from __future__ import annotations

import inspect
import random
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from sd_scripts.errors import Problem
from sd_scripts.families.base import LoadedModel, TextConditioning
from sd_scripts.files import atomic_path
from sd_scripts.runs.reporter import Reporter
from sd_scripts.train.prompts import PreviewPrompt
from sd_scripts.train.samplers import make_sampler

_GUIDANCE_RESCALE: Final = 0.7  # for zero terminal SNR; section 3.4 of arXiv:2305.08891


class Interrupted(Exception):
    """A stop was requested while a preview was being made."""


def picture_name(
    output_name: str, stage: str, index: int, prompt: PreviewPrompt, seed: int, when: datetime
) -> str:
    """Make the file name: `name_000100_00_20250101120000_42_a-red-apple.png`."""
    words = re.sub(r"[^\w]+", "-", prompt.prompt, flags=re.UNICODE).strip("-")[:40].strip("-")
    parts = [output_name, stage, f"{index:02d}", f"{when:%Y%m%d%H%M%S}", str(seed), words]
    return "_".join(part for part in parts if part) + ".png"


def _guided(positive: Tensor, negative: Tensor, scale: float, rescale: float) -> Tensor:
    """Classifier-free guidance; `rescale` pulls its standard deviation back (arXiv:2305.08891)."""
    guided = negative + scale * (positive - negative)
    if not rescale:
        return guided
    axes = list(range(1, guided.ndim))
    factor = positive.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True)
    return guided * (rescale * factor + (1 - rescale))


class Previewer:
    """Makes the pictures of a prompt list with the model as it is now.

    It draws from generators of its own, so training goes on as if no preview had been made.
    """

    def __init__(
        self,
        model: LoadedModel,
        prompts: Sequence[PreviewPrompt],
        encode: Callable[[list[str]], TextConditioning],
        *,
        folder: Path,
        output_name: str,
        context: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        """`context` is what the model computes in: number format, and no dropout of what learns."""
        self._model = model
        self._prompts = prompts
        self._encode = encode
        self._folder = folder
        self._output_name = output_name
        self._context = context

    def make(
        self, stage: str, step: int, reporter: Reporter, should_stop: Callable[[], bool]
    ) -> None:
        """Make one picture a prompt; what fails is told as a warning and training goes on."""
        self._folder.mkdir(parents=True, exist_ok=True)
        total = len(self._prompts)
        with inference(self._model.unet, *self._model.text_encoders):
            for index, prompt in enumerate(self._prompts):
                reporter.phase("previews", index, total, prompt.prompt[:60])
                try:
                    self._make_one(stage, step, index, reporter, should_stop)
                except Interrupted:
                    return
                except (RuntimeError, ValueError, OSError) as error:
                    traceback.print_exc()
                    reporter.warn(_failed(prompt, error))
        reporter.phase("previews", total, total)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _make_one(
        self,
        stage: str,
        step: int,
        index: int,
        reporter: Reporter,
        should_stop: Callable[[], bool],
    ) -> None:
        prompt = self._prompts[index]
        seed = prompt.seed if prompt.seed is not None else random.SystemRandom().getrandbits(32)
        with torch.no_grad():
            with self._context():
                latents = self._denoise(prompt, seed, should_stop)
            picture = self._decode(latents)
        when = datetime.now()
        path = self._folder / picture_name(self._output_name, stage, index, prompt, seed, when)
        _write_png(picture, path, prompt, seed, step)
        reporter.sample(path, prompt.prompt, seed, step, index)

    def _denoise(self, prompt: PreviewPrompt, seed: int, should_stop: Callable[[], bool]) -> Tensor:
        """Return latents [1, 4, h/8, w/8] of the finished picture, as the U-Net knows them."""
        model = self._model
        assert prompt.width, "prompts are resolved before"
        assert prompt.height, "prompts are resolved before"
        assert prompt.sample_sampler, "prompts are resolved before"
        sampler: Any = make_sampler(
            prompt.sample_sampler,
            prediction_type=model.prediction_type,
            zero_terminal_snr=model.zero_terminal_snr,
        )
        sampler.set_timesteps(prompt.sample_steps)
        device = next(model.unet.parameters()).device
        dtype = next(model.unet.parameters()).dtype
        text = self._encode(list(prompt.texts))
        count = len(prompt.texts)
        size = torch.tensor([[prompt.height, prompt.width]] * count, device=device)
        extra = model.family.conditioning_inputs(size, torch.zeros_like(size), size)
        generator = torch.Generator().manual_seed(seed)
        config: Any = model.unet.config
        shape = (1, config.in_channels, prompt.height // 8, prompt.width // 8)
        start = torch.randn(shape, generator=generator).to(device)
        latents: Tensor = start * sampler.init_noise_sigma
        noisy_steps = "generator" in inspect.signature(sampler.step).parameters
        settings = {"generator": generator} if noisy_steps else {}
        for time in sampler.timesteps:
            if should_stop():
                raise Interrupted
            scaled = sampler.scale_model_input(latents, time)
            times = torch.full((count,), float(time), device=device)
            given = torch.cat([scaled] * count).to(dtype)
            predicted = model.family.predict(model, given, times, text, extra).float()
            if prompt.guided:
                negative, positive = predicted.chunk(2)
                rescale = _GUIDANCE_RESCALE if model.zero_terminal_snr else 0.0
                predicted = _guided(positive, negative, prompt.scale, rescale)
            stepped: tuple[Tensor, ...] = sampler.step(
                predicted, time, latents, **settings, return_dict=False
            )
            latents = stepped[0]
        return latents

    def _decode(self, latents: Tensor) -> Image.Image:
        model = self._model
        vae = model.vae
        assert vae is not None, "previews need the VAE"
        weight = next(vae.parameters())
        unscaled = (latents / model.family.vae_scale).to(weight.device, weight.dtype)
        pixels = vae.decode(unscaled, return_dict=False)[0][0].float().cpu()
        if not torch.isfinite(pixels).all():
            raise RuntimeError("the picture decoder (VAE) returned no valid numbers")
        bytes_ = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        return Image.fromarray(bytes_.permute(1, 2, 0).numpy())


@contextmanager
def inference(*modules: torch.nn.Module) -> Iterator[None]:
    """Switch modules to inference, and each of their parts back as it was."""
    before = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


def _failed(prompt: PreviewPrompt, error: Exception) -> Problem:
    text = (str(error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, torch.OutOfMemoryError):
        text = "the memory is full"
        hint = "Make previews smaller (--w, --h), or make fewer; training goes on."
    elif isinstance(error, OSError):
        hint = "Look at the disk of the run folder; training goes on."
    else:
        hint = (
            "Training goes on; the log has the details. With mixed precision fp16, try "
            "no_half_vae if pictures are black."
        )
    return Problem(
        f"The preview of “{prompt.prompt[:60]}” failed: {text}", "sample_prompts", hint, "warning"
    )


def _write_png(
    picture: Image.Image, path: Path, prompt: PreviewPrompt, seed: int, step: int
) -> None:
    told = PngInfo()
    settings = (
        f"Steps: {prompt.sample_steps}, Sampler: {prompt.sample_sampler}, "
        f"CFG scale: {prompt.scale}, Seed: {seed}, Size: {prompt.width}x{prompt.height}"
    )
    negative = f"\nNegative prompt: {prompt.negative_prompt}" if prompt.negative_prompt else ""
    told.add_itxt("parameters", f"{prompt.prompt}{negative}\n{settings}")
    told.add_itxt("prompt", prompt.prompt)
    told.add_text("seed", str(seed))
    told.add_text("step", str(step))
    with atomic_path(path, durable=False) as temporary:
        picture.save(temporary, format="PNG", pnginfo=told)
