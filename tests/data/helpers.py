"""Small pictures, plans and encoders for the tests of the data package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sd_scripts.data.identity import EncoderIdentity
from sd_scripts.data.latent_cache import LatentCache
from sd_scripts.data.long_work import EncodeSettings, Hooks
from sd_scripts.dataset.index import PictureIndex
from sd_scripts.dataset.plan import plan_dataset
from sd_scripts.dataset.samples import DatasetPlan
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions

QUIET = Hooks()
ENCODE = EncodeSettings(vae_batch_size=2, decode_threads=2)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth picture that differs by seed and is nowhere symmetric."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def make_folder(folder: Path, sizes: list[tuple[int, int]], captions: bool = True) -> Path:
    """Fill `folder` with numbered pictures and captions."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (width, height) in enumerate(sizes):
        picture(width, height, number).save(folder / f"{number:03d}.png")
        if captions:
            text = f"picture {number}, red, green, blue, large, small"
            (folder / f"{number:03d}.txt").write_text(text)
    return folder


def make_plan(
    root: Path, cache: Path, *, reg: Path | None = None, captions: CaptionOptions | None = None,
    **options: Any,
) -> DatasetPlan:  # fmt: skip
    """Plan a folder with small buckets, really by `plan_dataset`."""
    values: dict[str, Any] = {
        "train_data_dir": str(root),
        "reg_data_dir": str(reg) if reg else None,
        "resolution": 128,
        "enable_bucket": True,
        "min_bucket_reso": 64,
        "max_bucket_reso": 256,
        "train_batch_size": 2,
        "cache_dir": str(cache),
    }
    data = DataOptions.model_validate(values | options)
    rules = captions or CaptionOptions.model_validate({"caption_extension": ".txt"})
    plan = plan_dataset(data, rules, family="sd1")
    assert not plan.errors, plan.errors
    return plan


@dataclass
class _Distribution:
    parameters: Tensor


@dataclass
class _Encoded:
    latent_dist: _Distribution


class FakeVae(nn.Module):
    """Averages 8x8 pixels into 4 channels; log variance −4. Counts what it encodes."""

    def __init__(self, gain: float = 1.0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain, dtype=dtype))
        self.batches: list[tuple[int, ...]] = []

    @property
    def dtype(self) -> torch.dtype:
        return self.gain.dtype

    @property
    def device(self) -> torch.device:
        return self.gain.device

    def encode(self, pixels: Tensor) -> _Encoded:
        self.batches.append(tuple(pixels.shape))
        small = nn.functional.avg_pool2d(pixels.float(), 8)
        mean = torch.cat([small, small.mean(1, keepdim=True)], dim=1).to(self.dtype) * self.gain
        return _Encoded(_Distribution(torch.cat([mean, torch.full_like(mean, -4.0)], dim=1)))

    @property
    def num_encoded(self) -> int:
        return sum(shape[0] for shape in self.batches)


def make_cache(
    cache_dir: Path, *, weights: str = "vae", dtype: str = "float32", in_memory: bool = False
) -> LatentCache:
    identity = EncoderIdentity(weights, dtype)
    return LatentCache(cache_dir, identity, PictureIndex(cache_dir), in_memory=in_memory)


def filled_cache(
    plan: DatasetPlan, cache_dir: Path, vae: FakeVae | None = None, **changes: Any
) -> LatentCache:
    """A cache that holds the whole plan."""
    cache = make_cache(cache_dir, **changes)
    outcome = cache.encode(cache.plan(plan, QUIET), vae or FakeVae(), ENCODE, QUIET)  # type: ignore[arg-type]
    assert outcome.state == "complete"
    return cache
