"""From options to a plan: which pictures are trained, in which buckets, with which captions.

Planning never changes a file, never raises for a user's mistake, and gives the same plan for the
same options and files; the GUI's preview and the trainer both stand on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sd_scripts.dataset.asking import datasets_asked_for
from sd_scripts.dataset.balance import balance_repeats
from sd_scripts.dataset.buckets import Placer, Size
from sd_scripts.dataset.deciding import Decider, all_left_out
from sd_scripts.dataset.findings import folder_findings
from sd_scripts.dataset.folders import folder_problem
from sd_scripts.dataset.index import PictureIndex, cache_folder
from sd_scripts.dataset.listing import list_folder
from sd_scripts.dataset.masks import MaskFinder
from sd_scripts.dataset.metadata_files import MetadataProblem
from sd_scripts.dataset.metadata_scan import metadata_findings, scan_metadata
from sd_scripts.dataset.ready import (
    Placed,
    Ready,
    place_pictures,
    planned_subset,
    unfit_problem,
)
from sd_scripts.dataset.samples import (
    DatasetPlan,
    PlannedDataset,
    PlannedSubset,
    Sample,
    SkippedPicture,
)
from sd_scripts.dataset.scan import Progress, scan_folder
from sd_scripts.dataset.settings import (
    DatasetSettings,
    SubsetSettings,
    Values,
    native_resolution,
)
from sd_scripts.dataset.split import hold_out, without_chance
from sd_scripts.errors import Problem, errors_among
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.groups.validation import ValidationOptions

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
    validation: ValidationOptions | None = None,
    *,
    family: str | None = None,
    prediction_type: str | None = None,
    progress: Progress | None = None,
) -> DatasetPlan:
    """Plan what a job trains: read its folders, pictures and captions.

    `validation` says which share of the pictures is held out. `family` ("sd1", "sd2" or "sdxl")
    and `prediction_type` ("epsilon" or "v_prediction") decide the resolution where none is given.
    `progress` hears (text, done, total). Everything wrong is in the plan's `problems`; with an
    error among them there may be no samples.
    """
    if data.resolution is None:
        native = native_resolution(family, prediction_type)
        data = data.model_copy(update={"resolution": native})
    values = Values.of_options(data, caption, validation)
    asked = datasets_asked_for(data, values, family)
    decider = Decider.of_file(data.picture_decisions)
    asked.datasets = decider.with_repeats(asked.datasets)
    index = PictureIndex(cache_folder(data.cache_dir))
    planner = _Planner(index, data.bad_images == "error", progress, decider, list(asked.problems))
    ready = [planner.read(settings, place=asked.sizes_are_sound) for settings in asked.datasets]
    planner.masks.finish(asked.datasets, masked_loss=data.masked_loss)
    decider.finish(asked.datasets)
    planner.problems += decider.problems
    planner.hold_out(asked.datasets, ready)
    datasets = [
        planner.plan(number, settings, subsets)
        for number, (settings, subsets) in enumerate(zip(asked.datasets, ready, strict=True))
    ]
    first_id = len(planner.samples)
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
        notes=(*asked.notes, *decider.notes, *planner.notes),
        validation=tuple(
            replace(sample, id=first_id + place) for place, sample in enumerate(planner.validation)
        ),
    )


def _nothing_to_train(datasets: Sequence[DatasetSettings], option: str) -> Problem:
    only_reg = any(subset.is_reg for dataset in datasets for subset in dataset.subsets)
    return Problem(
        f"there are no pictures to train on{', only regularisation pictures' * only_reg}",
        option,
        "give a folder with pictures of what is to be learned",
    )


@dataclass
class _Planner:
    """Plans one dataset after the other, collecting samples and problems."""

    index: PictureIndex
    refuse_bad: bool
    progress: Progress | None
    decider: Decider
    problems: list[Problem]
    samples: list[Sample] = field(default_factory=list)
    validation: list[Sample] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.masks = MaskFinder(self.index, self.progress, self.problems)

    def read(self, settings: DatasetSettings, *, place: bool) -> list[Ready]:
        """Scan and place the folders of one dataset."""
        placer = Placer(settings.buckets) if place else None
        return [self._read(subset, placer) for subset in settings.subsets]

    def plan(
        self, number: int, settings: DatasetSettings, ready: Sequence[Ready]
    ) -> PlannedDataset:
        """Balance the folders of dataset `number` and make its samples."""
        self._balance(ready)
        counts: dict[Size, int] = {}
        for position, subset in enumerate(ready):
            for placed in subset.placed:
                if placed.repeats:
                    bucket = placed.placement.bucket
                    counts[bucket] = counts.get(bucket, 0) + placed.repeats
                    self.samples.append(self._sample((number, position), subset, placed))
            for placed in subset.held_out:
                sample = self._sample((number, position), subset, placed)
                self.validation.append(without_chance(sample))
        planned = tuple(planned_subset(subset) for subset in ready)
        return PlannedDataset(settings, planned, dict(sorted(counts.items())))

    def _sample(self, place: tuple[int, int], ready: Ready, placed: Placed) -> Sample:
        picture, placement, repeats = placed
        settings = ready.settings
        return Sample(
            id=len(self.samples),
            dataset=place[0],
            subset=place[1],
            path=ready.path(placed),
            image_size=ready.size(picture),
            bucket=placement.bucket,
            resized=placement.resized,
            caption=picture.caption,
            num_repeats=repeats,
            is_reg=settings.is_reg,
            flip=settings.flip_aug,
            random_crop=settings.random_crop,
            color_aug=settings.color_aug,
            face_crop_aug_range=settings.face_crop_aug_range,
            mask=ready.masks.get(picture.name),
            rules=settings.rules,
            resize_interpolation=settings.resize_interpolation,
            window=ready.windows.get(picture.name),
        )

    def _read(self, settings: SubsetSettings, placer: Placer | None) -> Ready:
        """Scan one folder or metadata file, tell what was found, and place its pictures."""
        ready = Ready(settings)
        if settings.metadata_file is not None:
            self._scan_metadata(ready)
        else:
            self._scan_folder(ready)
        self.decider.choose_windows(ready)
        ready.masks = self.masks.find(settings, ready.scan)
        ready.skipped += [SkippedPicture(bad.path, bad.reason) for bad in ready.scan.bad]
        if placer and (unfit := list(place_pictures(ready, placer))):
            ready.skipped += unfit
            self.problems.append(unfit_problem(settings, unfit, refuse=self.refuse_bad))
        return ready

    def _scan_folder(self, ready: Ready) -> None:
        settings = ready.settings
        try:
            listing = list_folder(settings.image_dir)
        except OSError as error:
            self.problems.append(folder_problem(settings.image_dir, settings.option, error))
            return
        listing, left_out = self.decider.without_excluded(listing)
        ready.scan = scan_folder(listing, settings, self.index, self.progress)
        ready.scan.excluded += [picture.path.name for picture in left_out]
        ready.skipped += left_out
        if left_out and not listing.pictures:
            self.problems.append(all_left_out(settings, len(left_out)))
            return
        self.problems += folder_findings(listing, settings, ready.scan, refuse_bad=self.refuse_bad)

    def _scan_metadata(self, ready: Ready) -> None:
        settings = ready.settings
        try:
            ready.scan, wrong = scan_metadata(settings, self.index, self.progress)
        except MetadataProblem as problem:
            self.problems.append(Problem(problem.message, settings.option, problem.hint))
            return
        ready.skipped += self.decider.exclude_from(ready)
        self.problems += metadata_findings(settings, ready.scan, wrong, refuse_bad=self.refuse_bad)
        ready.skipped += [
            SkippedPicture(settings.image_dir / name, "is not there") for name in ready.scan.missing
        ]

    def hold_out(
        self, datasets: Sequence[DatasetSettings], ready: Sequence[Sequence[Ready]]
    ) -> None:
        """Take what is kept for validation from every folder; nothing if no share is asked for."""
        if not any(settings.validation_split for settings in datasets):
            return
        try:
            taken = hold_out(self.index, datasets, ready, self.progress)
        except OSError as error:
            message = f"a picture can't be read any more: {error}"
            self.problems.append(Problem(message, "train_data_dir", "start again"))
            return
        self.problems += taken.problems
        self.notes += taken.notes

    def _balance(self, ready: Sequence[Ready]) -> None:
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
