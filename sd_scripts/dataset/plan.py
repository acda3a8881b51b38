"""From options to a plan: which pictures are trained, in which buckets, with which captions.

Planning never changes a file, never raises for a user's mistake, and gives the same plan for the
same options and files; the GUI's preview and the trainer both stand on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sd_scripts.dataset.asking import datasets_asked_for
from sd_scripts.dataset.balance import balance_repeats
from sd_scripts.dataset.buckets import Placement, Placer, Size
from sd_scripts.dataset.findings import folder_findings
from sd_scripts.dataset.folders import folder_problem
from sd_scripts.dataset.index import PictureIndex, cache_folder
from sd_scripts.dataset.listing import list_folder
from sd_scripts.dataset.metadata_files import MetadataProblem
from sd_scripts.dataset.metadata_scan import metadata_findings, scan_metadata
from sd_scripts.dataset.pictures import MAX_PIXELS
from sd_scripts.dataset.samples import (
    DatasetPlan,
    PlannedDataset,
    PlannedSubset,
    Sample,
    SkippedPicture,
)
from sd_scripts.dataset.scan import FolderScan, FoundPicture, Progress, scan_folder
from sd_scripts.dataset.settings import DatasetSettings, SubsetSettings, native_resolution
from sd_scripts.dataset.words import count, some
from sd_scripts.errors import Problem, errors_among
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions

__all__ = [
    "DatasetPlan",
    "PlannedDataset",
    "PlannedSubset",
    "Progress",
    "Sample",
    "SkippedPicture",
    "plan_dataset",
]


def plan_dataset(
    data: DataOptions,
    caption: CaptionOptions,
    *,
    family: str | None = None,
    prediction_type: str | None = None,
    progress: Progress | None = None,
) -> DatasetPlan:
    """Plan what a job trains: read its folders, pictures and captions.

    `family` ("sd1", "sd2" or "sdxl") and `prediction_type` ("epsilon" or "v_prediction") decide
    the resolution where none is given. `progress` hears (text, done, total). Everything wrong is
    in the plan's `problems`; with an error among them there may be no samples.
    """
    if data.resolution is None:
        native = native_resolution(family, prediction_type)
        data = data.model_copy(update={"resolution": native})
    asked = datasets_asked_for(data, caption, family)
    index = PictureIndex(cache_folder(data.cache_dir))
    planner = _Planner(index, data.bad_images == "error", progress, list(asked.problems))
    datasets = [
        planner.plan(number, settings, place=asked.sizes_are_sound)
        for number, settings in enumerate(asked.datasets)
    ]
    if index.problem:
        planner.problems.append(index.problem)
    num_reg = sum(sample.num_repeats for sample in planner.samples if sample.is_reg)
    num_train = sum(sample.num_repeats for sample in planner.samples) - num_reg
    if not num_train and not errors_among(planner.problems):
        option = "dataset_config" if data.dataset_config else "train_data_dir"
        planner.problems.append(_nothing_to_train(asked.datasets, option))
    return DatasetPlan(
        datasets=tuple(datasets),
        samples=tuple(planner.samples),
        problems=tuple(dict.fromkeys(planner.problems)),
        num_train_images=num_train,
        num_reg_images=num_reg,
        notes=tuple(asked.notes),
    )


def _nothing_to_train(datasets: Sequence[DatasetSettings], option: str) -> Problem:
    only_reg = any(subset.is_reg for dataset in datasets for subset in dataset.subsets)
    return Problem(
        f"there are no pictures to train on{', only regularisation pictures' * only_reg}",
        option,
        "give a folder with pictures of what is to be learned",
    )


class _Placed(NamedTuple):
    """A picture with its place in a bucket and how often it is shown."""

    picture: FoundPicture
    placement: Placement
    repeats: int


@dataclass
class _Ready:
    """One scanned folder whose pictures are placed, and those that can't be."""

    settings: SubsetSettings
    scan: FolderScan = field(default_factory=FolderScan)
    placed: list[_Placed] = field(default_factory=list)
    skipped: list[SkippedPicture] = field(default_factory=list)


@dataclass
class _Planner:
    """Plans one dataset after the other, collecting samples and problems."""

    index: PictureIndex
    refuse_bad: bool
    progress: Progress | None
    problems: list[Problem]
    samples: list[Sample] = field(default_factory=list)

    def plan(self, number: int, settings: DatasetSettings, *, place: bool) -> PlannedDataset:
        """Scan, place and balance the folders of dataset `number`."""
        placer = Placer(settings.buckets) if place else None
        ready = [self._read(subset, placer) for subset in settings.subsets]
        self._balance(ready)
        counts: dict[Size, int] = {}
        for position, subset in enumerate(ready):
            for placed in subset.placed:
                if placed.repeats:
                    bucket = placed.placement.bucket
                    counts[bucket] = counts.get(bucket, 0) + placed.repeats
                    self._add_sample(number, position, subset.settings, placed)
        planned = tuple(_planned(subset) for subset in ready)
        return PlannedDataset(settings, planned, dict(sorted(counts.items())))

    def _add_sample(
        self, dataset: int, subset: int, settings: SubsetSettings, placed: _Placed
    ) -> None:
        picture, placement, repeats = placed
        self.samples.append(
            Sample(
                id=len(self.samples),
                dataset=dataset,
                subset=subset,
                path=settings.image_dir / picture.name,
                image_size=picture.info.size,
                bucket=placement.bucket,
                resized=placement.resized,
                caption=picture.caption,
                num_repeats=repeats,
                is_reg=settings.is_reg,
                flip=settings.flip_aug,
                random_crop=settings.random_crop,
                color_aug=settings.color_aug,
                face_crop_aug_range=settings.face_crop_aug_range,
                rules=settings.rules,
                resize_interpolation=settings.resize_interpolation,
            )
        )

    def _read(self, settings: SubsetSettings, placer: Placer | None) -> _Ready:
        """Scan one folder or metadata file, tell what was found, and place its pictures."""
        ready = _Ready(settings)
        if settings.metadata_file is not None:
            self._scan_metadata(ready)
        else:
            self._scan_folder(ready)
        ready.skipped += [SkippedPicture(bad.path, bad.reason) for bad in ready.scan.bad]
        if placer and (unfit := list(_place(ready, placer))):
            ready.skipped += unfit
            self.problems.append(_unfit(settings, unfit, refuse=self.refuse_bad))
        return ready

    def _scan_folder(self, ready: _Ready) -> None:
        settings = ready.settings
        try:
            listing = list_folder(settings.image_dir)
        except OSError as error:
            self.problems.append(folder_problem(settings.image_dir, settings.option, error))
            return
        ready.scan = scan_folder(listing, settings, self.index, self.progress)
        self.problems += folder_findings(listing, settings, ready.scan, refuse_bad=self.refuse_bad)

    def _scan_metadata(self, ready: _Ready) -> None:
        settings = ready.settings
        try:
            ready.scan, wrong = scan_metadata(settings, self.index, self.progress)
        except MetadataProblem as problem:
            self.problems.append(Problem(problem.message, settings.option, problem.hint))
            return
        self.problems += metadata_findings(settings, ready.scan, wrong, refuse_bad=self.refuse_bad)
        ready.skipped += [
            SkippedPicture(settings.image_dir / name, "is not there") for name in ready.scan.missing
        ]

    def _balance(self, ready: Sequence[_Ready]) -> None:
        """Show regularisation pictures as often as all the others together."""
        regular = [one for one in ready if one.settings.is_reg]
        num_train = sum(
            placed.repeats for one in ready if not one.settings.is_reg for placed in one.placed
        )
        own = [placed.repeats for one in regular for placed in one.placed]
        balanced = balance_repeats(num_train, own)
        rest = iter(balanced)
        for one in regular:
            one.placed = [placed._replace(repeats=next(rest)) for placed in one.placed]
        if num_train and (unused := balanced.count(0)):
            self.problems.append(
                Problem(
                    f"{unused} of {len(own)} regularisation pictures are not used: your own"
                    f" pictures are shown {num_train} times a pass, so as many of them are enough",
                    regular[0].settings.option,
                    "to use more of them, raise the repeats of your own pictures",
                    "warning",
                )
            )


def _place(ready: _Ready, placer: Placer) -> Iterator[SkippedPicture]:
    """Place the pictures of a folder; yields those that fit into no bucket."""
    for picture in ready.scan.pictures:
        width, height = picture.info.size
        placement = placer.place(picture.info.size)
        if not all(placement.bucket):
            reason = f"is too small ({width}x{height})"
        elif placement.resized[0] * placement.resized[1] > MAX_PIXELS:
            reason = f"is too narrow ({width}x{height})"
        else:
            ready.placed.append(_Placed(picture, placement, ready.settings.num_repeats))
            continue
        yield SkippedPicture(ready.settings.image_dir / picture.name, reason)


def _unfit(settings: SubsetSettings, unfit: Sequence[SkippedPicture], *, refuse: bool) -> Problem:
    told = some((f"{picture.path.name} {picture.reason}" for picture in unfit), between="; ")
    return Problem(
        f"{count(len(unfit), 'picture')} in {settings.where} can't be used: {told}",
        "bad_images",
        "delete them, or crop them to an ordinary shape",
        "error" if refuse else "warning",
    )


def _planned(ready: _Ready) -> PlannedSubset:
    folder, scan = ready.settings.image_dir, ready.scan
    return PlannedSubset(
        settings=ready.settings,
        num_images=len(scan.pictures) - len(ready.skipped) + len(scan.bad) + len(scan.missing),
        num_captions=scan.num_captions,
        missing_captions=tuple(folder / name for name in scan.without_caption),
        empty_captions=tuple(folder / name for name in scan.empty_captions),
        skipped=tuple(ready.skipped),
        num_unused=sum(not placed.repeats for placed in ready.placed),
    )
