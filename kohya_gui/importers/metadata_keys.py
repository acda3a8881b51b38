"""The entries of a trained file's metadata, by what can be made of each."""

from __future__ import annotations

from typing import Final

BASES: Final = ("sd_v1", "sd_v2", "sdxl_base")
"""Beginnings of `ss_base_model_version` for families that we train."""

ARCHITECTURES: Final = (
    "stable-diffusion-v1",
    "stable-diffusion-v2",
    "stable-diffusion-xl-v1",
)
"""Beginnings of `modelspec.architecture` for families that we train."""

UNET_PREFIXES: Final = ("lora_unet", "oft_unet")
TEXT_PREFIXES: Final = ("lora_te",)

SAME_KEYS_BY_LYCORIS: Final = {"networks.loha": "loha", "networks.lokr": "lokr"}
"""Modules of sd-scripts whose files LyCORIS writes likewise, and its algorithms."""

ONLY_NAMES: Final = {"ss_sd_model_name": "pretrained_model_name_or_path", "ss_vae_name": "vae"}
FOLDERS: Final = {"ss_dataset_dirs": "train_data_dir", "ss_reg_dataset_dirs": "reg_data_dir"}

OF_DATASETS: Final = {
    "batch_size_per_device": "train_batch_size",
    "resolution": "resolution",
    "enable_bucket": "enable_bucket",
    "min_bucket_reso": "min_bucket_reso",
    "max_bucket_reso": "max_bucket_reso",
    "resize_interpolation": "resize_interpolation",
}
OF_SUBSETS: Final = {
    "color_aug": "color_aug",
    "flip_aug": "flip_aug",
    "random_crop": "random_crop",
    "shuffle_caption": "shuffle_caption",
    "keep_tokens": "keep_tokens",
    "keep_tokens_separator": "keep_tokens_separator",
    "secondary_separator": "secondary_separator",
    "enable_wildcard": "enable_wildcard",
    "caption_prefix": "caption_prefix",
    "caption_suffix": "caption_suffix",
}

SPEC_OPTIONS: Final = {
    "modelspec.author": "metadata_author",
    "modelspec.description": "metadata_description",
    "modelspec.license": "metadata_license",
    "modelspec.tags": "metadata_tags",
    "modelspec.usage_hint": "metadata_usage_hint",
    "modelspec.merged_from": "metadata_merged_from",
    "modelspec.trigger_phrase": "metadata_trigger_phrase",
    "modelspec.preprocessor": "metadata_preprocessor",
    "modelspec.is_negative_embedding": "metadata_is_negative_embedding",
}

FINGERPRINT: Final = "a fingerprint of a file"
_COUNTED: Final = "counted from the pictures, which are looked at anew"
_RUN: Final = "tells of that run, not of its settings"
_MODEL: Final = "seen from the model's file"

FACTS: Final[dict[str, str]] = {
    **dict.fromkeys(
        ("ss_sd_model_hash", "ss_new_sd_model_hash", "ss_vae_hash", "ss_new_vae_hash"),
        FINGERPRINT,
    ),
    **dict.fromkeys(
        (
            "ss_num_train_images",
            "ss_num_validation_images",
            "ss_num_reg_images",
            "ss_num_batches_per_epoch",
            "ss_bucket_info",
            "ss_tag_frequency",
        ),
        _COUNTED,
    ),
    **dict.fromkeys(
        (
            "ss_session_id",
            "ss_training_started_at",
            "ss_training_finished_at",
            "ss_steps",
            "ss_epoch",
            "ss_sd_scripts_commit_hash",
            "modelspec.sai_model_spec",
            "modelspec.date",
            "modelspec.implementation",
            "modelspec.implementation_version",
            "modelspec.hash_sha256",
            "modelspec.unet_dtype",
            "modelspec.vae_dtype",
        ),
        _RUN,
    ),
    "ss_num_epochs": "ss_max_train_steps tells the length",
    "ss_total_batch_size": "ss_batch_size_per_device tells the batch size",
    "ss_lowram": "memory is looked after without it",
    "ss_base_model_version": _MODEL,
    "modelspec.architecture": _MODEL,
    "modelspec.resolution": "ss_resolution tells the size",
    "modelspec.encoder_layer": "ss_clip_skip tells it",
    "modelspec.thumbnail": "a picture; choose its file in metadata_thumbnail",
}
"""Entries that nothing is made of, and why."""

WORKED_OUT: Final = frozenset(
    {
        *ONLY_NAMES,
        *FOLDERS,
        "ss_network_module",
        "ss_network_dim",
        "ss_network_alpha",
        "ss_network_args",
        "ss_optimizer",
        "ss_v2",
        "ss_datasets",
    }
)
"""Entries that are no plain option values."""
