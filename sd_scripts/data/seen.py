"""What a model will see: single showings of an epoch, made by the code that makes its batches.

`python -m sd_scripts.data.seen --job train_network --config_file job.toml --pictures FOLDER
--result seen.json` draws the first ones of an epoch. No model is loaded.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from sd_scripts.data.assemble import Assembler, Showing
from sd_scripts.data.pixels import Pixels, cutout, load_batch
from sd_scripts.data.schedule import Sharing, shares_of_epoch
from sd_scripts.dataset.pictures import PictureProblem, shown
from sd_scripts.dataset.plan import plan_dataset
from sd_scripts.dataset.samples import DatasetPlan
from sd_scripts.dataset.steps import step_arithmetic
from sd_scripts.dataset.tokens import CHUNK, count_tokens, cut_off_at
from sd_scripts.errors import EXIT_OK, EXIT_USER, UserError, errors_among
from sd_scripts.files import atomic_path, write_atomic
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.groups.model import ModelOptions
from sd_scripts.options.groups.training import TrainingOptions
from sd_scripts.options.jobs import JOBS
from sd_scripts.options.toml_file import read_toml
from sd_scripts.options.values import Reading
from sd_scripts.script import tell

MOST: Final = 48
_SHADE: Final = 0.25
"""How much of a picture is left where nothing is learned."""


@dataclass(frozen=True)
class Seen:
    """One showing. `pixels` is [H, W, 3], or [H, W, 4] with the mask that limits the loss.

    `caption` is what the text encoder gets, of which only the first `num_read` letters are read.
    """

    showing: Showing
    step: int
    batch: int
    pixels: Pixels
    num_tokens: int
    num_read: int
    loss_weight: float


@dataclass(frozen=True)
class View:
    """What is looked at: showings of one epoch (from 1) under a seed, of `total_steps` steps."""

    plan: DatasetPlan
    seed: int
    epoch: int
    total_steps: int
    accumulation: int
    prior_loss_weight: float
    max_tokens: int


def seen_samples(view: View) -> Iterator[Seen]:
    """Yield the showings of an epoch in the order they are trained.

    Raises `PictureProblem` where a picture can't be decoded.
    """
    assembler = Assembler(view.plan.samples, view.seed, view.total_steps)
    shares = shares_of_epoch(
        view.plan,
        seed=view.seed,
        epoch=view.epoch,
        accumulation=view.accumulation,
        sharing=Sharing(),
    )
    for number, share in enumerate(shares):
        for showing in assembler.showings(share):
            (pixels,) = load_batch([cutout(showing.sample, showing.crop, showing.color)])
            cut = cut_off_at(showing.caption, view.max_tokens)
            yield Seen(
                showing=showing,
                step=share.step,
                batch=number,
                pixels=pixels,
                num_tokens=count_tokens(showing.caption),
                num_read=len(showing.caption) if cut is None else cut,
                loss_weight=view.prior_loss_weight if showing.sample.is_reg else 1.0,
            )


def shaded(pixels: Pixels) -> Image.Image:
    """Return a showing as a picture: dark where the mask says that nothing is learned."""
    if pixels.shape[2] == 3:
        return Image.fromarray(pixels)
    share = _SHADE + (1 - _SHADE) * (pixels[:, :, 3:].astype(np.float32) / 255)
    return Image.fromarray(np.rint(pixels[:, :, :3] * share).astype(np.uint8))


def _row(seen: Seen, folder: Path) -> dict[str, Any]:
    showing, sample = seen.showing, seen.showing.sample
    mark = hashlib.blake2b(seen.pixels.tobytes(), digest_size=12).hexdigest()
    file = folder / f"seen-{mark}.webp"
    if not file.exists():
        with atomic_path(file, durable=False) as temporary:
            shaded(seen.pixels).save(temporary, "WEBP", quality=90)
    caption = showing.caption
    return {
        "file": str(file),
        "name": shown(sample.path.name),
        "step": seen.step + 1,
        "batch": seen.batch + 1,
        "image_size": list(sample.image_size),
        "resized": list(showing.crop.resized or sample.resized),
        "bucket": list(sample.bucket),
        "crop": [showing.crop.left, showing.crop.top],
        "flipped": showing.crop.flipped,
        "color": showing.color is not None,
        "masked": round(float(seen.pixels[:, :, 3].mean()) / 255, 4)
        if seen.pixels.shape[2] == 4
        else None,
        "read": caption[: seen.num_read],
        "cut": caption[seen.num_read :],
        "original": sample.caption if sample.caption != caption else None,
        "tokens": seen.num_tokens,
        "loss_weight": seen.loss_weight,
        "is_reg": sample.is_reg,
    }


def view_of(reading: Reading, epoch: int, family: str | None) -> View:
    """Plan a job's pictures. Raises `UserError` with what keeps it from being trained so."""
    groups = reading.groups
    data, caption = groups.get("data"), groups.get("caption")
    training, model = groups.get("training"), groups.get("model")
    if (
        not isinstance(data, DataOptions)
        or not isinstance(caption, CaptionOptions)
        or not isinstance(training, TrainingOptions)
    ):
        raise UserError.of(reading.problems)
    plan = plan_dataset(data, caption, family=family)
    if errors := errors_among(plan.problems):
        raise UserError.of(errors)
    steps = step_arithmetic(
        plan,
        max_train_steps=training.max_train_steps,
        max_train_epochs=training.max_train_epochs,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
    )
    limit = model.max_token_length if isinstance(model, ModelOptions) else None
    return View(
        plan=plan,
        seed=training.seed or 0,
        epoch=epoch,
        total_steps=steps.total_steps,
        accumulation=training.gradient_accumulation_steps,
        prior_loss_weight=data.prior_loss_weight,
        max_tokens=limit or CHUNK,
    )


def main(argv: Sequence[str]) -> int:
    """Be the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m sd_scripts.data.seen", description=__doc__)
    parser.add_argument("--job", default="train_network", choices=sorted(JOBS))
    parser.add_argument("--config_file", required=True, type=Path)
    parser.add_argument("--pictures", required=True, type=Path, help="folder for the pictures")
    parser.add_argument("--result", required=True, type=Path, help="JSON file to write")
    parser.add_argument("--count", type=int, default=12, help=f"how many (at most {MOST})")
    parser.add_argument("--epoch", type=int, default=1)
    parser.add_argument("--family", help="sd1, sd2 or sdxl: decides the resolution if none is set")
    arguments = parser.parse_args(argv)
    try:
        text = arguments.config_file.read_text("utf-8-sig")
        reading = Reading(JOBS[arguments.job], read_toml(text, arguments.config_file.name))
        view = view_of(reading, max(1, arguments.epoch), arguments.family or None)
        arguments.pictures.mkdir(parents=True, exist_ok=True)
        found = islice(seen_samples(view), min(MOST, arguments.count))
        rows = [_row(seen, arguments.pictures) for seen in found]
    except UserError as error:
        tell(error.problems)
        return EXIT_USER
    except PictureProblem as problem:
        print(f"{problem}: {problem.hint}", file=sys.stderr)
        return EXIT_USER
    result = {
        "rows": rows,
        "num_showings": view.plan.num_train_images + view.plan.num_reg_images,
        "max_tokens": view.max_tokens,
        "seed": view.seed,
        "epoch": view.epoch,
        "problems": [str(problem) for problem in view.plan.problems],
    }
    write_atomic(arguments.result, json.dumps(result, ensure_ascii=False) + "\n", durable=False)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
