"""Makes pictures of many prompts with a loaded model, as previews are painted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from sd_scripts.errors import raise_if_errors
from sd_scripts.families.base import LoadedModel, LoadOptions, TextConditioning
from sd_scripts.families.detect import inspect_model, resolve_model
from sd_scripts.families.registry import FAMILIES
from sd_scripts.train.paint import paint
from sd_scripts.train.prompts import PreviewPrompt
from tools.starter.scenes import PICTURE_SIZE


@dataclass(frozen=True)
class Way:
    """How pictures are sampled: steps, classifier-free guidance, sampler (a preview's names)."""

    steps: int = 30
    guidance: float = 4.0
    sampler: str = "ddim"
    batch: int = 25

    def prompt(self, text: str) -> PreviewPrompt:
        """Return a prompt painted in this way, 128 px wide and high."""
        return PreviewPrompt(
            text,
            width=PICTURE_SIZE,
            height=PICTURE_SIZE,
            sample_steps=self.steps,
            scale=self.guidance,
            sample_sampler=self.sampler,
        )


def load_model(path: Path) -> LoadedModel:
    """Load a model as the trainers do. Raises `UserError`."""
    resolved, problems = resolve_model(inspect_model(path))
    raise_if_errors(problems)
    assert resolved is not None, "without errors the model is known"
    return FAMILIES[resolved.family].load(path, LoadOptions(resolved=resolved))


def generate(
    model: LoadedModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    way: Way,
    progress: Callable[[int], None] = lambda done: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Image.Image]:
    """Return a 128 px picture for each prompt and seed, the same in batches of any length.

    Works with what is attached to the model, such as a LoRA; `progress` is told how many
    pictures are done. On a processor each thread paints batches of its own: it waits less for
    the others than when all work at one batch. Raises `Interrupted` once it should stop.
    """
    lanes = torch.get_num_threads() if model.unet.device.type == "cpu" else 1
    length = min(way.batch, max(1, math.ceil(len(prompts) / lanes)))
    parts = [slice(first, first + length) for first in range(0, len(prompts), length)]

    def encode(texts: list[str]) -> TextConditioning:
        return model.family.encode_text(model, texts)

    def paint_part(part: slice) -> list[Image.Image]:
        asked = [way.prompt(text) for text in prompts[part]]
        with torch.no_grad():
            return paint(model, asked, seeds[part], encode, should_stop)

    pictures: list[Image.Image] = []
    with _painters(lanes) as painters:
        for painted in painters.map(paint_part, parts):
            pictures += painted
            progress(len(pictures))
    return pictures


@contextmanager
def _painters(lanes: int) -> Iterator[ThreadPoolExecutor]:
    """Start painters that compute with one thread each; torch's number of threads is put back."""
    before = torch.get_num_threads()
    each = before // lanes
    try:
        with ThreadPoolExecutor(lanes, initializer=torch.set_num_threads, initargs=(each,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)
