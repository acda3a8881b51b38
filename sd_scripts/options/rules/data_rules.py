"""What must agree between pictures, sizes, captions and caches."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.errors import Problem
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.rules.registry import rule


@rule("train_data_dir", "in_json", "dataset_config")
def one_source(data: DataOptions) -> Iterator[Problem]:
    """Pictures come from exactly one place."""
    folder = "train_data_dir" if data.train_data_dir is not None else "in_json"
    is_given = data.train_data_dir is not None or data.in_json is not None
    if not is_given and data.dataset_config is None:
        yield Problem(
            "no pictures are given",
            "train_data_dir, dataset_config",
            "choose the folder of your pictures in train_data_dir",
        )
    if is_given and data.dataset_config is not None:
        yield Problem(
            "pictures are given twice, once of them by a dataset file",
            f"{folder}, dataset_config",
            "keep one of the two and empty the other",
        )


@rule("reg_data_dir", "dataset_config")
def regularisation_in_dataset_file(data: DataOptions) -> Iterator[Problem]:
    """A dataset file brings its own regularisation folders."""
    if data.reg_data_dir is not None and data.dataset_config is not None:
        yield Problem(
            "regularisation pictures of reg_data_dir are not used beside a dataset file",
            "reg_data_dir, dataset_config",
            "put the folder into the dataset file, as a subset with is_reg = true",
            severity="warning",
        )


@rule("min_bucket_reso", "max_bucket_reso", "enable_bucket")
def bucket_range(data: DataOptions) -> Iterator[Problem]:
    """The shortest side is not above the longest."""
    if data.enable_bucket and data.min_bucket_reso > data.max_bucket_reso:
        yield Problem(
            f"the shortest side {data.min_bucket_reso} is above the longest {data.max_bucket_reso}",
            "min_bucket_reso, max_bucket_reso",
            "usual are 256 and 1024, or 512 and 2048 for SDXL",
        )


@rule("bucket_reso_steps", "min_bucket_reso", "max_bucket_reso", "enable_bucket")
def bucket_steps(data: DataOptions) -> Iterator[Problem]:
    """Sizes of groups fall on steps that the U-Net can halve often enough."""
    if not data.enable_bucket:
        return
    step = data.bucket_reso_steps
    if step % 32:
        yield Problem(
            f"{step} is not a multiple of 32", "bucket_reso_steps", "use 64, or 32 with SDXL"
        )
        return
    bounds = {"min_bucket_reso": data.min_bucket_reso, "max_bucket_reso": data.max_bucket_reso}
    for name, side in bounds.items():
        if side % step:
            rounded = side // step * step + (0 if name == "min_bucket_reso" else step)
            yield Problem(
                f"{side} is not a multiple of bucket_reso_steps {step}; {rounded} is used",
                f"{name}, bucket_reso_steps",
                f"set it to {rounded}",
                severity="warning",
            )


@rule("resolution", "enable_bucket", "min_bucket_reso", "max_bucket_reso", "dataset_config")
def resolution_within_buckets(data: DataOptions) -> Iterator[Problem]:
    """The training size lies between the shortest and the longest side of the groups."""
    size = data.resolution
    if size is None or not data.enable_bucket or data.dataset_config is not None:
        return
    if max(size) > data.max_bucket_reso:
        yield Problem(
            f"the training size {size[0]} x {size[1]} is above the longest side "
            f"{data.max_bucket_reso}",
            "resolution, max_bucket_reso",
            f"raise max_bucket_reso to at least {max(size)} (usual: twice the resolution)",
        )
    if min(size) < data.min_bucket_reso:
        yield Problem(
            f"the training size {size[0]} x {size[1]} is below the shortest side "
            f"{data.min_bucket_reso}",
            "resolution, min_bucket_reso",
            f"lower min_bucket_reso to at most {min(size)}",
        )


@rule("resolution", "enable_bucket", "bucket_reso_steps", "dataset_config")
def resolution_fits_the_model(data: DataOptions) -> Iterator[Problem]:
    """A model works on squares of 8 pixels; groups are made on steps of bucket_reso_steps."""
    size = data.resolution
    if size is None or data.dataset_config is not None:
        return
    step = data.bucket_reso_steps if data.enable_bucket else 8
    if all(side % step == 0 for side in size):
        return
    better = tuple(max(64, (side + step // 2) // step * step) for side in size)
    hint = f"use {better[0]},{better[1]}"
    if data.enable_bucket:
        yield Problem(
            f"{size[0]} x {size[1]} is not a multiple of bucket_reso_steps {step}; pictures are "
            "trained somewhat smaller",
            "resolution, bucket_reso_steps",
            hint,
            severity="warning",
        )
    else:
        yield Problem(f"{size[0]} x {size[1]} is not a multiple of 8", "resolution", hint)


_PIXEL_CHANGES = {
    "random_crop": "cropped differently each time",
    "color_aug": "given other colours each time",
    "face_crop_aug_range": "cropped around faces anew each time",
}


@rule("cache_latents", *_PIXEL_CHANGES)
def crop_needs_pixels(data: DataOptions) -> Iterator[Problem]:
    """What is encoded once cannot be cropped or coloured anew each time."""
    chosen = data.model_dump(include=set(_PIXEL_CHANGES))
    for name, words in _PIXEL_CHANGES.items():
        if data.cache_latents and chosen[name]:
            yield Problem(
                f"cached pictures cannot be {words}",
                f"{name}, cache_latents",
                "switch one of the two off",
            )


@rule("persistent_data_loader_workers", "max_data_loader_n_workers")
def persistent_needs_workers(data: DataOptions) -> Iterator[Problem]:
    """There is nothing to keep without loader processes."""
    if data.persistent_data_loader_workers and data.max_data_loader_n_workers == 0:
        yield Problem(
            "there are no loader processes to keep",
            "persistent_data_loader_workers, max_data_loader_n_workers",
            "set max_data_loader_n_workers to 1 or more, or switch the other off",
            severity="warning",
        )


_CAPTION_CHANGES = {
    "shuffle_caption": "tags are shuffled",
    "enable_wildcard": "wildcards are chosen",
    "caption_dropout_rate": "captions are left out at random",
    "caption_dropout_every_n_epochs": "captions are left out in some epochs",
    "caption_tag_dropout_rate": "tags are left out at random",
    "token_warmup_step": "more tags are shown step by step",
}


@rule("cache_text_encoder_outputs", *_CAPTION_CHANGES)
def cached_captions_stay(data: DataOptions, caption: CaptionOptions) -> Iterator[Problem]:
    """What is encoded once cannot be worded anew each time."""
    if not data.cache_text_encoder_outputs:
        return
    chosen = caption.model_dump(include=set(_CAPTION_CHANGES))
    for name, words in _CAPTION_CHANGES.items():
        if chosen[name]:
            yield Problem(
                f"cached captions stay the same, but {words}",
                f"cache_text_encoder_outputs, {name}",
                "switch one of the two off",
            )


@rule("keep_tokens", "keep_tokens_separator")
def one_way_to_keep(caption: CaptionOptions) -> Iterator[Problem]:
    """A mark in the caption takes the place of a number of tags."""
    if caption.keep_tokens and caption.keep_tokens_separator:
        yield Problem(
            "in captions that hold the mark, the number of fixed tags is not used",
            "keep_tokens, keep_tokens_separator",
            "keep one of the two",
            severity="warning",
        )
