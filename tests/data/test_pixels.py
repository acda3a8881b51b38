"""Resizing, cropping and mirroring against plain definitions."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sd_scripts.data.latents import to_tensor
from sd_scripts.data.pixels import (
    PILLOW_FILTERS,
    Crop,
    choose_crop,
    crop_top_left,
    cut,
    load_pixels,
    resize,
)
from sd_scripts.dataset.captions import CaptionRules
from sd_scripts.dataset.pictures import PictureProblem
from sd_scripts.dataset.samples import Sample


def sample(**changes: Any) -> Sample:
    values: dict[str, Any] = {
        "id": 0, "dataset": 0, "subset": 0, "path": Path("x.png"), "image_size": (40, 30),
        "bucket": (64, 64), "resized": (85, 64), "caption": "", "num_repeats": 1,
        "is_reg": False, "flip": False, "random_crop": False, "rules": CaptionRules(),
    }  # fmt: skip
    return Sample(**(values | changes))


def noise(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(1)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def area_average(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """The mean over each new pixel's area, pixel by pixel, as the definition says."""

    def overlaps(old: int, new: int, index: int) -> list[tuple[int, float]]:
        low, high = index * old / new, (index + 1) * old / new
        touched = range(int(low), min(old, int(np.ceil(high))))
        return [(i, min(high, i + 1) - max(low, i)) for i in touched]

    result = np.zeros((height, width, 3))
    for y in range(height):
        for x in range(width):
            total = 0.0
            for row, row_part in overlaps(pixels.shape[0], height, y):
                for column, column_part in overlaps(pixels.shape[1], width, x):
                    part = row_part * column_part
                    total += part
                    result[y, x] += part * pixels[row, column]
            result[y, x] /= total
    return result


@pytest.mark.parametrize(
    "size", [(64, 48), (90, 80), (101, 40), (65, 97), (1, 1), (7, 97)], ids=str
)
def test_shrinking_averages_areas_exactly(size: tuple[int, int]) -> None:
    picture = noise(101, 97)
    expected = area_average(np.asarray(picture), *size)
    got = resize(picture, size)
    assert got.dtype == np.uint8
    assert got.shape == (size[1], size[0], 3)
    assert np.abs(got - expected).max() <= 0.501


def test_area_of_a_large_picture_is_put_together_from_pieces_without_a_seam() -> None:
    picture = noise(3001, 41)
    expected = area_average(np.asarray(picture), 700, 20)
    assert np.abs(resize(picture, (700, 20)) - expected).max() <= 0.501


def test_whole_factors_are_plain_means() -> None:
    picture = noise(64, 32)
    means = np.asarray(picture).reshape(8, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(resize(picture, (16, 8)) - means).max() <= 0.501


def test_growing_is_lanczos_and_so_is_growing_one_side_only() -> None:
    picture = noise(40, 30)
    for size in ((80, 60), (80, 30), (20, 60)):
        expected = np.asarray(picture.resize(size, Image.Resampling.LANCZOS))
        assert np.array_equal(resize(picture, size), expected)


def test_same_size_is_left_alone() -> None:
    picture = noise(40, 30)
    assert np.array_equal(resize(picture, (40, 30)), np.asarray(picture))


@pytest.mark.parametrize("name", sorted(PILLOW_FILTERS))
@pytest.mark.parametrize("size", [(20, 17), (80, 60)], ids=str)
def test_named_methods_are_used_both_ways(name: str, size: tuple[int, int]) -> None:
    picture = noise(40, 30)
    expected = np.asarray(picture.resize(size, PILLOW_FILTERS[name]))
    assert np.array_equal(resize(picture, size, name), expected)


def test_named_area_is_bilinear_where_a_side_grows() -> None:
    picture = noise(40, 30)
    expected = np.asarray(picture.resize((80, 20), Image.Resampling.BILINEAR))
    assert np.array_equal(resize(picture, (80, 20), "area"), expected)
    assert np.array_equal(resize(picture, (20, 20), "area"), resize(picture, (20, 20)))


def test_every_option_value_is_known() -> None:
    from typing import get_args

    from sd_scripts.options.groups.data import DataOptions

    annotation = DataOptions.model_fields["resize_interpolation"].annotation
    names = {name for part in get_args(annotation) for name in get_args(part)}
    assert names
    assert names <= {*PILLOW_FILTERS, "area"}


def test_centre_crop_is_half_of_the_trim_rounded_down() -> None:
    assert choose_crop(sample(), False) == Crop(10, 0, False)
    tall = sample(resized=(64, 91), image_size=(30, 42))
    assert choose_crop(tall, True) == Crop(0, 13, True)


def test_random_crops_reach_everywhere_and_follow_their_generator() -> None:
    crops = [choose_crop(sample(), False, random.Random(seed)) for seed in range(400)]
    assert {crop.left for crop in crops} == set(range(22))
    assert {crop.top for crop in crops} == {0}
    assert crops[5] == choose_crop(sample(), False, random.Random(5))


def test_cut_takes_the_crop_and_then_mirrors_it() -> None:
    pixels = np.asarray(noise(85, 64))
    plain = cut(pixels, Crop(10, 0, False), (64, 64))
    mirrored = cut(pixels, Crop(10, 0, True), (64, 64))
    assert np.array_equal(plain, pixels[:, 10:74])
    assert np.array_equal(mirrored, plain[:, ::-1])
    assert mirrored.flags.c_contiguous


@pytest.mark.parametrize("left", [0, 10, 21])
def test_crop_conditioning_is_where_the_crop_is_in_the_picture_that_is_shown(left: int) -> None:
    pixels = np.asarray(noise(85, 64))
    top, shown_left = crop_top_left(sample(), Crop(left, 0, True))
    shown = cut(pixels, Crop(left, 0, True), (64, 64))
    whole_mirrored = pixels[:, ::-1]
    assert top == 0
    assert np.array_equal(whole_mirrored[:, shown_left : shown_left + 64], shown)
    assert crop_top_left(sample(), Crop(left, 0, False)) == (0, left)


def test_tensor_is_minus_one_to_one_with_channels_first() -> None:
    pixels = np.zeros((1, 2, 3, 3), np.uint8)
    pixels[0, 1, 2] = [255, 0, 51]
    tensor = to_tensor(pixels)
    assert tensor.shape == (1, 3, 2, 3)
    assert tensor.is_contiguous()
    torch.testing.assert_close(tensor[0, :, 1, 2], torch.tensor([1.0, -1.0, -0.6]))


def test_pictures_are_turned_before_they_are_resized(tmp_path: Path) -> None:
    path = tmp_path / "größe 図.jpg"
    picture = noise(40, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it
    picture.save(path, exif=exif, quality=95, subsampling=0)
    pixels = load_pixels(sample(path=path, image_size=(30, 40), resized=(30, 40)))
    expected = np.asarray(picture.transpose(Image.Transpose.ROTATE_270))
    assert pixels.shape == (40, 30, 3)
    assert np.abs(pixels.astype(int) - expected).mean() < 25


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(b"no picture")
    with pytest.raises(PictureProblem, match=r"broken\.png"):
        load_pixels(sample(path=path))
