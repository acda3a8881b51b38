"""A plan in words and small tables: what `--check_only` prints and the GUI shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sd_scripts.dataset.buckets import Size
from sd_scripts.dataset.pictures import shown
from sd_scripts.dataset.samples import (
    DatasetPlan,
    PlannedDataset,
    PlannedSubset,
    Sample,
    SkippedPicture,
)
from sd_scripts.dataset.words import count, some

_INDENT = " " * 11
_BUCKETS_A_LINE = 6


@dataclass(frozen=True)
class FolderSummary:
    """One folder: counts are pictures without repeats, `times_shown` is with them."""

    where: str
    path: Path
    is_reg: bool
    num_images: int
    num_repeats: int
    times_shown: int
    num_captions: int
    num_missing_captions: int
    num_empty_captions: int
    num_skipped: int
    num_unused: int
    caption_extension: str
    words: str | None


@dataclass(frozen=True)
class BucketSummary:
    """One bucket: how many showings a pass has in it, and in how many batches."""

    dataset: int
    size: Size
    times_shown: int
    num_batches: int


@dataclass(frozen=True)
class Summary:
    """The whole plan at a glance.

    `num_enlarged` counts pictures smaller than what they are trained at; `mean_cropped` is the
    average share of a picture's area that is cut off, from 0 to 1, and `most_cropped` the picture
    that loses most, with its share. `text` says all of it in lines for a terminal.
    """

    folders: tuple[FolderSummary, ...]
    buckets: tuple[BucketSummary, ...]
    skipped: tuple[SkippedPicture, ...]
    num_images: int
    num_reg_images: int
    num_enlarged: int
    mean_cropped: float
    most_cropped: tuple[Path, float] | None
    text: str


def summarise(plan: DatasetPlan) -> Summary:
    """Sum a plan up; also one with problems, or without any picture."""
    shown_times: dict[tuple[int, int], int] = {}
    for sample in plan.samples:
        key = (sample.dataset, sample.subset)
        shown_times[key] = shown_times.get(key, 0) + sample.num_repeats
    folders = tuple(
        _folder(subset, shown_times.get((number, position), 0))
        for number, dataset in enumerate(plan.datasets)
        for position, subset in enumerate(dataset.subsets)
    )
    buckets = tuple(
        bucket
        for number, dataset in enumerate(plan.datasets)
        for bucket in _buckets(number, dataset)
    )
    crops = [(cropped_share(sample), sample.path) for sample in plan.samples]
    share, path = max(crops, default=(0.0, None), key=lambda crop: crop[0])
    summary = Summary(
        folders=folders,
        buckets=buckets,
        skipped=plan.skipped,
        num_images=sum(not sample.is_reg for sample in plan.samples),
        num_reg_images=sum(sample.is_reg for sample in plan.samples),
        num_enlarged=sum(is_enlarged(sample) for sample in plan.samples),
        mean_cropped=sum(share for share, _ in crops) / len(crops) if crops else 0.0,
        most_cropped=(path, share) if path is not None and share > 0 else None,
        text="",
    )
    return Summary(**{**vars(summary), "text": "\n".join(_lines(plan, summary))})


def cropped_share(sample: Sample) -> float:
    """The share of a picture's area that training does not see, from 0 to 1."""
    seen = sample.bucket[0] * sample.bucket[1]
    return max(0.0, 1 - seen / (sample.resized[0] * sample.resized[1]))


def is_enlarged(sample: Sample) -> bool:
    """Whether the picture is smaller than what it is trained at."""
    return sample.resized[0] > sample.image_size[0] or sample.resized[1] > sample.image_size[1]


def _folder(subset: PlannedSubset, times_shown: int) -> FolderSummary:
    settings = subset.settings
    return FolderSummary(
        where=settings.where,
        path=settings.image_dir,
        is_reg=settings.is_reg,
        num_images=subset.num_images,
        num_repeats=settings.num_repeats,
        times_shown=times_shown,
        num_captions=subset.num_captions,
        num_missing_captions=len(subset.missing_captions),
        num_empty_captions=len(subset.empty_captions),
        num_skipped=len(subset.skipped),
        num_unused=subset.num_unused,
        caption_extension=settings.caption_extension,
        words=settings.class_tokens,
    )


def _buckets(number: int, dataset: PlannedDataset) -> Iterator[BucketSummary]:
    batch = dataset.settings.batch_size
    for size, times in dataset.bucket_counts.items():
        yield BucketSummary(number, size, times, -(-times // batch))


def _lines(plan: DatasetPlan, summary: Summary) -> Iterator[str]:
    total = f"{count(summary.num_images, 'picture')}, shown {plan.num_train_images} times a pass"
    if summary.num_reg_images:
        reg = count(summary.num_reg_images, "regularisation picture")
        total += f"; {reg}, shown {plan.num_reg_images} times"
    yield f"Pictures:  {total}"
    for folder in summary.folders:
        yield f"{_INDENT}{_folder_line(folder)}"
    for note in plan.notes:
        yield f"{_INDENT}{note}"
    if summary.skipped:
        names = (f"{picture.path.name} {picture.reason}" for picture in summary.skipped)
        told = some(names, between="; ")
        yield f"Left out:  {told}"
    yield from _bucket_lines(plan, summary)


def _folder_line(folder: FolderSummary) -> str:
    parts = [f"{count(folder.num_images, 'picture')} × {count(folder.num_repeats, 'repeat')}"]
    if folder.is_reg:
        parts = [f"{count(folder.num_images, 'regularisation picture')}"]
        parts.append(f"shown {folder.times_shown} times")
    parts.append(f"{count(folder.num_captions, 'caption')} ({folder.caption_extension})")
    if folder.words:
        parts.append(f"words “{shown(folder.words)}”")
    return f"{folder.where}: {', '.join(parts)}"


def _bucket_lines(plan: DatasetPlan, summary: Summary) -> Iterator[str]:
    for number, dataset in enumerate(plan.datasets):
        buckets = [bucket for bucket in summary.buckets if bucket.dataset == number]
        if not buckets:
            continue
        told = [f"{size[0]}x{size[1]}: {times}" for size, times in dataset.bucket_counts.items()]
        rows = [told[i : i + _BUCKETS_A_LINE] for i in range(0, len(told), _BUCKETS_A_LINE)]
        name = "Sizes:" if len(plan.datasets) == 1 else f"Sizes {number + 1}:"
        batches = count(dataset.num_batches, "batch", "batches")
        yield f"{name:<11}{count(len(told), 'bucket')}, {batches} a pass"
        for row in rows:
            yield f"{_INDENT}{' · '.join(row)}"
    if summary.num_enlarged:
        yield f"{_INDENT}{count(summary.num_enlarged, 'picture')} enlarged to fit"
    if summary.most_cropped:
        path, share = summary.most_cropped
        yield (
            f"{_INDENT}cropping cuts off {summary.mean_cropped:.0%} of a picture on average,"
            f" at most {share:.0%} ({shown(path.name)})"
        )
