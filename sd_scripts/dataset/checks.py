"""What must fit together among settings before any picture is looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sd_scripts.dataset.buckets import BucketSettings, round_bounds
from sd_scripts.dataset.settings import DatasetSettings
from sd_scripts.errors import Problem
from sd_scripts.options.groups.data import DataOptions

_LATENT_STEP = 8  # one latent is 8 by 8 pixels
_STEPS = {"sd1": 64, "sd2": 64, "sdxl": 32}


def check_settings(
    datasets: Sequence[DatasetSettings], data: DataOptions, family: str | None
) -> list[Problem]:
    """Every problem of sizes and of options that exclude each other, each told once."""
    found: list[Problem] = []
    for dataset in datasets:
        found += check_sizes(dataset.buckets, family)
        found += _check_caches(dataset, data)
    return list(dict.fromkeys(found))


def check_sizes(buckets: BucketSettings, family: str | None) -> Iterator[Problem]:
    """What is wrong with the sizes of buckets; `family` says which steps are usual."""
    if not buckets.enable_bucket:
        yield from _check_single_size(buckets)
        return
    width, height = buckets.resolution
    wanted = _STEPS.get(family or "", 32)
    if buckets.step % wanted:
        yield Problem(
            f"sides of pictures can't be multiples of {buckets.step}",
            "bucket_reso_steps",
            f"choose a multiple of {wanted}; 64 is usual",
        )
        return
    if buckets.no_upscale:
        return
    low, high = round_bounds(buckets.min_size, buckets.max_size, buckets.step)
    for option, asked, rounded in (
        ("min_bucket_reso", buckets.min_size, low),
        ("max_bucket_reso", buckets.max_size, high),
    ):
        if asked != rounded:
            yield Problem(
                f"{asked} is no multiple of bucket_reso_steps ({buckets.step}); {rounded} is used",
                option,
                f"set it to {rounded}",
                "warning",
            )
    if min(width, height) < buckets.step:
        yield Problem(
            f"the resolution {width}x{height} is smaller than bucket_reso_steps ({buckets.step})",
            "resolution, bucket_reso_steps",
            "raise resolution, or set bucket_reso_steps to 64",
        )
    elif min(width, height) < low:
        yield Problem(
            f"the resolution {width}x{height} is smaller than min_bucket_reso ({low})",
            "resolution, min_bucket_reso",
            f"raise resolution, or set min_bucket_reso to {min(width, height)} or less",
        )
    if max(width, height) > high:
        yield Problem(
            f"the resolution {width}x{height} is larger than max_bucket_reso ({high})",
            "resolution, max_bucket_reso",
            f"lower resolution, or set max_bucket_reso to {max(width, height)} or more",
        )


def _check_single_size(buckets: BucketSettings) -> Iterator[Problem]:
    width, height = buckets.resolution
    if width % _LATENT_STEP or height % _LATENT_STEP:
        near = ",".join(str(max(64, round(side / 64) * 64)) for side in (width, height))
        yield Problem(
            f"the sides of {width}x{height} are no multiples of {_LATENT_STEP}",
            "resolution",
            f"choose {near}, or switch enable_bucket on, which finds fitting sizes",
        )


def _check_caches(dataset: DatasetSettings, data: DataOptions) -> Iterator[Problem]:
    """Caches hold one form of each picture and caption, so nothing may vary between steps."""
    for subset in dataset.subsets:
        varying = {
            "random_crop": (subset.random_crop, "are cropped at random"),
            "color_aug": (subset.color_aug, "change their colours at random"),
            "face_crop_aug_range": (subset.face_crop_aug_range, "are cropped around faces"),
        }
        for option, (is_on, words) in varying.items():
            if data.cache_latents and is_on:
                yield Problem(
                    f"{subset.where}: pictures that {words} can't be cached",
                    f"{option}, cache_latents",
                    "switch one of the two off",
                )
        if data.cache_text_encoder_outputs and not subset.rules.is_static:
            yield Problem(
                f"{subset.where}: captions that change from step to step can't be cached",
                "cache_text_encoder_outputs",
                "switch it off, or switch off shuffling, wildcards, drop-out and token warm-up",
            )
