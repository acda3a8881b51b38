"""From a picture to what the VAE sees: resized to cover its bucket, cropped, perhaps mirrored.

Pixels are numpy arrays [H, W, 3], uint8, RGB, until they meet in a batch. Sizes of pictures are
(width, height), as in the plan. No torch here: worker processes start without it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sd_scripts.data.colors import ColorShift, shift_color
from sd_scripts.dataset.buckets import Size
from sd_scripts.dataset.decisions import CropWindow
from sd_scripts.dataset.pictures import open_alpha, open_mask, open_rgb
from sd_scripts.dataset.samples import MaskSource, Sample

Pixels = NDArray[np.uint8]

PILLOW_FILTERS: Final = {
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "linear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "cubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
}
"""`resize_interpolation` by name. Pillow's filters widen when a picture shrinks, so that bilinear
and bicubic do not alias; "area" is exact averaging (below), which no Pillow filter is."""

_BAND_ROWS: Final = 8
_BAND_COLUMNS: Final = 4096
_BAND_HEIGHT: Final = 512
"""Size of the pieces in which pictures are averaged: they fit a core's cache, and are too small for
the linear algebra library to start threads of its own beside the decoding threads."""


class Crop(NamedTuple):
    """Which part of the resized picture is taken, and whether it is then mirrored.

    `resized` is the picture's size for this showing, where it is not the sample's own.
    """

    left: int
    top: int
    flipped: bool
    resized: Size | None = None


def choose_crop(sample: Sample, flipped: bool, rng: random.Random | None = None) -> Crop:
    """Crop in the centre (`trim // 2`, as sd-scripts), or anywhere if `rng` is given."""
    trim_x = sample.resized[0] - sample.bucket[0]
    trim_y = sample.resized[1] - sample.bucket[1]
    if rng is None:
        return Crop(trim_x // 2, trim_y // 2, flipped)
    return Crop(rng.randint(0, trim_x), rng.randint(0, trim_y), flipped)


def crop_top_left(sample: Sample, crop: Crop) -> tuple[int, int]:
    """Return SDXL's crop conditioning (top, left) in pixels of the resized picture.

    It is the crop that was really taken. For a mirrored picture, left is counted in the mirrored
    picture, as if it had been mirrored before the crop
    (SDXL, https://arxiv.org/abs/2307.01952, section 2.2).
    """
    left = crop.left
    if crop.flipped:
        left = (crop.resized or sample.resized)[0] - sample.bucket[0] - crop.left
    return crop.top, left


def letter_box_top_left(sample: Sample, flipped: bool) -> tuple[int, int]:
    """Return the (top, left) that sd-scripts tells SDXL, whatever was really cropped.

    It is where the picture would lie if it were made to fit *into* its bucket: a crop of the other
    axis than the real one (sd-scripts, `BucketManager.get_crop_ltrb`).
    """
    left, top, right, _ = letter_box(sample.image_size, sample.bucket)
    return int(top), int(sample.bucket[0] - right if flipped else left)


def letter_box(image_size: Size, bucket: Size) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom) of a picture that is made to fit into its bucket."""
    ratio = image_size[0] / image_size[1]
    if bucket[0] / bucket[1] > ratio:
        width, height = bucket[1] * ratio, float(bucket[1])
    else:
        width, height = float(bucket[0]), bucket[0] / ratio
    left, top = (bucket[0] - width) // 2, (bucket[1] - height) // 2
    return left, top, left + width, top + height


class Cutout(NamedTuple):
    """One picture as a batch wants it: where it is, how it is resized, what is taken of it.

    `mask` is (path, channel) of its mask, where it has one. Of picture and mask, only the `window`
    is used, if there is one.
    """

    path: str
    resized: Size
    interpolation: str | None
    crop: Crop
    bucket: Size
    color: ColorShift | None = None
    mask: tuple[str, str] | None = None
    window: CropWindow | None = None


def cutout(sample: Sample, crop: Crop, color: ColorShift | None = None) -> Cutout:
    """Return what to load for one showing of a sample."""
    resized = crop.resized or sample.resized
    interpolation = sample.resize_interpolation
    mask = (str(sample.mask.path), sample.mask.channel) if sample.mask else None
    path, window = str(sample.path), sample.window
    return Cutout(path, resized, interpolation, crop, sample.bucket, color, mask, window)


def load_batch(cutouts: Sequence[Cutout]) -> Pixels:
    """Load pictures of one bucket: [B, H, W, 3], or [B, H, W, 4] if one of them has a mask.

    The fourth channel is the mask, cut as its picture is, 255 for pictures without one. Raises
    `PictureProblem` if one of them can't be decoded.
    """
    parts = []
    for one in cutouts:
        picture = seen_part(open_rgb(Path(one.path)), one.window)
        pixels = resize(picture, one.resized, one.interpolation)
        part = cut(pixels, one.crop, one.bucket)
        parts.append(shift_color(part, one.color) if one.color else part)
    pixels = np.stack(parts)
    if not any(one.mask for one in cutouts):
        return pixels
    return np.concatenate([pixels, np.stack([_mask_part(one) for one in cutouts])], axis=-1)


def _mask_part(one: Cutout) -> Pixels:
    if one.mask is None:
        return np.full((one.bucket[1], one.bucket[0], 1), 255, np.uint8)
    path, channel = one.mask
    source = MaskSource(Path(path), "alpha" if channel == "alpha" else "red")
    mask = load_mask(source, one.resized, one.interpolation, one.window)
    return cut(mask, one.crop, one.bucket)


def load_mask(
    mask: MaskSource, resized: Size, interpolation: str | None, window: CropWindow | None
) -> Pixels:
    """Decode a mask (or the window of it) and resize it: [height, width, 1].

    Raises `PictureProblem` if it can't be decoded.
    """
    opener = open_alpha if mask.channel == "alpha" else open_mask
    return resize(seen_part(opener(mask.path), window), resized, interpolation)


def seen_part(picture: Image.Image, window: CropWindow | None) -> Image.Image:
    """Return the part of a picture that is used: all of it without a window."""
    return picture.crop(window) if window else picture


def load_pixels(sample: Sample) -> Pixels:
    """Decode and resize a sample's picture: [resized height, resized width, 3].

    Raises `PictureProblem` if the picture can't be decoded.
    """
    picture = seen_part(open_rgb(sample.path), sample.window)
    return resize(picture, sample.resized, sample.resize_interpolation)


def cut(pixels: Pixels, crop: Crop, bucket: Size) -> Pixels:
    """Return the crop of a resized picture, mirrored if asked for: [bucket height, width, 3]."""
    width, height = bucket
    part = pixels[crop.top : crop.top + height, crop.left : crop.left + width]
    assert part.shape[:2] == (height, width), "the resized picture must cover its bucket"
    return np.ascontiguousarray(part[:, ::-1] if crop.flipped else part)


def resize(picture: Image.Image, size: Size, interpolation: str | None = None) -> Pixels:
    """Resize a picture (RGB, or one channel) to `size` (width, height): [height, width, channels].

    Without `interpolation`: area averaging if neither side grows, else Lanczos. "area" falls back
    to bilinear where a side grows, as OpenCV does.
    """
    shrinks = picture.width >= size[0] and picture.height >= size[1]
    if interpolation is None:
        interpolation = "area" if shrinks else "lanczos"
    if picture.size == size:
        return _array(picture)
    if interpolation == "area":
        if shrinks:
            return average(_array(picture), size)
        interpolation = "bilinear"
    return _array(picture.resize(size, PILLOW_FILTERS[interpolation]))


def _array(picture: Image.Image) -> Pixels:
    pixels = np.array(picture)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def average(pixels: Pixels, size: Size) -> Pixels:
    """Average exactly the area of each new pixel, with the fractions of pixels on its border.

    Takes [H, W, channels], gives [height, width, channels]; neither side may grow. This is OpenCV's
    INTER_AREA. Pillow's BOX filter takes whole pixels only, which near scale 1 is as coarse as
    nearest neighbour.
    """
    height, width, channels = pixels.shape
    flat = pixels.reshape(height, width * channels)
    rows = np.empty((size[1], flat.shape[1]), np.float32)
    for band in _bands(height, size[1], 1):
        for left in range(0, flat.shape[1], _BAND_COLUMNS):
            part = slice(left, left + _BAND_COLUMNS)
            old = flat[band.old, part].astype(np.float32)
            np.matmul(band.weights, old, out=rows[band.new, part])
    result = np.empty((size[1], size[0] * channels), np.float32)
    for band in _bands(width, size[0], channels):
        weights = band.weights.T
        for top in range(0, size[1], _BAND_HEIGHT):
            part = slice(top, top + _BAND_HEIGHT)
            np.matmul(rows[part, band.old], weights, out=result[part, band.new])
    # Weights add up to 1 but for rounding, which nearest whole numbers swallow.
    whole = np.rint(result, out=result).astype(np.uint8)
    return whole.reshape(size[1], size[0], channels)


class _Band(NamedTuple):
    """A few new rows and the old ones they touch: new = weights x old."""

    new: slice
    old: slice
    weights: NDArray[np.float32]


@lru_cache(maxsize=256)
def _bands(num_old: int, num_new: int, channels: int) -> tuple[_Band, ...]:
    """Cut averaging `num_old` to `num_new` into bands, each a small product of matrices.

    With several `channels`, each of them is averaged for itself where they lie side by side.
    """
    scale = num_old / num_new
    num_together = max(1, int(_BAND_ROWS / scale))
    bands = []
    for low in range(0, num_new, num_together):
        high = min(low + num_together, num_new)
        start = int(low * scale)
        stop = min(num_old, math.ceil(high * scale))
        edges = np.arange(low, high + 1)[:, None] * scale
        old = np.arange(start, stop)
        overlap = np.minimum(edges[1:], old + 1) - np.maximum(edges[:-1], old)
        weights = (overlap.clip(min=0) / scale).astype(np.float32)
        bands.append(
            _Band(
                slice(low * channels, high * channels),
                slice(start * channels, stop * channels),
                _beside(weights, channels),
            )
        )
    return tuple(bands)


def _beside(weights: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Return weights [new, old] for channels that lie side by side, [new·c, old·c]."""
    new, old = weights.shape
    spread = np.zeros((new, channels, old, channels), np.float32)
    for channel in range(channels):
        spread[:, channel, :, channel] = weights
    return spread.reshape(new * channels, old * channels)
