"""Buckets against the known lists, and what must hold for every picture."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sd_scripts.dataset.buckets import (
    BucketSettings,
    Placement,
    Placer,
    bucket_sizes,
    make_bucket_resolutions,
    place,
    round_bounds,
)

AT_512 = "256x832 256x896 256x960 256x1024 320x704 320x768 384x640 448x576 512x512"
AT_1024 = (
    "512x1856 512x1920 512x1984 512x2048 576x1664 576x1728 576x1792 640x1536 640x1600 704x1408"
    " 704x1472 768x1280 768x1344 832x1216 896x1152 960x1088 1024x1024"
)


def with_transposes(text: str) -> list[tuple[int, int]]:
    sizes = [tuple(int(side) for side in size.split("x")) for size in text.split()]
    return sorted({size for width, height in sizes for size in ((width, height), (height, width))})


@pytest.mark.parametrize(
    ("side", "low", "high", "step", "number"),
    [
        (512, 256, 1024, 64, 17),
        (768, 256, 1024, 64, 19),
        (1024, 256, 1024, 64, 25),
        (1024, 512, 2048, 64, 33),
        (1024, 256, 2048, 64, 41),
        (1024, 256, 2048, 32, 81),
    ],
)
def test_the_known_numbers_of_buckets(side, low, high, step, number):
    sizes = make_bucket_resolutions((side, side), low, high, step)
    assert len(sizes) == number
    assert sizes == sorted(set(sizes))


def test_the_known_lists():
    assert make_bucket_resolutions((512, 512), 256, 1024, 64) == with_transposes(AT_512)
    assert make_bucket_resolutions((1024, 1024), 512, 2048, 64) == with_transposes(AT_1024)
    capped = make_bucket_resolutions((1024, 1024), 256, 1024, 64)
    assert all(1024 in size for size in capped)


@st.composite
def sizes_within_bounds(draw):
    """A size from 256 on, and bounds around it in whole steps."""
    step = draw(st.sampled_from([8, 32, 64]))
    high = draw(st.integers(max(8, 256 // step), 40)) * step
    width, height = (draw(st.integers(256, high)) for _ in range(2))
    low = draw(st.integers(2, 8)) * step
    return width, height, low, high, step


@given(sizes_within_bounds())
def test_buckets_stay_in_their_bounds(given_size):
    width, height, low, high, step = given_size
    assume(low <= min(width, height))
    sizes = make_bucket_resolutions((width, height), low, high, step)
    assert sizes
    for bucket_width, bucket_height in sizes:
        assert bucket_width % step == 0
        assert bucket_height % step == 0
        assert bucket_width * bucket_height <= width * height
        assert (bucket_height, bucket_width) in sizes


def test_bounds_are_rounded_outwards():
    assert round_bounds(256, 1024, 64) == (256, 1024)
    assert round_bounds(300, 1000, 64) == (256, 1024)


BUCKETED = BucketSettings((512, 512), enable_bucket=True)


@pytest.mark.parametrize(
    ("image", "bucket", "resized"),
    [
        ((512, 512), (512, 512), (512, 512)),
        ((448, 576), (448, 576), (448, 576)),  # is itself a bucket
        ((1024, 1024), (512, 512), (512, 512)),
        ((100, 100), (512, 512), (512, 512)),  # enlarged
        ((1024, 768), (576, 448), (597, 448)),
        ((768, 1024), (448, 576), (448, 597)),
        ((1920, 1080), (640, 384), (683, 384)),  # 1.78 is nearer to 1.67 than to 2.2
        ((10000, 100), (1024, 256), (25600, 256)),
    ],
)
def test_pictures_go_to_the_nearest_shape_and_cover_it(image, bucket, resized):
    assert place(image, BUCKETED) == Placement(bucket, resized)


@given(st.integers(1, 6000), st.integers(1, 6000))
def test_every_picture_covers_its_bucket(width, height):
    placement = place((width, height), BUCKETED)
    assert placement.bucket in bucket_sizes(BUCKETED)
    assert placement.resized[0] >= placement.bucket[0]
    assert placement.resized[1] >= placement.bucket[1]
    # one side fits exactly, so no more is cropped than the shape demands
    assert (
        placement.resized[0] == placement.bucket[0] or placement.resized[1] == placement.bucket[1]
    )


def test_without_buckets_all_pictures_have_one_size():
    settings = BucketSettings((512, 768))
    assert place((1000, 1000), settings) == Placement((512, 768), (768, 768))
    assert place((100, 300), settings) == Placement((512, 768), (512, 1536))


SMALL_STAYS = BucketSettings((512, 512), enable_bucket=True, no_upscale=True)


@pytest.mark.parametrize(
    ("image", "bucket", "resized"),
    [
        ((300, 200), (256, 192), (300, 200)),  # small ones are only cropped to steps
        ((512, 512), (512, 512), (512, 512)),
        ((1024, 1024), (512, 512), (512, 512)),
        # 4:3 at 512²: ideal 591 x 443; by height 384 -> 512 wide is exactly 4:3
        ((1024, 768), (512, 384), (512, 384)),
        # 16:9: ideal 683 x 384; by width 640 x 320 (2.0), by height 682 -> 640 x 384 (1.67)
        ((1920, 1080), (640, 384), (683, 384)),
        ((40, 400), (0, 384), (40, 400)),  # too narrow for any step
    ],
)
def test_without_enlarging_the_bucket_comes_from_the_picture(image, bucket, resized):
    assert place(image, SMALL_STAYS) == Placement(bucket, resized)


@given(st.integers(64, 4000), st.integers(64, 4000))
def test_without_enlarging_nothing_is_enlarged_and_areas_are_kept(width, height):
    assume(max(width, height) / min(width, height) < 8)
    placement = place((width, height), SMALL_STAYS)
    assert placement.resized[0] <= width
    assert placement.resized[1] <= height
    assert placement.bucket[0] <= placement.resized[0]
    assert placement.bucket[1] <= placement.resized[1]
    assert placement.bucket[0] * placement.bucket[1] <= 512 * 512
    assert placement.bucket[0] % 64 == placement.bucket[1] % 64 == 0


def test_a_placer_gives_the_same_as_place_again_and_again():
    placer = Placer(BUCKETED)
    for _ in range(2):
        assert placer.place((1024, 768)) == place((1024, 768), BUCKETED)
