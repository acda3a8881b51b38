"""Pictures of hundreds of megapixels: JPEG files are scaled down while they are decoded.

libjpeg can leave out the finer coefficients of each block of 8 x 8, which gives a half, a quarter
or an eighth of the size and never holds the whole picture in memory. Other formats cannot be read
so and stay refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from sd_scripts.dataset.buckets import Size
from sd_scripts.dataset.pictures import (
    DECODE_ERRORS,
    MAX_PIXELS,
    TURNS,
    PictureProblem,
    PictureTooLarge,
    as_seen,
    open_rgb,
    orientation,
    reachable,
)

ENOUGH_PIXELS: Final = 45_000_000
"""A picture is halved until it has no more than this: four times what any bucket needs."""
MAX_PROGRESSIVE_PIXELS: Final = 2 * MAX_PIXELS
"""Of a progressive JPEG all coefficients are held at once, up to 6 bytes a pixel."""
_SCALES: Final = (1, 2, 4, 8)


def open_sized(path: Path) -> tuple[Image.Image, Size]:
    """Decode a picture as `open_rgb`; returns it with its size. Raises `PictureProblem`."""
    picture = open_rgb(path)
    return picture, picture.size


def open_scaled(path: Path) -> tuple[Image.Image, Size]:
    """Decode a picture to RGB, scaled down if it is too large for `open_rgb`.

    Returns it with its size (width, height) in the file, as seen. Raises `PictureProblem`.
    """
    try:
        return open_sized(path)
    except PictureTooLarge as problem:
        try:
            with open(reachable(path), "rb") as file:
                picture = JpegImageFile(file)
                scale = _scale(problem, picture)
                size = picture.size
                picture.draft("RGB", (size[0] // scale, size[1] // scale))
                turned = orientation(picture.info.get("exif"))
                picture.load()
                converted = picture.convert("RGB")
        except DECODE_ERRORS as error:
            raise _only_jpeg(problem, error) from error
    turn = TURNS.get(turned)
    if turn is not None:
        converted = converted.transpose(turn)
    return converted, as_seen(size, turned)


def _scale(problem: PictureTooLarge, picture: JpegImageFile) -> int:
    pixels = picture.size[0] * picture.size[1]
    if picture.info.get("progressive") and pixels > MAX_PROGRESSIVE_PIXELS:
        raise PictureTooLarge(
            problem.path,
            f"is a progressive JPEG of {pixels // 1_000_000} million pixels, which would take "
            "too much memory",
            "save it smaller, or as a JPEG that is not progressive",
        )
    for scale in _SCALES:
        if pixels <= ENOUGH_PIXELS * scale**2:
            return scale
    raise PictureTooLarge(
        problem.path, f"has {pixels // 1_000_000} million pixels", "make it smaller"
    )


def _only_jpeg(problem: PictureTooLarge, error: Exception) -> PictureProblem:
    if isinstance(error, SyntaxError):
        return PictureTooLarge(
            problem.path,
            f"{problem.reason}, and only JPEG files can be scaled while they are decoded",
            "save it as JPEG, or make it smaller",
        )
    return PictureProblem(
        problem.path, f"is damaged ({error})", "copy it again, or save it again as JPEG"
    )
