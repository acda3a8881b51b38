"""Aspect-ratio buckets: which training size a picture gets, with sd-scripts' exact arithmetic.

Sizes are (width, height) in pixels everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Size = tuple[int, int]


@dataclass(frozen=True)
class BucketSettings:
    """What decides the training size of a picture; all numbers are pixels.

    `resolution` gives the area with `enable_bucket`, else it is the one size of all pictures.
    `min_size`, `max_size` and `step` bound the sides of the buckets; `no_upscale` takes the bucket
    from the picture's own size, so that no picture is enlarged (the bounds are then not used).
    """

    resolution: Size
    enable_bucket: bool = False
    min_size: int = 256
    max_size: int = 1024
    step: int = 64
    no_upscale: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture goes: it is resized to `resized` (covering the bucket), then cropped."""

    bucket: Size
    resized: Size


def make_bucket_resolutions(area_size: Size, min_size: int, max_size: int, step: int) -> list[Size]:
    """All bucket sizes with at most the area of `area_size`, sorted.

    Sides are multiples of `step`, from `min_size` to `max_size`; the square of (at most) that area
    is always among them.
    """
    area = area_size[0] * area_size[1]
    side = int(math.sqrt(area) // step) * step
    found = {(side, side)}
    for width in range(min_size, max_size + 1, step):
        height = min(max_size, int((area // width) // step) * step)
        if height >= min_size:
            found.add((width, height))
            found.add((height, width))
    return sorted(found)


def round_bounds(min_size: int, max_size: int, step: int) -> tuple[int, int]:
    """Round the smallest side down and the largest side up to multiples of `step`."""
    return min_size - min_size % step, max_size + -max_size % step


def bucket_sizes(settings: BucketSettings) -> list[Size]:
    """The fixed list of buckets; empty where `no_upscale` takes them from the pictures."""
    if not settings.enable_bucket:
        return [settings.resolution]
    if settings.no_upscale:
        return []
    low, high = round_bounds(settings.min_size, settings.max_size, settings.step)
    return make_bucket_resolutions(settings.resolution, low, high, settings.step)


def _place_in_list(image_size: Size, sizes: Sequence[Size]) -> Placement:
    """The bucket of the nearest aspect ratio (first one on a tie), and the size that covers it."""
    width, height = image_size
    if image_size in sizes:
        bucket = image_size
    else:
        ratio = width / height
        bucket = min(sizes, key=lambda size: abs(size[0] / size[1] - ratio))
    is_wider = width / height > bucket[0] / bucket[1]
    scale = bucket[1] / height if is_wider else bucket[0] / width
    return Placement(bucket, (int(width * scale + 0.5), int(height * scale + 0.5)))


def _round_to_steps(value: float, step: int) -> int:
    rounded = int(value + 0.5)
    return rounded - rounded % step


def _place_without_upscale(image_size: Size, resolution: Size, step: int) -> Placement:
    """Shrink the picture to the area when it is larger, then cut its sides to steps.

    A side may come out as 0 for pictures narrower than a step: such a picture has no bucket.
    """
    width, height = image_size
    area = resolution[0] * resolution[1]
    resized = image_size
    if width * height > area:
        ratio = width / height
        ideal_width = math.sqrt(area * ratio)
        ideal_height = area / ideal_width
        by_width = _round_to_steps(ideal_width, step)
        by_width_height = _round_to_steps(by_width / ratio, step)
        by_height = _round_to_steps(ideal_height, step)
        by_height_width = _round_to_steps(by_height * ratio, step)
        width_error = _ratio_error(by_width, by_width_height, ratio)
        height_error = _ratio_error(by_height_width, by_height, ratio)
        if width_error < height_error:
            resized = (by_width, int(by_width / ratio + 0.5))
        else:
            resized = (int(by_height * ratio + 0.5), by_height)
    return Placement((resized[0] - resized[0] % step, resized[1] - resized[1] % step), resized)


def _ratio_error(width: int, height: int, ratio: float) -> float:
    return abs(width / height - ratio) if height else math.inf


class Placer:
    """Places pictures into the buckets of one dataset; remembers sizes it has seen."""

    def __init__(self, settings: BucketSettings) -> None:
        self._settings = settings
        self._sizes = bucket_sizes(settings)
        self._seen: dict[Size, Placement] = {}

    def place(self, image_size: Size) -> Placement:
        """Bucket and size after resizing of a picture of `image_size`."""
        placement = self._seen.get(image_size)
        if placement is None:
            placement = self._seen[image_size] = self._compute(image_size)
        return placement

    def _compute(self, image_size: Size) -> Placement:
        settings = self._settings
        if settings.enable_bucket and settings.no_upscale:
            return _place_without_upscale(image_size, settings.resolution, settings.step)
        return _place_in_list(image_size, self._sizes)


def place(image_size: Size, settings: BucketSettings) -> Placement:
    """Bucket and size after resizing of one picture; use a `Placer` for many."""
    return Placer(settings).place(image_size)
