"""Reading one picture once and measuring everything about it that checks need.

JPEG files are decoded at a half, a quarter or an eighth where they are large: all of their data is
still read, so damage shows, in a fraction of the time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from sd_scripts.dataset.buckets import Size
from sd_scripts.dataset.decisions import CropWindow
from sd_scripts.dataset.doctor.compression import blockiness, jpeg_quality
from sd_scripts.dataset.doctor.pixels import (
    TINY_SIDE,
    Borders,
    Light,
    borders,
    light,
    perceptual_hash,
    sharpness,
)
from sd_scripts.dataset.pictures import (
    DECODE_ERRORS,
    TURNS,
    PictureProblem,
    open_alpha,
    open_rgb,
    orientation,
    reachable,
)

SIDE: Final = 512
"""Pictures are measured at this longest side: then a threshold means the same for all of them."""
_OPAQUE: Final = 250
_GRID_PART: Final = 1024
_NO_LIGHT: Final = Light(0, 0, 0)
_NO_BORDERS: Final = Borders()


@dataclass(frozen=True, slots=True)
class Measures:
    """What one picture's pixels say, or `damage` alone where it can't be decoded.

    `size` is (width, height) of the file as seen, `used` of the part that is used. `turned` is its
    EXIF orientation, `transparent` the share of pixels that are not opaque, `quality` of JPEG
    files, `blocks` of others. `fingerprint` and `mirrored` are perceptual hashes, `tiny` holds
    16 x 16 grey values.
    """

    size: Size = (0, 0)
    used: Size = (0, 0)
    damage: str = ""
    turned: int = 1
    transparent: float = 0.0
    quality: int | None = None
    blocks: float = 0.0
    sharpness: float = 0.0
    light: Light = _NO_LIGHT
    borders: Borders = _NO_BORDERS
    fingerprint: int = 0
    mirrored: int = 0
    tiny: bytes = b""


def measure(path: Path, window: CropWindow | None = None) -> Measures:
    """Measure a picture, or the window of it that is used; never raises for a bad picture."""
    try:
        return _measure(path, window)
    except PictureProblem as problem:
        return Measures(damage=problem.reason)
    except DECODE_ERRORS as error:
        return Measures(damage=f"is damaged ({error})")


def _measure(path: Path, window: CropWindow | None) -> Measures:
    with open(reachable(path), "rb") as file:
        picture = Image.open(file)
        full, kind, turned = picture.size, picture.format, orientation(picture.info.get("exif"))
        tables: dict[int, list[int]] = getattr(picture, "quantization", {})
        quality = jpeg_quality(tables) if kind in ("JPEG", "MPO") else None
        if quality is None:
            seen = open_rgb(path)
        else:
            picture.draft("RGB", (2 * SIDE, 2 * SIDE))
            picture.load()
            seen = picture.convert("RGB")
            turn = TURNS.get(turned)
            seen = seen if turn is None else seen.transpose(turn)
    size = full if turned < 5 else (full[1], full[0])
    used = size if window is None else window.size
    if window is not None:
        scale = seen.width / size[0]
        left, top, right, bottom = (round(side * scale) for side in window)
        seen = seen.crop((left, top, right, bottom))
    has_alpha = "A" in picture.getbands() or "transparency" in picture.info
    return _measures_of_pixels(
        seen,
        Measures(
            size=size,
            used=used,
            turned=turned,
            transparent=_transparent(path, window) if has_alpha else 0.0,
            quality=quality,
            blocks=_blocks(seen) if quality is None else 0.0,
        ),
    )


def _measures_of_pixels(seen: Image.Image, known: Measures) -> Measures:
    small = seen.copy() if max(seen.size) <= SIDE else _shrunk(seen)
    grey_picture = small.convert("L")
    grey = np.asarray(grey_picture, np.float32)
    hashed = _grey(grey_picture, 32)
    return replace(
        known,
        sharpness=sharpness(grey),
        light=light(grey),
        borders=borders(np.asarray(small, np.int16)),
        fingerprint=perceptual_hash(hashed),
        mirrored=perceptual_hash(hashed[:, ::-1]),
        tiny=_grey(grey_picture, TINY_SIDE).astype(np.uint8).tobytes(),
    )


def _shrunk(seen: Image.Image) -> Image.Image:
    scale = SIDE / max(seen.size)
    size = max(1, round(seen.width * scale)), max(1, round(seen.height * scale))
    return seen.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _grey(picture: Image.Image, side: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX), np.float32)


def _blocks(seen: Image.Image) -> float:
    """Measure the middle of a picture, in its own pixels."""
    left, top = (max(0, (side - _GRID_PART) // 2) for side in seen.size)
    part = seen.crop((left, top, left + min(_GRID_PART, seen.width - left),
                      top + min(_GRID_PART, seen.height - top)))  # fmt: skip
    return blockiness(np.asarray(part.convert("L"), np.float32))


def _transparent(path: Path, window: CropWindow | None) -> float:
    alpha = open_alpha(path)
    part = alpha.crop(window) if window else alpha
    histogram = part.histogram()
    return sum(histogram[:_OPAQUE]) / sum(histogram)
