"""A crop window is as good as a cropped file: pixels, masks, caches, and what the model is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sd_scripts.data.kohya_latents import KohyaLatents, write_latents
from sd_scripts.dataset.decisions import CropWindow
from sd_scripts.dataset.faces import face_in_window
from sd_scripts.dataset.samples import DatasetPlan
from tests.data.helpers import QUIET, filled_cache, make_plan, picture
from tests.data.test_masks import batches

WINDOW = CropWindow(30, 20, 230, 170)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A picture and its mask, each whole and beside that already cropped."""
    for name, place in (("picture", "pictures/1_x"), ("mask", "masks/1_x")):
        for kind in ("whole", "cut"):
            image = picture(300, 200, 1)
            target = tmp_path / kind / place
            target.mkdir(parents=True)
            image = image.crop(WINDOW) if kind == "cut" else image
            (image.convert("L") if name == "mask" else image).save(target / "a.png")
    decisions = {"version": 1, "folder": "pictures", "pictures": {"1_x/a.png": {"crop": WINDOW}}}
    (tmp_path / "whole" / "decisions.json").write_text(json.dumps(decisions))
    return tmp_path


def plan_of(folder: Path, kind: str, **options: Any) -> DatasetPlan:
    root = folder / kind
    masks = str(root / "masks")
    values: dict[str, Any] = {"masked_loss": True, "conditioning_data_dir": masks}
    values["flip_aug"] = True
    if kind == "whole":
        values["picture_decisions"] = str(root / "decisions.json")
    return make_plan(root / "pictures", folder / "cache", **(values | options))


@pytest.mark.parametrize("workers", [0, 2])
def test_pixels_and_what_is_told_are_those_of_a_cropped_file(folder: Path, workers: int) -> None:
    (whole,), (cut,) = (
        batches(plan_of(folder, kind), None, num_workers=workers) for kind in ("whole", "cut")
    )
    assert whole.pixels is not None
    assert cut.pixels is not None
    assert whole.masks is not None
    assert cut.masks is not None
    assert torch.equal(whole.pixels, cut.pixels)
    assert torch.equal(whole.masks, cut.masks)
    for name in ("original_sizes", "crop_top_lefts", "target_sizes"):
        assert torch.equal(getattr(whole, name), getattr(cut, name))


def test_cached_latents_and_masks_know_their_window(folder: Path) -> None:
    whole, cut = plan_of(folder, "whole"), plan_of(folder, "cut")
    cache = filled_cache(whole, folder / "cache")
    again = filled_cache(cut, folder / "cache_of_cut")
    moments = cache.moments(whole.samples[0], False)
    assert torch.equal(moments, again.moments(cut.samples[0], False))
    unwindowed = plan_of(folder, "whole", picture_decisions=None)
    encoding = cache.plan(unwindowed, QUIET)
    assert encoding.reasons == {"another crop window": 1}
    assert cache.plan(whole, QUIET).jobs == ()


def test_files_of_sd_scripts_are_neither_read_nor_written(folder: Path) -> None:
    whole = plan_of(folder, "whole", masked_loss=False, conditioning_data_dir=None)
    np.savez(whole.samples[0].path.with_suffix(".npz"), latents=np.zeros((4, 16, 16), np.float32))
    files = KohyaLatents("sd1")
    files.look(whole.samples)
    assert not files.found
    assert list(write_latents(whole.samples, "sd1", lambda *_: torch.zeros(8, 16, 16))) == []


def test_a_face_is_counted_from_the_window() -> None:
    name = Path("a_100_60_40_40.png")
    assert face_in_window(name, None) == (100, 60, 40, 40)
    assert face_in_window(name, WINDOW) == (70, 40, 40, 40)
    assert face_in_window(name, CropWindow(0, 0, 90, 90)) is None
