"""Preview pictures during training: the same prompts and seeds, at every stage."""

from __future__ import annotations

import random
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sd_scripts.errors import Problem
from sd_scripts.families.base import LoadedModel
from sd_scripts.files import atomic_path
from sd_scripts.runs.reporter import Reporter
from sd_scripts.train.compiling import uncompiled
from sd_scripts.train.paint import Encode, Interrupted, decode, denoise
from sd_scripts.train.prompts import PreviewPrompt
from sd_scripts.train.trackers import Preview


def picture_name(
    output_name: str, stage: str, index: int, prompt: PreviewPrompt, seed: int, when: datetime
) -> str:
    """Make the file name: `name_000100_00_20250101120000_42_a-red-apple.png`."""
    words = re.sub(r"[^\w]+", "-", prompt.prompt, flags=re.UNICODE).strip("-")[:40].strip("-")
    parts = [output_name, stage, f"{index:02d}", f"{when:%Y%m%d%H%M%S}", str(seed), words]
    return "_".join(part for part in parts if part) + ".png"


class Previewer:
    """Makes the pictures of a prompt list with the model as it is now.

    It draws from generators of its own, so training goes on as if no preview had been made.
    """

    def __init__(
        self,
        model: LoadedModel,
        prompts: Sequence[PreviewPrompt],
        encode: Encode,
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
    ) -> list[Preview]:
        """Make one picture a prompt; what fails is told as a warning and training goes on.

        Returns what was painted.
        """
        painted: list[Preview] = []
        self._folder.mkdir(parents=True, exist_ok=True)
        total = len(self._prompts)
        unet = self._model.unet
        with inference(unet, *self._model.text_encoders), uncompiled(unet):
            for index, prompt in enumerate(self._prompts):
                reporter.phase("previews", index, total, prompt.prompt[:60])
                try:
                    path = self._make_one(stage, step, index, reporter, should_stop)
                    painted.append(Preview(index, path, prompt.prompt))
                except Interrupted:
                    return painted
                except (RuntimeError, ValueError, OSError) as error:
                    traceback.print_exc()
                    reporter.warn(_failed(prompt, error))
        reporter.phase("previews", total, total)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return painted

    def _make_one(
        self,
        stage: str,
        step: int,
        index: int,
        reporter: Reporter,
        should_stop: Callable[[], bool],
    ) -> Path:
        prompt = self._prompts[index]
        seed = prompt.seed if prompt.seed is not None else random.SystemRandom().getrandbits(32)
        with torch.no_grad():
            with self._context():
                latents = denoise(self._model, [prompt], [seed], self._encode, should_stop)
            picture = decode(self._model, latents)[0]
        when = datetime.now()
        path = self._folder / picture_name(self._output_name, stage, index, prompt, seed, when)
        write_png(picture, path, prompt, seed, step)
        reporter.sample(path, prompt.prompt, seed, step, index)
        return path


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


def write_png(
    picture: Image.Image,
    path: Path,
    prompt: PreviewPrompt,
    seed: int,
    step: int,
    more: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write a picture atomically, with how it was made as web UIs note it.

    `more` are further entries of its text, told among the settings too: the model, networks.
    """
    told = PngInfo()
    settings = (
        f"Steps: {prompt.sample_steps}, Sampler: {prompt.sample_sampler}, "
        f"CFG scale: {prompt.scale}, Seed: {seed}, Size: {prompt.width}x{prompt.height}"
    ) + "".join(f", {name}: {text}" for name, text in more.items())
    negative = f"\nNegative prompt: {prompt.negative_prompt}" if prompt.negative_prompt else ""
    told.add_itxt("parameters", f"{prompt.prompt}{negative}\n{settings}")
    told.add_itxt("prompt", prompt.prompt)
    told.add_text("seed", str(seed))
    told.add_text("step", str(step))
    for name, text in more.items():
        told.add_itxt(name.lower(), text)
    with atomic_path(path, durable=False) as temporary:
        picture.save(temporary, format="PNG", pnginfo=told)
