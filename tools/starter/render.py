"""Draws scenes: an emoji of Noto Color Emoji on a coloured ground.

The font is Debian's package `fonts-noto-color-emoji` (SIL Open Font License 1.1).
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sd_scripts.errors import UserError
from tools.starter.scenes import DEMO_SUBJECTS, PICTURE_SIZE, Scene

FONT_FILE = "NotoColorEmoji.ttf"
FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts")
STRIKE = 109  # the only size of the font's bitmaps
GLYPH_BOX = (136, 128)
GLYPH_BLOCKS = (  # where the font's plain pictures lie, flags and letters left out
    (0x1F300, 0x1F393),
    (0x1F3A0, 0x1F3F0),
    (0x1F400, 0x1F4FF),
    (0x1F680, 0x1F6C5),
    (0x1F940, 0x1F9CC),
)


@lru_cache(maxsize=1)
def emoji_font() -> ImageFont.FreeTypeFont:
    """Return the emoji font. Raises `UserError` when it is not installed."""
    for folder in FONT_FOLDERS:
        for path in sorted(Path(folder).expanduser().rglob(FONT_FILE)):
            return ImageFont.truetype(str(path), STRIKE)
    raise UserError(
        f"the font {FONT_FILE} was not found",
        option="font",
        hint="install Debian's package fonts-noto-color-emoji",
    )


@lru_cache(maxsize=1024)
def glyph(character: str) -> Image.Image | None:
    """Return an emoji as RGBA, cut to what is drawn; None when the font has none."""
    picture = Image.new("RGBA", GLYPH_BOX)
    ImageDraw.Draw(picture).text((0, 0), character, font=emoji_font(), embedded_color=True)
    box = picture.getbbox()
    return picture.crop(box) if box else None


@lru_cache(maxsize=1)
def other_glyphs() -> tuple[str, ...]:
    """Return the font's pictures, but not the demo's subjects: food for the autoencoder."""
    hidden = {subject.glyph for subject in DEMO_SUBJECTS}
    characters = (chr(code) for first, last in GLYPH_BLOCKS for code in range(first, last))
    return tuple(c for c in characters if c not in hidden and glyph(c) is not None)


@lru_cache(maxsize=16384)
def _sprite(character: str, extent: int, mirrored: bool) -> Image.Image:
    drawn = glyph(character)
    assert drawn is not None, f"the font has no {character!r}"
    scale = extent / max(drawn.size)
    width, height = (max(1, round(side * scale)) for side in drawn.size)
    # Premultiplied while it is resized: else the transparent black bleeds into the edges.
    sprite = drawn.convert("RGBa").resize((width, height), Image.Resampling.LANCZOS)
    sprite = sprite.convert("RGBA")
    return sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else sprite


def draw(scene: Scene, character: str | None = None) -> Image.Image:
    """Draw a scene, 128 × 128 px RGB; `character` stands in for the subject's own emoji."""
    sprite = _sprite(character or scene.subject.glyph, scene.extent, scene.mirrored)
    picture = Image.new("RGB", (PICTURE_SIZE, PICTURE_SIZE), scene.background)
    left = (PICTURE_SIZE - sprite.width) // 2 + scene.offset[0]
    top = (PICTURE_SIZE - sprite.height) // 2 + scene.offset[1]
    picture.paste(sprite, (left, top), sprite)
    return picture


def draw_all(scenes: Iterable[Scene], *, others: float = 0.0, seed: int = 0) -> NDArray[np.uint8]:
    """Draw scenes as [N, 128, 128, 3]; a share of them shows any other emoji instead."""
    rng = random.Random(seed)
    pool = other_glyphs() if others else ()
    return np.stack(
        [
            np.asarray(draw(scene, rng.choice(pool) if rng.random() < others else None))
            for scene in scenes
        ]
    )
