"""Painting the pictures of a subject's class, before the model learns anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from sd_scripts.dataset.class_pictures import ClassPictures
from sd_scripts.errors import UserError
from sd_scripts.families.base import TextConditioning
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.runs.requests import StopRequested
from sd_scripts.train.compiling import uncompiled
from sd_scripts.train.paint import Interrupted, paint
from sd_scripts.train.preview import write_png
from sd_scripts.train.preview_text import encode_prompt
from sd_scripts.train.prompts import PreviewPrompt, resolved

if TYPE_CHECKING:
    from sd_scripts.train.build import Foundation

_PHASE: Final = "painting pictures of the class"


def paint_class(job: TrainingJob, wanted: ClassPictures, foundation: Foundation) -> None:
    """Paint the pictures that are missing, `train_batch_size` at a time, each once.

    What is done stays when a stop is asked for (`StopRequested`). Raises `UserError` if the model
    paints no valid pictures, `OSError` if they cannot be written.
    """
    reporter, requests, model = foundation.reporter, foundation.requests, foundation.model
    model.family.load_missing(model, ["vae", "text_encoders"])
    wanted.folder.mkdir(parents=True, exist_ok=True)
    plain = PreviewPrompt(wanted.prompt)
    prompt = resolved(plain, size=wanted.size, sampler=job.preview.sample_sampler)

    def encode(texts: list[str]) -> TextConditioning:
        return encode_prompt(model, texts, job.model.clip_skip)

    total, size = len(wanted.missing), job.data.train_batch_size
    for done in range(0, total, size):
        numbers = wanted.missing[done : done + size]
        reporter.phase(_PHASE, done, total, wanted.prompt[:60])
        seeds = [wanted.seed(number) for number in numbers]
        try:
            with torch.no_grad(), foundation.autocast(), uncompiled(model.unet):
                pictures = paint(model, [prompt] * len(seeds), seeds, encode, requests.stop)
        except Interrupted:
            raise StopRequested from None
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise UserError(
                f"The model paints no pictures of the class: {error}",
                option="class_prompt, no_half_vae",
                hint="Try no_half_vae, or give pictures of the class in reg_data_dir.",
            ) from error
        for number, seed, picture in zip(numbers, seeds, pictures, strict=True):
            write_png(picture, wanted.path(number), prompt, seed, 0)
    reporter.phase(_PHASE, total, total)
