"""What was asked for: the settings of datasets and their subsets, after every fallback."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sd_scripts.dataset.buckets import BucketSettings
from sd_scripts.dataset.captions import CaptionRules


@dataclass(frozen=True)
class SubsetSettings:
    """One folder of pictures and how it is used.

    `class_tokens` is the caption of pictures without a caption file. `where` names the subset in
    messages, for instance "folder 10_cat" or "subset 2 of dataset 1".
    """

    image_dir: Path
    where: str
    num_repeats: int = 1
    class_tokens: str | None = None
    is_reg: bool = False
    caption_extension: str = ".caption"
    flip_aug: bool = False
    random_crop: bool = False
    resize_interpolation: str | None = None
    rules: CaptionRules = field(default_factory=CaptionRules)


@dataclass(frozen=True)
class DatasetSettings:
    """Subsets that share one batch size and one set of buckets."""

    buckets: BucketSettings
    batch_size: int = 1
    subsets: tuple[SubsetSettings, ...] = ()
