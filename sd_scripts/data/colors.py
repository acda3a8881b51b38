"""Small shifts of colour: what `color_aug` does to a third of all showings.

All chance comes from the generator that is passed in. No torch: worker processes start without it.
"""

from __future__ import annotations

import random
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SHARE: Final = 0.33  # of all showings
_MAX_HUE_DEGREES: Final = 16.0  # 8 of OpenCV's two-degree steps
_MAX_GAMMA_CHANGE: Final = 0.05


class ColorShift(NamedTuple):
    """A turn of all hues in degrees, or a power that brightness is raised to."""

    hue: float = 0.0
    gamma: float = 1.0


def choose_color(rng: random.Random) -> ColorShift | None:
    """Mostly nothing; in a third of the cases a small turn of hue, or a small gamma."""
    chance, kind = rng.random(), rng.random()
    amount = rng.uniform(-1.0, 1.0)
    if chance > _SHARE:
        return None
    if kind > 0.5:
        return ColorShift(hue=amount * _MAX_HUE_DEGREES)
    return ColorShift(gamma=1.0 + amount * _MAX_GAMMA_CHANGE)


def shift_color(pixels: NDArray[np.uint8], shift: ColorShift) -> NDArray[np.uint8]:
    """Return pixels [H, W, 3] with other hues, or with brightness to the power of gamma."""
    if shift.gamma != 1.0:
        table = np.rint(255.0 * np.linspace(0.0, 1.0, 256) ** shift.gamma).astype(np.uint8)
        pixels = table[pixels]
    turn = round(shift.hue / 360.0 * 256.0) % 256
    if not turn:
        return pixels
    hue, saturation, value = Image.fromarray(pixels).convert("HSV").split()
    turned = Image.fromarray(np.asarray(hue) + np.uint8(turn))
    return np.array(Image.merge("HSV", (turned, saturation, value)).convert("RGB"))
