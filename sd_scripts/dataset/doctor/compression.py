"""How hard a picture was compressed as JPEG: by its tables, or by the blocks that show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_BLOCK: Final = 8
_LARGEST_STEP: Final = 24.0
_UNSEEN_STEP: Final = 1.5
_STANDARD_SUM: Final = 3688
"""Sum of the brightness table of the JPEG standard (ITU-T T.81, annex K, table K.1)."""


def jpeg_quality(tables: Mapping[int, Sequence[int]]) -> int | None:
    """The quality, 1 to 100, at which libjpeg would use a brightness table of this size.

    libjpeg scales the standard's table by 50 / quality below 50, else by 2 - quality / 50; the
    table's sum tells the scale. None where a file has no table.
    """
    table = tables.get(0)
    if not table:
        return None
    scale = sum(table) / _STANDARD_SUM
    quality = 50 / scale if scale > 1 else 100 - 50 * scale
    return max(1, min(100, round(quality)))


def blockiness(grey: NDArray[np.float32]) -> float:
    """How much larger steps between neighbours are on a grid of 8 pixels than elsewhere.

    1 for pictures that were never compressed by blocks. The grid may begin anywhere (the picture
    may have been cropped since), but it has to show in both directions: the smaller of the two
    ratios counts. `grey` [H, W] must have the picture's own pixels, not scaled ones; 0 where it is
    too small to tell.
    """
    if min(grey.shape) < 8 * _BLOCK:
        return 0.0
    return min(_grid_ratio(np.abs(np.diff(side, axis=1))) for side in (grey, grey.T))


def _grid_ratio(steps: NDArray[np.float32]) -> float:
    """The ratio for steps [H, W - 1] between neighbours in a row.

    Real edges are few and large, blocks' steps many and small: so large steps count no more than
    24, and of all places on the grid the median counts. Steps around 1.5 can't be seen, so that
    much is added to both sides.
    """
    by_column = np.minimum(steps, _LARGEST_STEP).mean(axis=0)
    usable = np.median(by_column[: len(by_column) // _BLOCK * _BLOCK].reshape(-1, _BLOCK), axis=0)
    place = int(usable.argmax())
    others = np.delete(usable, place)
    return float((usable[place] + _UNSEEN_STEP) / (others.mean() + _UNSEEN_STEP))
