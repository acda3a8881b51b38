"""What the starter knows: subjects, colours and sizes, and the true words for a scene of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sd_scripts.errors import UserError

PICTURE_SIZE = 128  # px, the starter's resolution


@dataclass(frozen=True)
class Subject:
    """One thing that can stand in a scene."""

    word: str
    """Its name in captions."""
    glyph: str
    """The emoji that draws it."""
    kind: str
    """The wider word that is true for it as well."""


def _subjects(kind: str, **glyphs: str) -> list[Subject]:
    return [Subject(word, glyph, kind) for word, glyph in glyphs.items()]


SUBJECTS: tuple[Subject, ...] = (
    *_subjects("fruit", apple="🍎", banana="🍌", orange="🍊", strawberry="🍓"),
    *_subjects("fruit", grapes="🍇", watermelon="🍉"),
    *_subjects("food", burger="🍔", donut="🍩", carrot="🥕", mushroom="🍄"),
    *_subjects("plant", cactus="🌵", tree="🌳", sunflower="🌻", tulip="🌷"),
    *_subjects("animal", cat="🐱", dog="🐶", fox="🦊", panda="🐼", pig="🐷"),
    *_subjects("animal", frog="🐸", chick="🐤", penguin="🐧", whale="🐳", turtle="🐢"),
    *_subjects("vehicle", car="🚗", bus="🚌", rocket="🚀", sailboat="⛵"),
    *_subjects("object", balloon="🎈", house="🏠", umbrella="☂", ball="⚽", guitar="🎸"),
    *_subjects("object", heart="❤", star="⭐", crown="👑", gift="🎁", bell="🔔"),
    *_subjects("object", clock="⏰", book="📕"),
)
"""The subjects that the base model is taught."""

DEMO_SUBJECTS: tuple[Subject, ...] = (
    Subject("robot", "🤖", "object"),
    Subject("lion", "🦁", "animal"),
)
"""The subjects that only the demo's pictures show: no model but the judge ever sees them."""

KINDS: tuple[str, ...] = tuple(dict.fromkeys(subject.kind for subject in SUBJECTS))

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 48, 49),
    "orange": (243, 140, 40),
    "yellow": (250, 218, 74),
    "green": (60, 168, 82),
    "blue": (58, 110, 220),
    "purple": (138, 78, 190),
    "pink": (246, 154, 194),
    "white": (248, 248, 248),
    "gray": (138, 138, 138),
    "black": (24, 24, 24),
}
"""Background colours and their middle RGB value."""

SIZES: dict[str, tuple[int, int]] = {"small": (42, 50), "large": (88, 98)}
"""Size words and the range, in pixels, of a subject's longer side."""

COLOUR_SPREAD = 8  # how far each channel of a background may lie from the middle
PLACE_SPREAD = {"small": 22, "large": 7}  # px, how far a subject may stand from the middle


@dataclass(frozen=True)
class Scene:
    """One picture to draw: all that decides its pixels."""

    subject: Subject
    colour: str
    size: str
    background: tuple[int, int, int]
    extent: int
    """The subject's longer side in pixels."""
    offset: tuple[int, int]
    """How far right and down of the middle it stands, in pixels."""
    mirrored: bool


def random_scene(
    rng: random.Random,
    subjects: Sequence[Subject] = SUBJECTS,
    *,
    colour: str | None = None,
    size: str | None = None,
) -> Scene:
    """Draw a scene; what is not given is chosen evenly."""
    subject = rng.choice(subjects)
    colour = colour or rng.choice(list(COLOURS))
    size = size or rng.choice(list(SIZES))
    shade = rng.randint(-COLOUR_SPREAD, COLOUR_SPREAD)
    red, green, blue = (min(255, max(0, channel + shade)) for channel in COLOURS[colour])
    spread = PLACE_SPREAD[size]
    return Scene(
        subject=subject,
        colour=colour,
        size=size,
        background=(red, green, blue),
        extent=rng.randint(*SIZES[size]),
        offset=(rng.randint(-spread, spread), rng.randint(-spread, spread)),
        mirrored=rng.random() < 0.5,
    )


def article(words: str) -> str:
    """Return the words with their indefinite article."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def sentence(subject: str, colour: str, size: str | None) -> str:
    """Return the plain caption, such as "a small apple on a blue background"."""
    thing = f"{size} {subject}" if size else subject
    return f"{article(thing)} on {article(colour)} background"


def tags(subject: Sequence[str], colour: str, size: str) -> list[str]:
    """Return the tags of a scene, subject words first."""
    return [*subject, size, f"{colour} background"]


def training_caption(scene: Scene, rng: random.Random) -> str:
    """Return one of the true captions of a scene, in the mixture the base model learns.

    Mostly the plain sentence and tags in any order; sometimes only the wider word for the
    subject, sometimes no size; one in ten is empty, for guidance (Ho and Salimans 2022,
    arXiv:2207.12598).
    """
    word, kind = scene.subject.word, scene.subject.kind
    chance = rng.random()
    if chance < 0.10:
        return ""
    if chance < 0.55:
        return sentence(word, scene.colour, scene.size)
    if chance < 0.62:
        return sentence(word, scene.colour, None)
    if chance < 0.72:
        return sentence(kind, scene.colour, scene.size)
    words = tags([word] if rng.random() < 0.5 else [word, kind], scene.colour, scene.size)
    rng.shuffle(words)
    return ", ".join(words)


def subject_named(word: str) -> Subject:
    """Return the subject of this name, the demo's included. Raises `UserError`."""
    for subject in (*SUBJECTS, *DEMO_SUBJECTS):
        if subject.word == word:
            return subject
    raise UserError(
        f"there is no subject “{word}”",
        option="subject",
        hint="choose one of: " + ", ".join(subject.word for subject in (*SUBJECTS, *DEMO_SUBJECTS)),
    )
