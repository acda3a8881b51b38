"""Colour shifts, crops around faces and at random, several resolutions of one folder."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sd_scripts.data.colors import ColorShift, choose_color, shift_color
from sd_scripts.data.face_crop import choose_face_crop
from sd_scripts.data.pixels import choose_crop, crop_top_left, letter_box, letter_box_top_left
from sd_scripts.dataset.faces import FaceBox, face_box
from sd_scripts.dataset.plan import plan_dataset
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions
from tests.data.helpers import QUIET, FakeVae, filled_cache, make_folder, make_plan, picture
from tests.data.test_loader import assert_same, source
from tests.data.test_pixels import sample


def test_a_third_of_all_showings_is_coloured_within_narrow_bounds() -> None:
    shifts = [choose_color(random.Random(seed)) for seed in range(3000)]
    chosen = [shift for shift in shifts if shift]
    assert 0.3 < len(chosen) / len(shifts) < 0.36
    hues = [shift.hue for shift in chosen if shift.gamma == 1.0]
    gammas = [shift.gamma for shift in chosen if shift.hue == 0.0]
    assert len(hues) + len(gammas) == len(chosen)
    assert -16 <= min(hues) < -14
    assert 14 < max(hues) <= 16
    assert 0.95 <= min(gammas) < 0.955
    assert 1.045 < max(gammas) <= 1.05


def test_hue_turns_and_gamma_bends() -> None:
    red = np.full((1, 1, 3), (255, 0, 0), np.uint8)
    assert np.array_equal(shift_color(red, ColorShift(hue=120)), [[[0, 255, 0]]])
    warm = shift_color(red, ColorShift(hue=14))[0, 0]
    assert warm[0] == 255 and 50 < warm[1] < 70 and warm[2] == 0  # noqa: PT018
    grey = np.full((1, 1, 3), 64, np.uint8)
    assert np.array_equal(shift_color(grey, ColorShift(hue=14)), grey)
    expected = round(255 * (64 / 255) ** 0.95)
    assert shift_color(grey, ColorShift(gamma=0.95))[0, 0].tolist() == [expected] * 3
    assert shift_color(np.array([[[0, 255, 0]]], np.uint8), ColorShift(gamma=1.05)).max() == 255


@pytest.mark.parametrize(
    ("name", "box"),
    [
        ("me_100_50_40_30.png", FaceBox(100, 50, 40, 30)),
        ("a_b_1_2_3_4.jpg", FaceBox(1, 2, 3, 4)),
        ("1_2_3_4.png", None),
        ("me_1_2_3_x.png", None),
        ("me_1_2_0_4.png", None),
        ("IMG_20240131_120000_1_2.jpg", None),
    ],
)
def test_the_name_tells_where_the_face_is(name: str, box: FaceBox | None) -> None:
    assert face_box(Path(name)) == box


def _face_sample(**changes: Any):
    values: dict[str, Any] = {
        "image_size": (600, 400), "bucket": (64, 64), "resized": (96, 64),
        "face_crop_aug_range": (2.0, 4.0),
    }  # fmt: skip
    return sample(**(values | changes))


def test_crops_hold_the_face_at_the_size_that_was_asked_for() -> None:
    face = FaceBox(500, 100, 40, 30)
    times, lefts = [], set()
    for seed in range(300):
        crop = choose_face_crop(_face_sample(), face, seed % 2 == 0, random.Random(seed))
        assert crop.resized is not None
        assert crop.resized[0] >= crop.left + 64 and crop.resized[1] >= crop.top + 64  # noqa: PT018
        scale = crop.resized[0] / 600
        times.append(64 / (40 * scale))
        lefts.add(crop.left)
        assert abs(crop.left + 32 - 500 * scale) <= 40 * scale / 20 + 1
    assert 1.95 < min(times) < 2.1
    assert 3.8 < max(times) < 4.05
    assert len(lefts) > 20


def test_a_face_crop_covers_its_bucket_and_enlarges_nothing() -> None:
    rng = random.Random(0)
    tiny = choose_face_crop(_face_sample(), FaceBox(10, 390, 4, 4), False, rng)
    assert tiny.resized == (600, 400)  # not larger than the picture is
    assert (tiny.left, tiny.top) == (0, 400 - 64)
    huge = choose_face_crop(_face_sample(), FaceBox(300, 200, 590, 390), False, rng)
    assert huge.resized == (96, 64)  # as small as covers the bucket
    small = _face_sample(image_size=(32, 48))
    assert choose_face_crop(small, FaceBox(16, 16, 8, 8), False, rng).resized == (64, 96)


def test_a_moved_face_crop_reaches_the_borders_but_prefers_the_face() -> None:
    moved = _face_sample(random_crop=True, face_crop_aug_range=(3.0, 3.0))
    lefts = [
        choose_face_crop(moved, FaceBox(300, 200, 40, 40), False, random.Random(seed)).left
        for seed in range(2000)
    ]
    assert min(lefts) == 0
    assert max(lefts) == 320 - 64
    middle = sum(64 <= left < 192 for left in lefts)
    assert middle > len(lefts) / 2


@pytest.mark.parametrize(
    "bucketing",
    [{"enable_bucket": False}, {"enable_bucket": True}, {"bucket_no_upscale": True}],
    ids=str,
)
def test_random_crops_reach_everywhere_in_every_bucket_mode(
    tmp_path: Path, bucketing: dict[str, Any]
) -> None:
    folder = make_folder(tmp_path / "p", [(333, 100), (101, 290), (150, 150)])
    plan = make_plan(folder, tmp_path / "cache", random_crop=True, **bucketing)
    assert len(plan.samples) == 3
    for one in plan.samples:
        assert one.random_crop
        crops = [choose_crop(one, False, random.Random(seed)) for seed in range(2000)]
        trim = (one.resized[0] - one.bucket[0], one.resized[1] - one.bucket[1])
        assert {crop.left for crop in crops} == set(range(trim[0] + 1))
        assert {crop.top for crop in crops} == set(range(trim[1] + 1))
        assert crop_top_left(one, crops[7]) == (crops[7].top, crops[7].left)


@pytest.fixture
def varied(tmp_path: Path) -> Any:
    folder = tmp_path / "faces"
    folder.mkdir()
    for number in range(4):
        face = "_150_90_40_50" if number else ""
        picture(300, 200 + 40 * number, number).save(folder / f"{number}{face}.png")
        (folder / f"{number}{face}.txt").write_text("a face")
    return make_plan(
        folder, tmp_path / "cache", flip_aug=True, random_crop=True, color_aug=True,
        face_crop_aug_range="2,4",
    )  # fmt: skip


def test_pictures_without_a_face_are_told(varied: Any) -> None:
    (problem,) = varied.problems
    assert problem.severity == "warning"
    assert "1 picture" in problem.message
    assert "0.png" in problem.message


def test_all_variations_are_equal_for_any_workers_and_from_the_middle(
    varied: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    alone = list(source(varied).epoch(2))
    for workers in (1, 4):
        assert_same(alone, list(source(varied, num_workers=workers).epoch(2)))
    assert_same(alone[1:], list(source(varied).epoch(2, start_batch=1)))
    other = list(source(varied).epoch(3))
    by_name = {
        name: pixels
        for batch in alone
        for name, pixels in zip(batch.names, batch.pixels, strict=True)
    }
    for batch in other:
        for name, pixels in zip(batch.names, batch.pixels, strict=True):
            assert not pixels.equal(by_name[name])


def test_switching_colours_on_moves_no_crop(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "p", [(300, 200), (200, 300)])
    plain = make_plan(folder, tmp_path / "cache", random_crop=True, flip_aug=True)
    coloured = make_plan(
        folder, tmp_path / "cache", random_crop=True, flip_aug=True, color_aug=True
    )
    for one, other in zip(source(plain).epoch(1), source(coloured).epoch(1), strict=True):
        assert one.crop_top_lefts.equal(other.crop_top_lefts)
        assert one.noise_seeds == other.noise_seeds


def test_sd_scripts_crop_values_are_those_of_a_letter_box(tmp_path: Path) -> None:
    assert letter_box((400, 100), (128, 128)) == (0.0, 48.0, 128.0, 80.0)
    tall = sample(image_size=(100, 400), bucket=(128, 128), resized=(128, 512))
    assert letter_box_top_left(tall, False) == (0, 48)
    assert letter_box_top_left(tall, True) == (0, 48)
    odd = sample(image_size=(300, 400), bucket=(128, 128), resized=(128, 171))
    assert letter_box((300, 400), (128, 128)) == (16.0, 0.0, 112.0, 128.0)
    assert crop_top_left(odd, choose_crop(odd, False)) == (21, 0)  # the real crop: the other axis
    folder = make_folder(tmp_path / "p", [(300, 400)])
    plan = make_plan(folder, tmp_path / "cache", enable_bucket=False)
    (true,) = source(plan).epoch(1)
    (known,) = source(plan, letter_box_crops=True).epoch(1)
    assert true.crop_top_lefts.tolist() == [[21, 0]]
    assert known.crop_top_lefts.tolist() == [[0, 16]]
    assert true.original_sizes.equal(known.original_sizes)


def test_one_folder_at_several_resolutions(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "p", [(300, 200), (200, 300), (256, 256)])
    sets = "".join(
        f"[[datasets]]\nresolution = {size}\nbatch_size = {batch}\n[[datasets.subsets]]\n"
        f"image_dir = '{folder}'\n"
        for size, batch in ((64, 3), (128, 1))
    )
    config = tmp_path / "set.toml"
    config.write_text("[general]\ncaption_extension = '.txt'\nflip_aug = true\n" + sets)
    data = DataOptions.model_validate({"dataset_config": str(config), "cache_dir": str(tmp_path)})
    plan = plan_dataset(data, CaptionOptions(), family="sd1")
    assert plan.problems == ()
    assert [dataset.num_batches for dataset in plan.datasets] == [1, 3]
    vae = FakeVae()
    cache = filled_cache(plan, tmp_path / "cache", vae)
    assert vae.num_encoded == 3 * 2 * 2
    shapes = sorted(tuple(batch.latents.shape) for batch in source(plan, cache).epoch(1))
    assert shapes == [(1, 4, 16, 16)] * 3 + [(3, 4, 8, 8)]
    again = cache.plan(plan, QUIET)
    assert (again.jobs, again.num_reused) == ((), 6)
    picture(300, 200, 9).save(folder / "000.png")
    assert cache.plan(plan, QUIET).reasons == {"edited": 2}
