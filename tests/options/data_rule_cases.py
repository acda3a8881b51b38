"""Cases for the rules of pictures, captions and masks: rule, how bad, values, options named."""

from __future__ import annotations

from collections.abc import Mapping

DATA_CASES: list[tuple[str, str, Mapping[str, object], str]] = [
    ("one_source", "error", {"train_data_dir": None}, "train_data_dir, dataset_config"),
    ("one_source", "error", {"dataset_config": "d.toml"}, "train_data_dir, dataset_config"),
    (
        "regularisation_in_dataset_file",
        "warning",
        {"train_data_dir": None, "dataset_config": "d.toml", "reg_data_dir": "r"},
        "reg_data_dir, dataset_config",
    ),
    (
        "bucket_range",
        "error",
        {"enable_bucket": True, "min_bucket_reso": 2048},
        "min_bucket_reso, max_bucket_reso",
    ),
    (
        "bucket_steps",
        "error",
        {"enable_bucket": True, "bucket_reso_steps": 40},
        "bucket_reso_steps",
    ),
    (
        "bucket_steps",
        "warning",
        {"enable_bucket": True, "min_bucket_reso": 300},
        "min_bucket_reso, bucket_reso_steps",
    ),
    (
        "bucket_steps",
        "warning",
        {"enable_bucket": True, "max_bucket_reso": 1000},
        "max_bucket_reso, bucket_reso_steps",
    ),
    (
        "resolution_within_buckets",
        "error",
        {"enable_bucket": True, "resolution": 1280},
        "resolution, max_bucket_reso",
    ),
    (
        "resolution_within_buckets",
        "error",
        {"enable_bucket": True, "resolution": 128},
        "resolution, min_bucket_reso",
    ),
    ("resolution_fits_the_model", "error", {"resolution": "511"}, "resolution"),
    (
        "resolution_fits_the_model",
        "warning",
        {"resolution": "520", "enable_bucket": True},
        "resolution, bucket_reso_steps",
    ),
    (
        "crop_needs_pixels",
        "error",
        {"random_crop": True, "cache_latents": True},
        "random_crop, cache_latents",
    ),
    (
        "crop_needs_pixels",
        "error",
        {"random_crop": True, "cache_latents_to_disk": True},
        "random_crop, cache_latents",
    ),
    (
        "crop_needs_pixels",
        "error",
        {"color_aug": True, "cache_latents": True},
        "color_aug, cache_latents",
    ),
    (
        "crop_needs_pixels",
        "error",
        {"face_crop_aug_range": "2,4", "cache_latents": True},
        "face_crop_aug_range, cache_latents",
    ),
    (
        "one_source",
        "error",
        {"dataset_config": "d.toml", "train_data_dir": None, "in_json": "m.json"},
        "in_json, dataset_config",
    ),
    (
        "persistent_needs_workers",
        "warning",
        {"persistent_data_loader_workers": True, "max_data_loader_n_workers": 0},
        "persistent_data_loader_workers, max_data_loader_n_workers",
    ),
    (
        "one_way_to_keep",
        "warning",
        {"keep_tokens": 1, "keep_tokens_separator": "|||"},
        "keep_tokens, keep_tokens_separator",
    ),
    (
        "masks_are_given",
        "error",
        {"masked_loss": True},
        "masked_loss, conditioning_data_dir",
    ),
    (
        "masks_of_no_use",
        "warning",
        {"conditioning_data_dir": "m"},
        "conditioning_data_dir, masked_loss",
    ),
    (
        "one_kind_of_mask",
        "warning",
        {"masked_loss": True, "conditioning_data_dir": "m", "alpha_mask": True},
        "conditioning_data_dir, alpha_mask",
    ),
]
