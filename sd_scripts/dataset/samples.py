"""The plan of what is trained: plain frozen data that previews, trainers and reports share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

from sd_scripts.dataset.buckets import Size
from sd_scripts.dataset.captions import CaptionRules
from sd_scripts.dataset.decisions import CropWindow
from sd_scripts.dataset.settings import DatasetSettings, SubsetSettings
from sd_scripts.errors import Problem, errors_among


class MaskSource(NamedTuple):
    """Where a mask is: the red channel of a mask file, or the alpha channel of the picture."""

    path: Path
    channel: Literal["red", "alpha"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture with its caption, as often as it is shown in an epoch.

    `id` is its place in `DatasetPlan.samples`. `dataset` and `subset` are places in
    `DatasetPlan.datasets` and in that dataset's `subsets`. Sizes are (width, height) in pixels:
    `image_size` as the picture is seen (after its EXIF rotation), `resized` covers `bucket`, which
    is cropped out of it. `caption` is the text before the caption pipeline: one line, or all lines
    when `rules.enable_wildcard` is on. `flip`, `random_crop`, `color_aug` and
    `face_crop_aug_range` say what may vary from one showing to the next. `mask` is what the loss is
    limited to. With a `window`, that part of the picture is taken for the whole of it: everything
    else, `image_size` too, is about the part.
    """

    id: int
    dataset: int
    subset: int
    path: Path
    image_size: Size
    bucket: Size
    resized: Size
    caption: str
    num_repeats: int
    is_reg: bool
    flip: bool
    random_crop: bool
    rules: CaptionRules
    resize_interpolation: str | None = None
    color_aug: bool = False
    face_crop_aug_range: tuple[float, float] | None = None
    mask: MaskSource | None = None
    window: CropWindow | None = None

    @property
    def has_fixed_pixels(self) -> bool:
        """Whether every showing has the same pixels (but for mirroring): they may be cached."""
        return not (self.random_crop or self.color_aug or self.face_crop_aug_range)


@dataclass(frozen=True)
class SkippedPicture:
    """A picture that is left out, and why, in plain words."""

    path: Path
    reason: str


@dataclass(frozen=True)
class PlannedSubset:
    """One folder as it was found. Counts are pictures, without repeats.

    `num_unused` counts regularisation pictures beyond what balancing needs, `num_held_out` those
    that are kept for validation. `bad_captions` tells why a picture's caption file can't be read.
    """

    settings: SubsetSettings
    num_images: int = 0
    num_captions: int = 0
    missing_captions: tuple[Path, ...] = ()
    empty_captions: tuple[Path, ...] = ()
    bad_captions: Mapping[Path, str] = field(default_factory=dict)
    skipped: tuple[SkippedPicture, ...] = ()
    num_unused: int = 0
    num_held_out: int = 0


@dataclass(frozen=True)
class PlannedDataset:
    """One dataset with its buckets; `bucket_counts` counts pictures with their repeats."""

    settings: DatasetSettings
    subsets: tuple[PlannedSubset, ...]
    bucket_counts: Mapping[Size, int]

    @property
    def num_batches(self) -> int:
        """Batches in one pass; the last one of each bucket may be short."""
        size = self.settings.batch_size
        return sum(-(-count // size) for count in self.bucket_counts.values())


@dataclass(frozen=True)
class DatasetPlan:
    """Everything that will be trained, and everything that is wrong with it.

    `num_train_images` and `num_reg_images` count pictures with their repeats. `notes` are plain
    sentences about what was found and chosen that are neither errors nor warnings. `validation`
    are the samples that are held out; their ids go on after those of `samples`.
    """

    datasets: tuple[PlannedDataset, ...]
    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...] = ()
    num_train_images: int = 0
    num_reg_images: int = 0
    notes: tuple[str, ...] = ()
    validation: tuple[Sample, ...] = ()

    @property
    def all_samples(self) -> tuple[Sample, ...]:
        """What is trained and what is held out: everything that may be encoded beforehand."""
        return self.samples + self.validation

    def for_validation(self) -> DatasetPlan:
        """The held-out samples as a plan of their own."""
        counts: list[dict[Size, int]] = [{} for _ in self.datasets]
        for sample in self.validation:
            buckets = counts[sample.dataset]
            buckets[sample.bucket] = buckets.get(sample.bucket, 0) + 1
        datasets = zip(self.datasets, counts, strict=True)
        return DatasetPlan(
            datasets=tuple(replace(one, bucket_counts=buckets) for one, buckets in datasets),
            samples=tuple(replace(one, id=place) for place, one in enumerate(self.validation)),
            num_train_images=len(self.validation),
        )

    @property
    def num_batches_per_epoch(self) -> int:
        """Batches in one pass over everything, for a single process."""
        return sum(dataset.num_batches for dataset in self.datasets)

    @property
    def errors(self) -> list[Problem]:
        """The problems that must be mended before training."""
        return errors_among(self.problems)

    @property
    def skipped(self) -> tuple[SkippedPicture, ...]:
        """Every picture that is left out."""
        return tuple(
            picture
            for dataset in self.datasets
            for subset in dataset.subsets
            for picture in subset.skipped
        )

    def fingerprint(self) -> str:
        """A hash of what `epoch_batches` depends on: the same plan gives the same order.

        A resumed run compares it to know whether its pictures are still the same ones.
        """
        digest = hashlib.blake2b(digest_size=16)
        for dataset in self.datasets:
            digest.update(f"dataset {dataset.settings.batch_size}\n".encode())
        for sample in self.samples:
            line = (sample.dataset, sample.path.name, sample.bucket, sample.num_repeats)
            digest.update(f"{line}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()
