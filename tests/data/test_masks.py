"""Masks follow their pictures exactly, cached or not, and changed masks are other entries."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sd_scripts.data.batch import Batch
from sd_scripts.data.latent_cache import LatentCache
from sd_scripts.data.latents import LatentScaling
from sd_scripts.data.loader import BatchSource, LoaderSettings
from sd_scripts.data.long_work import Hooks
from sd_scripts.data.mask_cache import mask_at_latents
from sd_scripts.dataset.plan import plan_dataset
from sd_scripts.dataset.samples import DatasetPlan
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions
from tests.data.helpers import ENCODE, QUIET, filled_cache, make_cache, make_plan, picture

SIZES = [(128, 128), (400, 100), (301, 300), (130, 128)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Grey pictures, each with a mask of the very same values."""
    for number, size in enumerate(SIZES):
        grey = picture(*size, number).convert("L")
        for name, mode, ending in (("2_cat", "RGB", "png"), ("masks/2_cat", "L", "webp")):
            place = tmp_path / name
            place.mkdir(parents=True, exist_ok=True)
            settings = {"lossless": True} if ending == "webp" else {}
            grey.convert(mode).save(place / f"{number:03d}.{ending}", **settings)
    return tmp_path


def plan_of(folder: Path, **options: Any) -> DatasetPlan:
    values = {"masked_loss": True, "conditioning_data_dir": str(folder / "masks")}
    pictures = folder / "pictures"
    if not pictures.exists():
        pictures.mkdir()
        shutil.move(folder / "2_cat", pictures / "2_cat")
    return make_plan(pictures, folder / "cache", **(values | options))


def batches(plan: DatasetPlan, cache: LatentCache | None, **changes: Any) -> list[Batch]:
    settings = LoaderSettings(**({"seed": 7, "total_steps": 100} | changes))
    source = BatchSource(plan, settings, scaling=LatentScaling(1.0), latents=cache)
    try:
        return list(source.epoch(1))
    finally:
        source.close()


def cache_of(plan: DatasetPlan, folder: Path, **changes: Any) -> LatentCache:
    cache = filled_cache(plan, folder / "cache", **changes)
    outcome, told = cache.masks.fill(plan, ENCODE, QUIET)
    assert (outcome.state, told) == ("complete", [])
    return cache


@pytest.mark.parametrize(
    ("options", "num_workers"),
    [
        ({}, 0),
        ({"flip_aug": True}, 0),
        ({"random_crop": True, "flip_aug": True}, 2),
        ({"resize_interpolation": "bicubic"}, 0),
        ({"resize_interpolation": "nearest", "enable_bucket": False}, 0),
    ],
)
def test_a_mask_is_resized_cropped_and_mirrored_as_its_picture(
    folder: Path, options: dict[str, Any], num_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    found = batches(plan_of(folder, **options), None, num_workers=num_workers)
    for batch in found:
        assert batch.pixels is not None
        assert batch.masks is not None
        red = ((batch.pixels[:, 0] + 1) * 127.5).round().to(torch.uint8)
        assert torch.equal(batch.masks, mask_at_latents(red))
    assert len({float(mask.mean()) for batch in found for mask in batch.masks}) > 3  # type: ignore[union-attr]


@pytest.mark.parametrize("in_memory", [False, True])
def test_cached_masks_are_those_of_the_pixels(folder: Path, in_memory: bool) -> None:
    plan = plan_of(folder, flip_aug=True)
    cached = batches(plan, cache_of(plan, folder, in_memory=in_memory))
    for one, other in zip(cached, batches(plan, None), strict=True):
        assert torch.equal(one.masks, other.masks)  # type: ignore[arg-type]


def test_an_average_over_each_latent() -> None:
    mask = torch.zeros(1, 8, 16, dtype=torch.uint8)
    mask[0, :4, :8] = 255
    mask[0, :, 8:] = 51
    torch.testing.assert_close(mask_at_latents(mask), torch.tensor([[[[0.5, 0.2]]]]))


def test_a_changed_mask_is_read_again_and_no_picture_is_encoded_again(folder: Path) -> None:
    plan = plan_of(folder)
    before = batches(plan, cache_of(plan, folder))
    Image.new("L", SIZES[0], 255).save(folder / "masks" / "2_cat" / "000.webp")
    plan = plan_of(folder)
    cache = make_cache(folder / "cache")
    assert not cache.plan(plan, QUIET).jobs
    outcome, _ = cache.masks.fill(plan, ENCODE, QUIET)
    assert outcome.num_done == 1
    after = batches(plan, cache)
    changed = [
        name
        for one, other in zip(before, after, strict=True)
        for name, old, new in zip(one.names, one.masks, other.masks, strict=True)  # type: ignore[arg-type]
        if not torch.equal(old, new)
    ]
    assert {Path(name).name for name in changed} == {"000.png"}


def test_with_masks_off_none_is_found_and_no_latent_is_made_again(folder: Path) -> None:
    """sd-scripts goes on using the mask that lies in its cache."""
    rgba = Image.new("RGBA", (128, 128), (200, 10, 10, 255))
    rgba.paste((0, 0, 0, 0), (0, 0, 64, 128))
    plan_of(folder)  # moves the pictures
    for number in range(len(SIZES)):
        rgba.save(folder / "pictures" / "2_cat" / f"{number:03d}.png")
    on, off = ({"masked_loss": False, "alpha_mask": is_on} for is_on in (True, False))
    plan = plan_of(folder, **on)
    masked = batches(plan, cache_of(plan, folder))
    for batch in masked:
        assert torch.equal(batch.masks[..., :8], torch.zeros(len(batch), 1, 16, 8))  # type: ignore[index]
        assert torch.equal(batch.masks[..., 8:], torch.ones(len(batch), 1, 16, 8))  # type: ignore[index]
    plan = plan_of(folder, **off)
    cache = make_cache(folder / "cache")
    assert not cache.plan(plan, QUIET).jobs
    assert all(batch.masks is None for batch in batches(plan, cache))
    assert all(batch.masks is None for batch in batches(plan, None))


def test_pictures_without_a_mask_count_everywhere(folder: Path) -> None:
    plan_of(folder)
    clear = Image.new("RGBA", SIZES[3], (9, 9, 9, 0))
    clear.save(folder / "pictures" / "2_cat" / "003.png")
    plan = plan_of(folder, masked_loss=False, alpha_mask=True, train_batch_size=4)
    cache = filled_cache(plan, folder / "cache")
    _, (told,) = cache.masks.fill(plan, ENCODE, QUIET)
    assert "003.png" in told.message
    assert told.severity == "warning"
    for found in (batches(plan, cache), batches(plan, None)):
        sums = {
            Path(name).name: float(mask.mean())
            for batch in found
            if batch.masks is not None
            for name, mask in zip(batch.names, batch.masks, strict=True)
        }
        assert sums.pop("003.png") == 0.0
        assert set(sums.values()) <= {1.0}
        assert sums


def test_a_damaged_mask_is_named_by_the_next_plan(folder: Path) -> None:
    plan_of(folder)
    file = folder / "masks" / "2_cat" / "001.webp"
    noise = np.random.default_rng(0).integers(0, 256, (100, 400), dtype=np.uint8)
    Image.fromarray(noise).save(file.with_suffix(".png"))
    file.unlink()
    data = bytearray(file.with_suffix(".png").read_bytes())
    data[5000:6000] = bytes(1000)
    file.with_suffix(".png").write_bytes(data)
    plan = plan_of(folder)
    outcome, _ = make_cache(folder / "cache").masks.fill(plan, ENCODE, QUIET)
    assert outcome.state == "broken"
    again = plan_dataset(
        DataOptions(
            train_data_dir=str(folder / "pictures"),
            masked_loss=True,
            conditioning_data_dir=str(folder / "masks"),
            resolution=(128, 128),
            cache_dir=str(folder / "cache"),
        ),
        CaptionOptions(),
        family="sd1",
    )
    assert "001.png" in " ".join(problem.message for problem in again.errors)


def test_reading_masks_can_be_stopped(folder: Path) -> None:
    plan = plan_of(folder)
    cache = make_cache(folder / "cache")
    outcome, told = cache.masks.fill(plan, ENCODE, Hooks(should_stop=lambda: True))
    assert (outcome.state, outcome.num_done, told) == ("stopped", 0, [])
