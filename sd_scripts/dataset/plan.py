"""From options to a plan: which pictures are trained, in which buckets, with which captions."""

from __future__ import annotations

from sd_scripts.dataset.samples import (
    DatasetPlan,
    PlannedDataset,
    PlannedSubset,
    Sample,
    SkippedPicture,
)

__all__ = [
    "DatasetPlan",
    "PlannedDataset",
    "PlannedSubset",
    "Sample",
    "SkippedPicture",
]
