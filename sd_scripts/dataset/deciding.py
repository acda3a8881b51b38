"""Decisions about pictures on their way into the plan: what they leave out, crop and repeat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sd_scripts.dataset.decision_files import about_another_folder, read_decisions
from sd_scripts.dataset.decisions import Decisions, PictureDecision
from sd_scripts.dataset.listing import Listing
from sd_scripts.dataset.pictures import shown
from sd_scripts.dataset.ready import Ready
from sd_scripts.dataset.samples import SkippedPicture
from sd_scripts.dataset.settings import DatasetSettings, SubsetSettings
from sd_scripts.dataset.words import count, some
from sd_scripts.errors import Problem, UserError

_OPTION = "picture_decisions"


@dataclass
class Decider:
    """Applies the decisions of one file to one folder after the other; without a file, nothing."""

    file: Path | None = None
    decisions: Decisions | None = None
    problems: list[Problem] = field(default_factory=list)
    num_excluded: int = 0
    num_cropped: int = 0
    num_folders: int = 0
    _used: int = 0

    @classmethod
    def of_file(cls, text: str | None) -> Decider:
        """Read the file that the option names, if it names one."""
        if text is None:
            return cls()
        file = Path(text).expanduser()
        try:
            return cls(file, read_decisions(file))
        except UserError as error:
            return cls(file, problems=list(error.problems))

    def with_repeats(self, datasets: Sequence[DatasetSettings]) -> list[DatasetSettings]:
        """Return the datasets with the repeats that were decided for their folders."""
        return [
            replace(dataset, subsets=tuple(self._repeated(subset) for subset in dataset.subsets))
            for dataset in datasets
        ]

    def _repeated(self, subset: SubsetSettings) -> SubsetSettings:
        if self.decisions is None:
            return subset
        self._used += self.decisions.name_of(subset.image_dir) is not None
        times = self.decisions.repeats_of(subset.image_dir)
        if times is None:
            return subset
        self.num_folders += 1
        return replace(subset, num_repeats=times)

    def without_excluded(self, listing: Listing) -> tuple[Listing, list[SkippedPicture]]:
        """Return a folder's contents without the pictures that are left out, and those."""
        if self.decisions is None:
            return listing, []
        left_out = {
            name: decision
            for name, decision in self.decisions.names_in(listing.folder).items()
            if decision.exclude and name in listing.pictures
        }
        if not left_out:
            return listing, []
        self.num_excluded += len(left_out)
        kept = tuple(name for name in listing.pictures if name not in left_out)
        skipped = [_skipped(listing.folder / name, one) for name, one in sorted(left_out.items())]
        return replace(listing, pictures=kept), skipped

    def exclude_from(self, ready: Ready) -> list[SkippedPicture]:
        """Take what is left out from a scan that names pictures of several folders."""
        if self.decisions is None:
            return []
        decisions, scan, folder = self.decisions, ready.scan, ready.settings.image_dir
        names = [picture.name for picture in scan.pictures]
        names += [str(bad.path) for bad in scan.bad]
        found = {name: decisions.of(folder / name) for name in names}
        left_out = {name: decision for name, decision in found.items() if decision.exclude}
        scan.pictures = [one for one in scan.pictures if one.name not in left_out]
        scan.bad = [one for one in scan.bad if str(one.path) not in left_out]
        for names in (scan.without_caption, scan.other_sizes):
            names[:] = [name for name in names if name not in left_out]
        scan.excluded += left_out
        self.num_excluded += len(left_out)
        return [_skipped(folder / name, one) for name, one in left_out.items()]

    def choose_windows(self, ready: Ready) -> None:
        """Note which part of each picture is used; a window that does not fit is a problem."""
        if self.decisions is None:
            return
        folder = ready.settings.image_dir
        unfit = []
        for picture in ready.scan.pictures:
            window = self.decisions.of(folder / picture.name).crop
            if window is None:
                continue
            if window.fits(picture.info.size):
                ready.windows[picture.name] = window
            else:
                unfit.append(f"{picture.name} ({'x'.join(map(str, picture.info.size))})")
        self.num_cropped += len(ready.windows)
        if unfit:
            self.problems.append(
                Problem(
                    f"crop windows that do not lie within their pictures in {ready.settings.where}:"
                    f" {some(unfit)}",
                    _OPTION,
                    "the pictures were changed since; choose these windows anew, or delete them",
                )
            )

    def finish(self, datasets: Sequence[DatasetSettings]) -> None:
        """Tell when the decisions are about other pictures, or about some that are gone."""
        if self.decisions is None or self.file is None:
            return
        decisions = self.decisions
        if datasets and not self._used:
            self.problems.append(about_another_folder(self.file, decisions))
            return
        if gone := list(_gone(decisions)):
            self.problems.append(
                Problem(
                    f"decisions about {count(len(gone), 'picture')} that are no longer in"
                    f" {shown(decisions.folder)}: {some(gone)}",
                    _OPTION,
                    "nothing to do, if you deleted or renamed them",
                    "warning",
                )
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done, in one sentence; nothing where nothing was decided."""
        told = []
        if self.num_excluded:
            told.append(f"{count(self.num_excluded, 'picture')} left out")
        if self.num_cropped:
            told.append(f"{count(self.num_cropped, 'picture')} cropped to a window")
        if self.num_folders:
            told.append(f"repeats of {count(self.num_folders, 'folder')} changed")
        return (f"as you decided: {', '.join(told)}",) if told else ()


def all_left_out(settings: SubsetSettings, number: int) -> Problem:
    """Tell that nothing of a folder is used any more."""
    return Problem(
        f"all {count(number, 'picture')} in {settings.where} are left out by your decisions",
        _OPTION,
        "take some of these decisions back, if they shall be learned",
        "warning",
    )


def _gone(decisions: Decisions) -> Iterator[str]:
    return (name for name in decisions.pictures if not (decisions.folder / name).exists())


def _skipped(path: Path, decision: PictureDecision) -> SkippedPicture:
    why = f" ({decision.why})" if decision.why else ""
    return SkippedPicture(path, f"is left out by your decision{why}")
