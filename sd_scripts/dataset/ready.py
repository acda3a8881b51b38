"""One folder on its way into the plan: scanned, its pictures placed in buckets, some held out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sd_scripts.dataset.buckets import Placement, Placer, Size
from sd_scripts.dataset.decisions import CropWindow
from sd_scripts.dataset.pictures import MAX_PIXELS
from sd_scripts.dataset.samples import MaskSource, PlannedSubset, SkippedPicture
from sd_scripts.dataset.scan import FolderScan, FoundPicture
from sd_scripts.dataset.settings import SubsetSettings
from sd_scripts.dataset.words import count, some
from sd_scripts.errors import Problem


class Placed(NamedTuple):
    """A picture with its place in a bucket and how often it is shown."""

    picture: FoundPicture
    placement: Placement
    repeats: int


@dataclass
class Ready:
    """One scanned folder whose pictures are placed: to be trained, or held out."""

    settings: SubsetSettings
    scan: FolderScan = field(default_factory=FolderScan)
    placed: list[Placed] = field(default_factory=list)
    held_out: list[Placed] = field(default_factory=list)
    skipped: list[SkippedPicture] = field(default_factory=list)
    masks: dict[str, MaskSource] = field(default_factory=dict)
    windows: dict[str, CropWindow] = field(default_factory=dict)

    def size(self, picture: FoundPicture) -> Size:
        """The size of a picture, or of the part of it that is used."""
        window = self.windows.get(picture.name)
        return window.size if window else picture.info.size

    def path(self, placed: Placed) -> Path:
        """Where a picture lies."""
        return self.settings.image_dir / placed.picture.name


def place_pictures(ready: Ready, placer: Placer) -> Iterator[SkippedPicture]:
    """Place the pictures of a folder; yields those that fit into no bucket."""
    for picture in ready.scan.pictures:
        width, height = ready.size(picture)
        placement = placer.place((width, height))
        if not all(placement.bucket):
            reason = f"is too small ({width}x{height})"
        elif placement.resized[0] * placement.resized[1] > MAX_PIXELS:
            reason = f"is too narrow ({width}x{height})"
        else:
            ready.placed.append(Placed(picture, placement, ready.settings.num_repeats))
            continue
        yield SkippedPicture(ready.settings.image_dir / picture.name, reason)


def unfit_problem(
    settings: SubsetSettings, unfit: Sequence[SkippedPicture], *, refuse: bool
) -> Problem:
    told = some((f"{picture.path.name} {picture.reason}" for picture in unfit), between="; ")
    return Problem(
        f"{count(len(unfit), 'picture')} in {settings.where} can't be used: {told}",
        "bad_images",
        "delete them, or crop them to an ordinary shape",
        "error" if refuse else "warning",
    )


def planned_subset(ready: Ready) -> PlannedSubset:
    folder, scan = ready.settings.image_dir, ready.scan
    return PlannedSubset(
        settings=ready.settings,
        num_images=len(scan.pictures) - _num_unfit(ready),
        num_captions=scan.num_captions,
        missing_captions=tuple(folder / name for name in scan.without_caption),
        empty_captions=tuple(folder / name for name in scan.empty_captions),
        bad_captions={folder / name: one.reason for name, one in scan.bad_captions.items()},
        skipped=tuple(ready.skipped),
        num_unused=sum(not placed.repeats for placed in ready.placed),
        num_held_out=len(ready.held_out),
    )


def _num_unfit(ready: Ready) -> int:
    """Pictures that fit into no bucket: what else was skipped is not among those that were read."""
    scan = ready.scan
    return len(ready.skipped) - len(scan.bad) - len(scan.missing) - len(scan.excluded)
