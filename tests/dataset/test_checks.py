"""Sizes that can't work are refused with the sizes that do."""

from __future__ import annotations

import pytest

from sd_scripts.dataset.buckets import BucketSettings
from sd_scripts.dataset.checks import check_settings
from sd_scripts.dataset.settings import DatasetSettings
from sd_scripts.options.groups.data import DataOptions


def problems(family: str | None = "sd1", **settings):
    dataset = DatasetSettings(BucketSettings(**settings))
    return check_settings([dataset, dataset], DataOptions(), family)


@pytest.mark.parametrize(
    "settings",
    [
        {"resolution": (512, 512)},
        {"resolution": (520, 64)},
        {"resolution": (500, 500), "enable_bucket": True},
        {"resolution": (2048, 2048), "enable_bucket": True, "no_upscale": True},
    ],
)
def test_sound_sizes(settings):
    assert problems(**settings) == []


@pytest.mark.parametrize(
    ("settings", "option", "hint"),
    [
        ({"resolution": (500, 500)}, "resolution", "512,512"),
        ({"resolution": (70, 512)}, "resolution", "64,512"),
        (
            {"resolution": (128, 512), "enable_bucket": True},
            "resolution, min_bucket_reso",
            "128 or less",
        ),
        (
            {"resolution": (512, 1280), "enable_bucket": True},
            "resolution, max_bucket_reso",
            "1280 or more",
        ),
        (
            {"resolution": (512, 512), "enable_bucket": True, "step": 32},
            "bucket_reso_steps",
            "multiple of 64",
        ),
        (
            {
                "resolution": (512, 512),
                "enable_bucket": True,
                "min_size": 640,
                "max_size": 1280,
                "step": 640,
            },
            "resolution, bucket_reso_steps",
            "bucket_reso_steps to 64",
        ),
    ],
)
def test_sizes_that_cannot_work_are_told_once(settings, option, hint):
    (problem,) = problems(**settings)
    assert (problem.severity, problem.option) == ("error", option)
    assert hint in (problem.hint or "")


def test_sdxl_and_unknown_models_take_steps_of_32():
    settings = {"resolution": (1024, 1024), "enable_bucket": True, "step": 32}
    assert problems("sdxl", **settings) == problems(None, **settings) == []
    assert problems("sdxl", **{**settings, "step": 48})


def test_rounded_bounds_are_told():
    told = problems(resolution=(512, 512), enable_bucket=True, min_size=300, max_size=1000)
    assert [(problem.option, problem.severity) for problem in told] == [
        ("min_bucket_reso", "warning"),
        ("max_bucket_reso", "warning"),
    ]
    assert "256 is used" in told[0].message
    assert "1024 is used" in told[1].message


def test_wrong_sizes_still_let_folders_be_read(tmp_path):
    from tests.dataset.jobs import planned, told
    from tests.dataset.zoo import put

    put(tmp_path / "2_cat", "a.png")
    put(tmp_path / "2_cat", "b.png", b"no picture")
    plan = planned(tmp_path / "cache", train_data_dir=tmp_path, resolution="500,500")
    assert plan.samples == ()
    assert told(plan, "error", "resolution")
    assert told(plan, "warning", "bad_images")
