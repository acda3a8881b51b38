"""What a trained file tells about its pictures: the part of the ss_* metadata a plan decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sd_scripts.dataset.metadata import dataset_metadata
from sd_scripts.dataset.samples import DatasetPlan


@dataclass(frozen=True)
class DatasetFacts:
    """The ready `ss_*` entries about the pictures; all values are texts, tables JSON."""

    entries: Mapping[str, str] = field(default_factory=dict)


def facts_from_plan(plan: DatasetPlan, *, from_dataset_config: bool) -> DatasetFacts:
    """Gather the entries of a plan.

    A data set given as a dataset file is told as a list of data sets (`ss_datasets`); one given by
    the folder options as single entries, in which bucket bounds that are not used are None.
    """
    entries = dataset_metadata(plan, from_file=from_dataset_config)
    if not from_dataset_config:
        buckets = plan.datasets[0].settings.buckets
        used = buckets.enable_bucket
        entries |= {
            "ss_enable_bucket": str(used),
            "ss_bucket_no_upscale": str(used and buckets.no_upscale),
            "ss_min_bucket_reso": str(buckets.min_size if used else None),
            "ss_max_bucket_reso": str(buckets.max_size if used else None),
        }
    return DatasetFacts(entries)
