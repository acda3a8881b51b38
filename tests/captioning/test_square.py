"""Pixels as a tagger gets them, against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sd_scripts.captioning.square import bgr_square, white_square


def picture(pixels: list[list[tuple[int, int, int]]]) -> Image.Image:
    return Image.fromarray(np.array(pixels, np.uint8))


@pytest.mark.parametrize(
    ("size", "corner"), [((2, 5), (1, 0)), ((5, 2), (0, 1)), ((4, 3), (0, 0)), ((3, 3), (0, 0))]
)
def test_a_picture_stands_in_the_middle_of_a_white_square(
    size: tuple[int, int], corner: tuple[int, int]
) -> None:
    square = white_square(Image.new("RGB", size, (1, 2, 3)))
    side = max(size)
    expected = np.full((side, side, 3), 255, np.uint8)
    left, top = corner
    expected[top : top + size[1], left : left + size[0]] = (1, 2, 3)
    assert np.array_equal(np.asarray(square), expected)


def test_colours_are_turned_round_and_areas_averaged() -> None:
    # 4 x 2 becomes 4 x 4 with a white row above and below, then 2 x 2.
    top = [(255, 0, 0), (255, 0, 0), (0, 0, 255), (0, 0, 255)]
    pixels = bgr_square(picture([top, [(0, 0, 0)] * 4]), 2)
    assert pixels.dtype == np.uint8
    # Mean of two white pixels and two of red: red 255, others 127.5, which rounds to even.
    assert pixels.tolist() == [
        [[128, 128, 255], [255, 128, 128]],
        [[128, 128, 128], [128, 128, 128]],
    ]


def test_areas_count_with_their_fractions() -> None:
    # Three columns into two: each new one is 2/3 of an outer and 1/3 of the middle column.
    row = [(0, 0, 0), (90, 90, 90), (255, 255, 255)]
    pixels = bgr_square(picture([row] * 3), 2)
    assert pixels[0, :, 0].tolist() == [30, 200]


def test_a_small_picture_is_enlarged_by_lanczos() -> None:
    small = picture([[(0, 0, 0), (200, 0, 0)], [(0, 100, 0), (0, 0, 50)]])
    expected = np.asarray(small.resize((5, 5), Image.Resampling.LANCZOS))[:, :, ::-1]
    assert np.array_equal(bgr_square(small, 5), expected)
    assert np.array_equal(bgr_square(small, 2), np.asarray(small)[:, :, ::-1])
