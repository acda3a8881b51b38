"""Pictures as WD14 taggers want them: padded to a white square, resized, blue before red.

As sd-scripts' tag_images_by_wd14_tagger.py: area averaging where the square shrinks, else Lanczos.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sd_scripts.data.pixels import average

WHITE = (255, 255, 255)


def white_square(picture: Image.Image) -> Image.Image:
    """Put an RGB picture into the middle of a white square as large as its longer side.

    Where the margin is odd, the left and the upper one are the narrower.
    """
    width, height = picture.size
    side = max(width, height)
    if width == height:
        return picture
    square = Image.new("RGB", (side, side), WHITE)
    square.paste(picture, ((side - width) // 2, (side - height) // 2))
    return square


def bgr_square(picture: Image.Image, side: int) -> NDArray[np.uint8]:
    """Return an RGB picture as a square of `side` pixels: [side, side, 3], BGR, 0 to 255."""
    square = white_square(picture)
    if square.width < side:
        return _turned(square.resize((side, side), Image.Resampling.LANCZOS))
    if square.width % side == 0:
        # The same average, several times as fast; of exact halves the upper is taken, as cv2 does.
        return _turned(square.reduce(square.width // side))
    return average(_turned(square), (side, side))


def _turned(square: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of an RGB picture, blue before red."""
    pixels = np.frombuffer(square.tobytes("raw", "BGR"), np.uint8)
    return pixels.reshape(square.height, square.width, 3)
