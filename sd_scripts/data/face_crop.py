"""Crops around the face whose place a file name tells: what `face_crop_aug_range` does."""

from __future__ import annotations

import random
from typing import Final

from sd_scripts.data.pixels import Crop
from sd_scripts.dataset.faces import FaceBox
from sd_scripts.dataset.samples import Sample

_JITTER: Final = 20  # a crop moves by up to a 20th of the face


def choose_face_crop(sample: Sample, face: FaceBox, flipped: bool, rng: random.Random) -> Crop:
    """Crop around a face, at a size of the picture at which the crop is so many faces wide.

    The crop's shorter side is `face_crop_aug_range` times the face's longer one; no picture is
    enlarged for that, and it always covers its bucket. With `random_crop` the face may be
    anywhere, most often near the middle; else it is in the middle, moved by a 20th of its size
    where the range has a width.
    """
    assert sample.face_crop_aug_range is not None
    fewest, most = sample.face_crop_aug_range
    length, target = sample.image_size, sample.bucket
    cover = max(target[0] / length[0], target[1] / length[1])
    largest = max(cover, 1.0)

    def scale_for(times: float) -> float:
        wanted = min(target) / (max(face.width, face.height) * times)
        return min(max(wanted, cover), largest)

    scale = rng.uniform(scale_for(most), scale_for(fewest))
    jitter = int(max(face.width, face.height) * scale) // _JITTER if fewest != most else 0
    resized = (
        max(int(length[0] * scale + 0.5), target[0]),
        max(int(length[1] * scale + 0.5), target[1]),
    )
    corner = []
    for centre, whole, part in zip((face.x, face.y), resized, target, strict=True):
        middle = min(int(centre * scale + 0.5), whole)
        if sample.random_crop:
            reach = max(whole - middle, middle)
            moved = rng.randint(0, reach) + rng.randint(0, reach) - reach
        else:
            moved = rng.randint(-jitter, jitter)
        corner.append(min(max(middle - part // 2 + moved, 0), whole - part))
    return Crop(corner[0], corner[1], flipped, resized)
