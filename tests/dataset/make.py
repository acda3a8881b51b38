"""Small plans for tests, made without any picture on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sd_scripts.dataset.buckets import BucketSettings, Size
from sd_scripts.dataset.captions import CaptionRules
from sd_scripts.dataset.samples import DatasetPlan, PlannedDataset, PlannedSubset, Sample
from sd_scripts.dataset.settings import DatasetSettings, SubsetSettings

Spec = tuple[Size, int]  # bucket, repeats


def plan_of(*datasets: tuple[int, Sequence[Spec]], num_reg_images: int = 0) -> DatasetPlan:
    """A plan of datasets, each given as (batch size, [(bucket, repeats), ...])."""
    samples: list[Sample] = []
    planned: list[PlannedDataset] = []
    for number, (batch_size, specs) in enumerate(datasets):
        counts: dict[Size, int] = {}
        for bucket, repeats in specs:
            counts[bucket] = counts.get(bucket, 0) + repeats
            samples.append(
                Sample(
                    id=len(samples),
                    dataset=number,
                    subset=0,
                    path=Path(f"{len(samples):04d}.png"),
                    image_size=bucket,
                    bucket=bucket,
                    resized=bucket,
                    caption="",
                    num_repeats=repeats,
                    is_reg=False,
                    flip=False,
                    random_crop=False,
                    rules=CaptionRules(),
                )
            )
        subset = SubsetSettings(Path("pictures"), "folder pictures")
        settings = DatasetSettings(BucketSettings((512, 512)), batch_size, (subset,))
        planned.append(
            PlannedDataset(
                settings, (PlannedSubset(subset, len(specs)),), dict(sorted(counts.items()))
            )
        )
    shown = sum(sample.num_repeats for sample in samples)
    return DatasetPlan(tuple(planned), tuple(samples), (), shown - num_reg_images, num_reg_images)
