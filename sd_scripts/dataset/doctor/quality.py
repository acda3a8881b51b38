"""Quality of single pictures: blur, light, compression, borders. Thresholds come with a reason."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sd_scripts.dataset.decisions import CropWindow
from sd_scripts.dataset.doctor.findings import Finding
from sd_scripts.dataset.doctor.measure import SIDE, Measures
from sd_scripts.dataset.doctor.view import (
    View,
    are,
    leave_out,
    names,
    pictures_word,
    use_parts,
)
from sd_scripts.dataset.samples import Sample

BLURRED_BELOW: Final = 25.0
"""Least variance of the Laplacian in the sharpest tenth of a picture of 512 pixels. An edge of
contrast 100 that is blurred over 1 pixel gives thousands, over 3 pixels (visibly soft at that size)
about 60, over 5 pixels about 10. Plain drawings have few edges, but sharp ones."""

TOO_DARK: Final = (80.0, 40.0)
"""Even the brightest twentieth is below 80 of 255, and half of the picture below 40. A night scene
with a lamp has a bright twentieth and is no mistake."""

TOO_BRIGHT: Final = (150.0, 215.0)
"""Even the darkest twentieth is above 150 of 255, and half of the picture above 215. A thing before
a white background has its own dark parts."""

HEAVY_QUALITY: Final = 50
"""Below quality 50 the standard's table is made coarser instead of finer: blocks and halos are
plain to see without enlarging (ITU-T T.81, annex K: at 50, quantization is just visible)."""

HEAVY_BLOCKS: Final = 1.5
"""Steps on the grid of blocks are so many times the others'. Measured on drawings and noisy scenes:
pictures that were never JPEG lie below 1.1 (small ones made of squares reach 1.35), quality 20
gives about 1.4, quality 12 and worse more than 1.5."""

STILL_VISIBLE: Final = 0.5
"""Scaling to half the size or less for training averages 8-pixel blocks away."""


def blurred(view: View) -> Iterator[Finding]:
    """Pictures that are sharp nowhere."""
    found = [
        sample.path
        for sample, one in view.sound()
        if one.sharpness < BLURRED_BELOW and not _is_dark(one) and not _is_bright(one)
    ]
    if found:
        number = len(found)
        yield Finding(
            "blurred",
            "doubtful",
            f"{pictures_word(number)} {are(number, 'is', 'are')} sharp nowhere. What is learned"
            " from blurred pictures comes out blurred.",
            names(found),
            remedies=(leave_out(found),),
        )


def badly_lit(view: View) -> Iterator[Finding]:
    """Pictures without any light, or without any dark."""
    dark = [sample.path for sample, one in view.sound() if _is_dark(one)]
    bright = [sample.path for sample, one in view.sound() if _is_bright(one)]
    for found, code, words in (
        (dark, "too_dark", "almost black everywhere: under-exposed, or empty"),
        (bright, "too_bright", "almost white everywhere: over-exposed, or empty"),
    ):
        if found:
            number = len(found)
            yield Finding(
                code,
                "doubtful",
                f"{pictures_word(number)} {are(number, 'is', 'are')} {words}.",
                names(found),
                remedies=(leave_out(found),),
            )


def _is_dark(one: Measures) -> bool:
    return one.light.bright < TOO_DARK[0] and one.light.middle < TOO_DARK[1]


def _is_bright(one: Measures) -> bool:
    return one.light.dark > TOO_BRIGHT[0] and one.light.middle > TOO_BRIGHT[1]


def compressed(view: View) -> Iterator[Finding]:
    """Pictures whose JPEG blocks will be learned with them."""
    details: dict[str, str] = {}
    found: list[Path] = []
    for sample, one in view.sound():
        if sample.resized[0] / max(1, sample.image_size[0]) <= STILL_VISIBLE:
            continue
        heavy = one.quality is not None and one.quality < HEAVY_QUALITY
        if heavy or one.blocks > HEAVY_BLOCKS:
            found.append(sample.path)
            told = f"JPEG quality {one.quality}" if heavy else "shows the blocks of an old JPEG"
            details[names([sample.path])[0]] = told
    if found:
        number = len(found)
        yield Finding(
            "compressed",
            "doubtful",
            f"{pictures_word(number)} {are(number, 'was', 'were')} compressed so hard that blocks"
            " and halos show; they would be learned too.",
            names(found),
            details=details,
            remedies=(leave_out(found),),
        )


def bordered(view: View) -> Iterator[Finding]:
    """Pictures with letter-boxes or frames."""
    windows = {
        sample.path: _without_borders(sample, one) for sample, one in view.sound() if one.borders
    }
    if windows:
        number = len(windows)
        yield Finding(
            "bordered",
            "bad",
            f"{pictures_word(number)} {are(number, 'has', 'have')} plain bars or a frame around"
            f" {are(number, 'it', 'them')}. Training learns bars faster than anything else.",
            names(windows),
            remedies=(use_parts(windows, "Use only what is inside"), leave_out(windows)),
        )


def _without_borders(sample: Sample, one: Measures) -> CropWindow:
    """What is inside, rounded inwards by what scaling may have mixed."""
    width, height = one.used
    margin = 1 + math.ceil(max(width, height) / SIDE)
    bars = one.borders
    left = math.ceil(bars.left * width) + (margin if bars.left else 0)
    top = math.ceil(bars.top * height) + (margin if bars.top else 0)
    right = width - math.ceil(bars.right * width) - (margin if bars.right else 0)
    bottom = height - math.ceil(bars.bottom * height) - (margin if bars.bottom else 0)
    x, y = (sample.window.left, sample.window.top) if sample.window else (0, 0)
    return CropWindow(x + left, y + top, x + right, y + bottom)
