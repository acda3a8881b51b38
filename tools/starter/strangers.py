"""The emoji that are no subject: their kinds, and which of them look too much like one."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image

from tools.starter.render import draw, other_glyphs
from tools.starter.scenes import DEMO_SUBJECTS, SUBJECTS, Scene, random_scene

HELD_OUT = 8  # every eighth stranger is kept for tests


def _span(first: int, last: int) -> Iterator[str]:
    return (chr(code) for code in range(first, last + 1))


KIND_SPANS: tuple[tuple[str, int, int], ...] = (
    ("fruit", 0x1F345, 0x1F345),
    ("fruit", 0x1F347, 0x1F353),
    ("fruit", 0x1F95D, 0x1F95D),
    ("fruit", 0x1F965, 0x1F965),
    ("fruit", 0x1F96D, 0x1F96D),
    ("food", 0x1F32D, 0x1F330),
    ("food", 0x1F336, 0x1F336),
    ("food", 0x1F33D, 0x1F33D),
    ("food", 0x1F346, 0x1F346),
    ("food", 0x1F354, 0x1F37F),
    ("food", 0x1F950, 0x1F95C),
    ("food", 0x1F95E, 0x1F964),
    ("food", 0x1F966, 0x1F96C),
    ("food", 0x1F96E, 0x1F96F),
    ("food", 0x1F9C0, 0x1F9CB),
    ("plant", 0x1F331, 0x1F335),
    ("plant", 0x1F337, 0x1F33C),
    ("plant", 0x1F33E, 0x1F343),
    ("plant", 0x1F940, 0x1F940),
    ("animal", 0x1F400, 0x1F43C),
    ("animal", 0x1F43F, 0x1F43F),
    ("animal", 0x1F980, 0x1F99F),
    ("animal", 0x1F9A1, 0x1F9A9),
    ("animal", 0x1F9AB, 0x1F9AD),
    ("vehicle", 0x1F3CD, 0x1F3CE),
    ("vehicle", 0x1F680, 0x1F6A2),
    ("vehicle", 0x1F6A4, 0x1F6A4),
    ("vehicle", 0x1F6B2, 0x1F6B2),
)
"""Where pictures of a kind lie in the font: kind, first and last character."""

NO_FOOD = frozenset("🍴🍽🥄🥢🍼🎀🥅🥇🥈🥉🥊🥋🥌")

LOOK_ALIKES = frozenset(
    (
        *"🌂🏖🌲🌴🎄🍏🏡🏘🏚🐈🐋🐕🐖🐣🐥🐩🐽🦮",
        *_span(0x1F493, 0x1F49F),  # hearts
        *_span(0x1F4D2, 0x1F4D4),  # books
        *_span(0x1F4D6, 0x1F4DA),
        *"🚍🚎🚐🚓🚔🚕🚖🚘🚙",
        *"🏀🏐🥎🎱🌟🌠💫🌼💌",
        *_span(0x1F9B0, 0x1F9B3),  # hair alone, partly drawn as an empty box
    )
)
"""What shows a subject in another way, so that neither its word nor "none of these" is wrong."""


@lru_cache(maxsize=1)
def strangers() -> tuple[str, ...]:
    """Return the emoji that are no subject, not the demo's either, and like none of them."""
    known = {subject.glyph for subject in (*SUBJECTS, *DEMO_SUBJECTS)}
    return tuple(c for c in other_glyphs() if c not in known and c not in LOOK_ALIKES)


def taught_strangers() -> tuple[str, ...]:
    """Return the strangers that models may be taught with."""
    return tuple(c for number, c in enumerate(strangers()) if number % HELD_OUT)


def held_out_strangers() -> tuple[str, ...]:
    """Return the strangers that no model is taught with."""
    return strangers()[::HELD_OUT]


def kind_of(character: str) -> str | None:
    """Return the kind of a stranger; None where no kind of the subjects' fits it surely."""
    if character in NO_FOOD:
        return None
    for kind, first, last in KIND_SPANS:
        if first <= ord(character) <= last:
            return kind
    return None


@dataclass(frozen=True)
class Shown:
    """A scene as models other than the judge see it: a subject, or a stranger in its place."""

    scene: Scene
    character: str | None
    """The stranger that is drawn instead of the scene's subject."""

    @property
    def word(self) -> str | None:
        """The subject's word; None for a stranger."""
        return None if self.character else self.scene.subject.word

    @property
    def kind(self) -> str | None:
        """The wider word; None where it is not known."""
        return kind_of(self.character) if self.character else self.scene.subject.kind

    def picture(self) -> Image.Image:
        """Draw it, 128 × 128 px."""
        return draw(self.scene, self.character)


def random_shown(rng: random.Random, pool: Sequence[str], share: float) -> Shown:
    """Draw a scene of the base's subjects; a share of them shows a stranger of the pool."""
    scene = random_scene(rng)
    return Shown(scene, rng.choice(pool) if rng.random() < share else None)
