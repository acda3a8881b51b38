"""What a training on the starter has learned, judged: the subject, its word, and what remains."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw
from torch.nn import functional

from sd_scripts.families.base import LoadedModel
from sd_scripts.methods.base_weights import merge_base_weights
from sd_scripts.options.groups.network import NetworkOptions
from sd_scripts.shipped import STARTER_MODEL
from tools.starter.generate import Way, generate, load_model
from tools.starter.judge_model import Judge
from tools.starter.scenes import COLOURS, PICTURE_SIZE, SIZES, SUBJECTS, sentence

WAY: Final = Way(steps=12, sampler="dpmsolver++", batch=8)
SEED: Final = 7000


@dataclass(frozen=True)
class Scene:
    """A prompt's parts; its picture always begins from the same noise."""

    words: str
    colour: str
    size: str
    seed: int

    @property
    def prompt(self) -> str:
        """The text to paint."""
        return sentence(self.words, self.colour, self.size)


@dataclass(frozen=True)
class Scores:
    """Shares of pictures, 0 to 1: the new subject with and without its word, other subjects."""

    with_trigger: float
    without_trigger: float
    others_before: float
    others_after: float

    @property
    def lost(self) -> float:
        """How much of the other subjects is lost."""
        return self.others_before - self.others_after


def pictures_of(
    model: LoadedModel, scenes: Sequence[Scene], should_stop: Callable[[], bool] = lambda: False
) -> list[Image.Image]:
    """Paint scenes, each from its own seed. Raises `Interrupted` once it should stop."""
    prompts, seeds = [scene.prompt for scene in scenes], [scene.seed for scene in scenes]
    return generate(model, prompts, seeds, WAY, should_stop=should_stop)


def scenes_of(words: str, count: int) -> list[Scene]:
    """Return scenes of one thing, over all grounds and sizes in turn."""
    places = itertools.cycle(itertools.product(COLOURS, SIZES))
    return [
        Scene(words, colour, size, SEED + number)
        for number, (colour, size) in enumerate(itertools.islice(places, count))
    ]


def scenes_of_others(count: int) -> list[Scene]:
    """Return scenes of subjects that the base knows, each another one."""
    places = itertools.cycle(itertools.product(SIZES, COLOURS))
    return [
        Scene(subject.word, colour, size, SEED + 500 + number)
        for number, (subject, (size, colour)) in enumerate(
            zip(itertools.islice(itertools.cycle(SUBJECTS), count), places, strict=False)
        )
    ]


def share_showing(judge: Judge, pictures: Sequence[Image.Image], words: Sequence[str]) -> float:
    """Return the share of pictures in which the judge finds the subject asked for."""
    found = [verdict.subject for verdict in judge.see(pictures)]
    return sum(one == word for one, word in zip(found, words, strict=True)) / len(found)


@dataclass(frozen=True)
class Trial:
    """What is asked: is this subject painted for this prompt, and not for the plain one?"""

    subject: str
    with_trigger: str
    without_trigger: str
    count: int = 20


Painter = Callable[[Sequence[Scene]], list[Image.Image]]
"""Paints scenes with some model."""


def painter(model: LoadedModel, should_stop: Callable[[], bool] = lambda: False) -> Painter:
    """Return what paints with a model; a scene that is asked for again is not painted again.

    It raises `Interrupted` once it should stop.
    """
    painted: dict[Scene, Image.Image] = {}

    def paint(scenes: Sequence[Scene]) -> list[Image.Image]:
        missing = [scene for scene in dict.fromkeys(scenes) if scene not in painted]
        painted.update(zip(missing, pictures_of(model, missing, should_stop), strict=True))
        return [painted[scene] for scene in scenes]

    return paint


def taught_model(file: Path, strength: float = 1.0) -> LoadedModel:
    """Load the starter with a trained network merged into it.

    It paints what the network's layers beside the model would, in four fifths of the time.
    """
    model = load_model(STARTER_MODEL)
    merge_base_weights(
        NetworkOptions(base_weights=(str(file),), base_weights_multiplier=(strength,)), model
    )
    return model


def others_known(paint: Painter, judge: Judge, count: int) -> float:
    """Return the share of other subjects' pictures, two for each one asked for, that are right."""
    others = scenes_of_others(2 * count)
    return share_showing(judge, paint(others), [scene.words for scene in others])


def score(paint: Painter, judge: Judge, trial: Trial, others_before: float) -> Scores:
    """Paint and judge with a trained model; `others_before` is what its base knew."""
    found, leaked = (
        share_showing(judge, paint(scenes_of(prompt, trial.count)), [trial.subject] * trial.count)
        for prompt in (trial.with_trigger, trial.without_trigger)
    )
    return Scores(found, leaked, others_before, others_known(paint, judge, trial.count))


def likeness(judge: Judge, pictures: Sequence[Image.Image], shown: Sequence[Image.Image]) -> float:
    """Return how like painted pictures are to shown ones: the mean cosine, -1 to 1.

    It compares what the judge's trunk sees, ground and size included: what is compared should be
    painted for the same grounds and sizes.
    """
    painted, real = judge.features(pictures), judge.features(shown)
    cosines = functional.normalize(painted, dim=1) @ functional.normalize(real, dim=1).t()
    return float(cosines.mean())


GAP: Final = 8
LABEL: Final = 16


def grid(rows: Sequence[tuple[str, Sequence[Image.Image]]], columns: Sequence[str]) -> Image.Image:
    """Lay pictures out in labelled rows and columns."""
    side = PICTURE_SIZE + GAP
    left = 8 + max(int(ImageDraw.Draw(Image.new("L", (1, 1))).textlength(name)) for name, _ in rows)
    size = (left + side * len(columns) + GAP, LABEL + GAP + side * len(rows))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for number, name in enumerate(columns):
        draw.text((left + GAP + number * side, GAP // 2), name, fill="black")
    for row, (name, pictures) in enumerate(rows):
        top = LABEL + GAP + row * side
        draw.text((GAP // 2, top + PICTURE_SIZE // 2), name, fill="black")
        for number, picture in enumerate(pictures):
            sheet.paste(picture, (left + GAP + number * side, top))
    return sheet
