"""What the pixels of one small grey picture tell: sharpness, light, borders, likeness.

All functions take pictures that were made small already, as numpy arrays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.float32]
"""Brightness [H, W], 0 … 255."""
Colour = NDArray[np.int16]
"""RGB [H, W, 3], 0 … 255."""

_TILES: Final = 8
_SHARPEST: Final = 90.0
_HASH_SIDE: Final = 8
_HASH_INPUT: Final = 32
TINY_SIDE: Final = 16
_ALIKE: Final = 12
_UNIFORM_SHARE: Final = 0.98
_EDGE_SHARE: Final = 0.7
_LEAST_BORDER: Final = 0.01
_LEAST_REST: Final = 1 / 3


def sharpness(grey: Grey) -> float:
    """Variance of the Laplacian where the picture is sharpest (0 for a plain surface).

    The variance of the Laplacian is a usual measure of focus (Pech-Pacheco et al., 2000,
    https://doi.org/10.1109/ICPR.2000.903548). A portrait before a soft background is sharp in a
    small part only, so it is taken in each of 8 by 8 tiles, and the 90th percentile counts: a
    tenth of the picture has to be sharp.
    """
    height, width = grey.shape
    if min(height, width) < 2 * _TILES + 2:
        return math.inf  # too few pixels to tell
    laplacian = (
        grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    )
    rows, columns = (side // _TILES * _TILES for side in laplacian.shape)
    tiles = laplacian[:rows, :columns].reshape(_TILES, rows // _TILES, _TILES, columns // _TILES)
    return float(np.percentile(tiles.var(axis=(1, 3)), _SHARPEST))


class Light(NamedTuple):
    """Brightness, 0 … 255: of the darkest twentieth, of the middle, of the brightest twentieth."""

    dark: float
    middle: float
    bright: float


def light(grey: Grey) -> Light:
    """Return the 5th, 50th and 95th percentile of the brightness."""
    return Light(*(float(value) for value in np.percentile(grey, (5, 50, 95))))


def perceptual_hash(grey: Grey) -> int:
    """64 bits that stay nearly the same when a picture is scaled, saved again or brightened.

    `grey` is 32 by 32. Each bit says whether one of the 64 lowest frequencies of the cosine
    transform is above their median (Zauner, 2010, "Implementation and benchmarking of perceptual
    image hash functions", section 3.2).
    """
    assert grey.shape == (_HASH_INPUT, _HASH_INPUT)
    low = _COSINES @ grey @ _COSINES.T
    values = low.ravel()[1:]  # the first is the mean brightness alone
    bits = np.concatenate([[False], values > np.median(values)])
    return int(np.packbits(bits).view(">u8")[0])


def _cosines() -> NDArray[np.float32]:
    """The first 8 rows of the type II cosine transform of 32 values."""
    frequency = np.arange(_HASH_SIDE)[:, None]
    place = np.arange(_HASH_INPUT)[None, :] + 0.5
    return np.cos(math.pi / _HASH_INPUT * frequency * place).astype(np.float32)


_COSINES: Final = _cosines()


@dataclass(frozen=True)
class Borders:
    """How thick plain bars at the sides are, as shares of the picture's width or height."""

    left: float = 0.0
    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0

    def __bool__(self) -> bool:
        return any((self.left, self.top, self.right, self.bottom))


def borders(picture: Colour) -> Borders:
    """Find letter-boxes and frames: plain bars of one colour at two opposite sides, or at four.

    A bar's rows are of one colour (98 % of the pixels within 12 of 255), and it ends in a straight
    edge: most pixels of the row behind it have another colour. So an object before a plain
    background, whose outline is not straight, has no border; what would leave less than a third of
    the picture is taken for an object too. A bar at one side alone may well be sky or a wall, and
    is left alone.
    """
    height, width = picture.shape[:2]
    top, bottom = _bars(picture)
    left, right = _bars(picture[top : height - bottom].swapaxes(0, 1))
    for ends in ((left, top, right, bottom), (0, top, 0, bottom), (left, 0, right, 0)):
        if any(ends) and _is_frame(picture, *ends):
            shares = zip(ends, (width, height, width, height), strict=True)
            return Borders(*(thick / side for thick, side in shares))
    return Borders()


def _is_frame(picture: Colour, left: int, top: int, right: int, bottom: int) -> bool:
    height, width = picture.shape[:2]
    rest = (width - left - right) * (height - top - bottom)
    if rest < _LEAST_REST * width * height:
        return False
    across = picture[:, left : width - right]
    down = picture[top : height - bottom].swapaxes(0, 1)
    return all(
        not (first or last) or _are_bars(part, first, last)
        for part, first, last in ((across, top, bottom), (down, left, right))
    )


def _bars(picture: Colour) -> tuple[int, int]:
    """Rows of one colour at the top and at the bottom."""
    return _plain_rows(picture), _plain_rows(picture[::-1])


def _plain_rows(picture: Colour) -> int:
    """How many rows at the top are of one colour; no more rows are looked at than need be."""
    colour = np.median(picture[0], axis=0)
    done, step = 0, 8
    while done < len(picture):
        part = picture[done : done + step]
        alike = (np.abs(part - colour).max(axis=2) <= _ALIKE).mean(axis=1) >= _UNIFORM_SHARE
        if not alike.all():
            return done + int(np.argmin(alike))
        done += len(part)
        step *= 2
    return done


def _are_bars(picture: Colour, first: int, last: int) -> bool:
    """Whether plain rows at both ends are bars: alike, thick enough, with a straight end."""
    height = len(picture)
    thick = min(first, last) >= max(2, _LEAST_BORDER * height)
    if not thick or height - first - last < 4:
        return False
    colours = np.median(picture[0], axis=0), np.median(picture[-1], axis=0)
    if np.abs(colours[0] - colours[1]).max() > 2 * _ALIKE:
        return False
    # The row next to a bar may be a mixture, from scaling.
    behind = picture[first + 1], picture[height - last - 2]
    return all(
        (np.abs(row - colour).max(axis=1) > _ALIKE).mean() >= _EDGE_SHARE
        for row, colour in zip(behind, colours, strict=True)
    )
