"""Sizes and shapes: too small, extreme shapes, what cropping wastes, lonely and unequal groups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sd_scripts.dataset.buckets import Size
from sd_scripts.dataset.decisions import CropWindow
from sd_scripts.dataset.doctor.findings import Finding, Remedy
from sd_scripts.dataset.doctor.view import (
    View,
    are,
    leave_out,
    names,
    pictures_word,
    use_parts,
)
from sd_scripts.dataset.samples import PlannedSubset, Sample
from sd_scripts.dataset.summary import cropped_share
from sd_scripts.dataset.words import count

ENLARGED: Final = 1.25
"""A picture may be enlarged by a quarter: that loses no more than the softness of a usual photo.
Beyond, one sees that it was enlarged."""

EXTREME_RATIO: Final = 2.5
"""Buckets of 256 to 1024 pixels at 512 end at 4 : 1, but models saw few shapes beyond 2 : 1; a
screen is 16 : 9, a film 2.4 : 1."""

MUCH_CROPPED: Final = 0.2
"""More than a fifth of the picture is cut off: heads and feet begin to go. With buckets it is 5 %
on average."""

UNEQUAL: Final = 3.0
"""One folder is shown so many times as often as another: the rarer concept is then hardly learned
while the other is learned by heart."""


def too_small(view: View) -> Iterator[Finding]:
    """Pictures that are enlarged much for their bucket."""
    found = {
        sample.path: sample.resized[0] / sample.image_size[0]
        for sample, _ in view.sound()
        if sample.resized[0] > ENLARGED * sample.image_size[0]
    }
    if found:
        number = len(found)
        details = [f"enlarged {scale:.1f} times" for scale in found.values()]
        yield Finding(
            "too_small",
            "bad",
            f"{pictures_word(number)} {are(number, 'is', 'are')} too small: enlarged for training,"
            f" {are(number, 'it looks', 'they look')} soft. Find larger ones, or train at a smaller"
            " resolution.",
            names(found),
            details=dict(zip(names(found), details, strict=True)),
            remedies=(leave_out(found),),
        )


def extreme(view: View) -> Iterator[Finding]:
    """Very wide or very tall pictures."""
    found = {
        sample.path: sample
        for sample, _ in view.sound()
        if max(sample.image_size) > EXTREME_RATIO * min(sample.image_size)
    }
    if found:
        number = len(found)
        windows = {path: _middle(sample, _two_to_one(sample)) for path, sample in found.items()}
        yield Finding(
            "extreme_shape",
            "doubtful",
            f"{pictures_word(number)} {are(number, 'is', 'are')} far wider or taller than models"
            " ever saw.",
            names(found),
            details={
                name: "{} x {}".format(*sample.image_size)
                for name, sample in zip(names(found), found.values(), strict=True)
            },
            remedies=(use_parts(windows, "Use the middle, 2 : 1"), leave_out(found)),
        )


def _two_to_one(sample: Sample) -> Size:
    return (2, 1) if sample.image_size[0] > sample.image_size[1] else (1, 2)


def _middle(sample: Sample, ratio: Size) -> CropWindow:
    """The largest window of a shape in the middle of what is used."""
    (width, height), (across, down) = sample.image_size, ratio
    new_width = min(width, max(1, height * across // down))
    new_height = min(height, max(1, width * down // across))
    left, top = (width - new_width) // 2, (height - new_height) // 2
    if sample.window:
        left, top = left + sample.window.left, top + sample.window.top
    return CropWindow(left, top, left + new_width, top + new_height)


def cropped(view: View) -> Iterator[Finding]:
    """Pictures of which training cuts much off."""
    found = {
        sample.path: cropped_share(sample)
        for sample, _ in view.sound()
        if cropped_share(sample) > MUCH_CROPPED and not sample.random_crop
    }
    if found:
        number = len(found)
        buckets = all(one.settings.buckets.enable_bucket for one in view.plan.datasets)
        hint = (
            "Choose the part that counts yourself, or leave them out."
            if buckets
            else "Switch on “Keep picture shapes” (enable_bucket): then less is cut off."
        )
        yield Finding(
            "cropped",
            "doubtful",
            f"Of {pictures_word(number)}, more than a fifth is cut off before training. {hint}",
            names(found),
            details={
                name: f"{share:.0%} cut off"
                for name, share in zip(names(found), found.values(), strict=True)
            },
            remedies=(leave_out(found),),
        )


def lonely(view: View) -> Iterator[Finding]:
    """Buckets that do not fill one batch: such a step learns from few pictures and counts full."""
    windows: dict[Path, CropWindow] = {}
    paths: list[Path] = []
    buckets = 0
    for number, dataset in enumerate(view.plan.datasets):
        batch = dataset.settings.batch_size
        full = [size for size, times in dataset.bucket_counts.items() if times >= batch]
        short = {size for size, times in dataset.bucket_counts.items() if times < batch}
        buckets += len(short)
        for sample in view.samples:
            if sample.dataset == number and sample.bucket in short:
                paths.append(sample.path)
                if full:
                    windows[sample.path] = _middle(sample, _nearest(sample.bucket, full))
    if not paths:
        return
    remedies = [use_parts(windows, "Crop to the nearest size that others have")] if windows else []
    yield Finding(
        "lonely",
        "doubtful",
        f"{count(buckets, 'size')} of pictures {are(buckets, 'does', 'do')} not fill one batch:"
        f" {pictures_word(len(paths))} would be learned in short batches, each of which counts as"
        " much as a full one.",
        names(paths),
        remedies=(*remedies, leave_out(paths)),
    )


def _nearest(bucket: Size, others: list[Size]) -> Size:
    """The size of the most alike shape."""
    ratio = bucket[0] / bucket[1]
    return min(others, key=lambda size: abs(size[0] / size[1] - ratio))


def unequal(view: View) -> Iterator[Finding]:
    """Concepts (folders) of which one is shown far more often than another."""
    subsets: list[PlannedSubset] = [
        subset
        for dataset in view.plan.datasets
        for subset in dataset.subsets
        if not subset.settings.is_reg and subset.num_images and not subset.settings.metadata_file
    ]
    shown = [subset.num_images * subset.settings.num_repeats for subset in subsets]
    if len(shown) < 2 or max(shown) <= UNEQUAL * min(shown):
        return
    repeats = [max(1, round(max(shown) / subset.num_images)) for subset in subsets]
    folders = names(subset.settings.image_dir for subset in subsets)
    told = dict(zip(folders, repeats, strict=True))
    yield Finding(
        "unequal",
        "doubtful",
        f"One folder is shown {max(shown) / min(shown):.0f} times as often as"
        " another. What is shown rarely is hardly learned.",
        details={
            name: f"shown {times} times a pass" for name, times in zip(folders, shown, strict=True)
        },
        remedies=(Remedy("repeats", "Show all folders about equally often", repeats=told),),
    )
