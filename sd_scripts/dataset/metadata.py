"""What a trained file tells about its pictures: the ss_* keys that other programs show.

Keys and layout: sd-scripts, train_network.py. Everything is text; tables are JSON.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sd_scripts.dataset.pictures import shown
from sd_scripts.dataset.samples import DatasetPlan, PlannedDataset, PlannedSubset, Sample
from sd_scripts.dataset.settings import SubsetSettings


def dataset_metadata(plan: DatasetPlan, *, from_file: bool) -> dict[str, str]:
    """The ss_* keys that a plan decides; `from_file`: whether a dataset file described it."""
    facts: dict[str, Any] = {
        "ss_num_train_images": plan.num_train_images,
        "ss_num_validation_images": len(plan.validation),
        "ss_num_reg_images": plan.num_reg_images,
        "ss_num_batches_per_epoch": plan.num_batches_per_epoch,
        "ss_tag_frequency": tag_frequency(plan.samples, plan),
    }
    if from_file:
        facts["ss_datasets"] = [_dataset(plan, number) for number in range(len(plan.datasets))]
        facts["ss_dataset_dirs"] = _folders(plan, is_reg=None)
    else:
        facts["ss_dataset_dirs"] = _folders(plan, is_reg=False)
        facts["ss_reg_dataset_dirs"] = _folders(plan, is_reg=True)
        for dataset in plan.datasets[:1]:
            facts["ss_bucket_info"] = _bucket_info(plan, 0)
            facts["ss_resolution"] = str(dataset.settings.buckets.resolution)
            facts["ss_batch_size_per_device"] = dataset.settings.batch_size
    return {
        key: json.dumps(value) if isinstance(value, dict | list) else str(value)
        for key, value in facts.items()
    }


def tag_frequency(samples: Iterable[Sample], plan: DatasetPlan) -> dict[str, dict[str, int]]:
    """How many pictures of each folder carry each tag: lower case, split at commas."""
    found: dict[str, Counter[str]] = {}
    for sample in samples:
        subset = plan.datasets[sample.dataset].subsets[sample.subset]
        tags = found.setdefault(_source(subset.settings), Counter())
        for tag in sample.caption.split(","):
            if clean := tag.strip().lower():
                tags[clean] += 1
    return {folder: dict(tags) for folder, tags in found.items()}


def _name(folder: Path) -> str:
    return shown(folder.name or folder.absolute().name)


def _source(settings: SubsetSettings) -> str:
    """What a subset is called: its metadata file, or its folder."""
    return _name(settings.metadata_file or settings.image_dir)


def _folders(plan: DatasetPlan, *, is_reg: bool | None) -> dict[str, dict[str, int]]:
    """Repeats and picture counts by folder name; names that come again get a number."""
    found: dict[str, dict[str, int]] = {}
    for dataset in plan.datasets:
        for subset in dataset.subsets:
            if is_reg is not None and subset.settings.is_reg != is_reg:
                continue
            name = _source(subset.settings)
            key, number = name, 2
            while key in found:
                key, number = f"{name} ({number})", number + 1
            repeats = subset.settings.num_repeats
            found[key] = {"n_repeats": repeats, "img_count": subset.num_images}
    return found


def _bucket_info(plan: DatasetPlan, number: int) -> dict[str, Any] | None:
    dataset = plan.datasets[number]
    if not dataset.settings.buckets.enable_bucket:
        return None
    errors = [_ratio_error(sample) for sample in plan.samples if sample.dataset == number]
    return {
        "buckets": {
            str(place): {"resolution": list(size), "count": times}
            for place, (size, times) in enumerate(dataset.bucket_counts.items())
        },
        "mean_img_ar_error": sum(errors) / len(errors) if errors else 0.0,
    }


def _ratio_error(sample: Sample) -> float:
    width, height = sample.image_size
    return abs(sample.bucket[0] / sample.bucket[1] - width / height)


def _dataset(plan: DatasetPlan, number: int) -> dict[str, Any]:
    dataset = plan.datasets[number]
    own = [sample for sample in plan.samples if sample.dataset == number]
    buckets = dataset.settings.buckets
    return {
        "is_dreambooth": not any(one.settings.metadata_file for one in dataset.subsets),
        "batch_size_per_device": dataset.settings.batch_size,
        "num_train_images": _times(own, is_reg=False),
        "num_reg_images": _times(own, is_reg=True),
        "resolution": list(buckets.resolution),
        "enable_bucket": buckets.enable_bucket,
        "min_bucket_reso": buckets.min_size if buckets.enable_bucket else None,
        "max_bucket_reso": buckets.max_size if buckets.enable_bucket else None,
        "tag_frequency": tag_frequency(own, plan),
        "bucket_info": _bucket_info(plan, number),
        "resize_interpolation": _interpolation(dataset),
        "subsets": [_subset(subset) for subset in dataset.subsets],
    }


def _times(samples: Iterable[Sample], *, is_reg: bool) -> int:
    return sum(sample.num_repeats for sample in samples if sample.is_reg == is_reg)


def _interpolation(dataset: PlannedDataset) -> str | None:
    used = {subset.settings.resize_interpolation for subset in dataset.subsets}
    return used.pop() if len(used) == 1 else None


def _subset(subset: PlannedSubset) -> dict[str, Any]:
    settings, rules = subset.settings, subset.settings.rules
    facts = {
        "img_count": subset.num_images,
        "num_repeats": settings.num_repeats,
        "color_aug": settings.color_aug,
        "flip_aug": settings.flip_aug,
        "random_crop": settings.random_crop,
        "shuffle_caption": rules.shuffle_caption,
        "keep_tokens": rules.keep_tokens,
        "keep_tokens_separator": rules.keep_tokens_separator,
        "secondary_separator": rules.secondary_separator,
        "enable_wildcard": rules.enable_wildcard,
        "caption_prefix": rules.caption_prefix,
        "caption_suffix": rules.caption_suffix,
        "resize_interpolation": settings.resize_interpolation,
    }
    if settings.metadata_file is not None:
        return facts | {"metadata_file": _name(settings.metadata_file)}
    return facts | {
        "image_dir": _name(settings.image_dir),
        "class_tokens": settings.class_tokens,
        "is_reg": settings.is_reg,
    }
