"""Small scenes and pictures for the starter's tests, without the emoji font."""

from __future__ import annotations

from PIL import Image, ImageDraw

from tools.starter.scenes import SUBJECTS, Scene

TINY_WIDTHS = (4, 6, 8)


def scene_of(number: int = 0, *, colour: str = "blue", size: str = "large") -> Scene:
    """Return a scene with the subject of this number."""
    return Scene(SUBJECTS[number], colour, size, (58, 110, 220), 90, (0, 0), False)


def drawn(*colours: str, side: int = 128) -> list[Image.Image]:
    """Return a picture a colour: a white disc on it."""
    pictures = []
    for colour in colours:
        picture = Image.new("RGB", (side, side), colour)
        ImageDraw.Draw(picture).ellipse((side // 4, side // 4, side // 2, side // 2), "white")
        pictures.append(picture)
    return pictures
