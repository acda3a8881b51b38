"""Which mask belongs to which picture: files of one name in another folder, or transparency."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sd_scripts.dataset.folders import folder_problem
from sd_scripts.dataset.index import Known, PictureIndex
from sd_scripts.dataset.listing import list_folder
from sd_scripts.dataset.pictures import shown
from sd_scripts.dataset.samples import MaskSource
from sd_scripts.dataset.scan import FolderScan, FoundPicture, Progress, read_pictures
from sd_scripts.dataset.settings import DatasetSettings, SubsetSettings
from sd_scripts.dataset.words import count, some
from sd_scripts.errors import Problem

_OPTION = "conditioning_data_dir"


@dataclass
class MaskFinder:
    """Finds the masks of one folder of pictures after the other, collecting problems.

    Pictures and masks have one name, whatever the extensions, and one size.
    """

    index: PictureIndex
    progress: Progress | None
    problems: list[Problem] = field(default_factory=list)
    _unused: dict[Path, set[str]] = field(default_factory=dict)

    def find(self, settings: SubsetSettings, scan: FolderScan) -> dict[str, MaskSource]:
        """Return the masks of a scanned folder, by the picture's name; some may have none."""
        if settings.mask_dir is not None:
            return self._files(settings, scan, settings.mask_dir)
        if settings.alpha_mask:
            return self._transparency(settings, scan)
        return {}

    def finish(self, datasets: Iterable[DatasetSettings], *, masked_loss: bool) -> None:
        """Tell what belongs to no picture, and if a masked loss was asked for without masks."""
        for folder, names in self._unused.items():
            if names:
                self.problems.append(
                    Problem(
                        f"{count(len(names), 'mask')} in {shown(folder)} without a picture:"
                        f" {some(sorted(names))}",
                        _OPTION,
                        "give each mask the name of its picture, or delete it",
                        "warning",
                    )
                )
        subsets = [subset for dataset in datasets for subset in dataset.subsets]
        if masked_loss and subsets and not any(one.mask_dir or one.alpha_mask for one in subsets):
            self.problems.append(
                Problem(
                    "a masked loss is asked for, but no folder has masks",
                    f"masked_loss, {_OPTION}",
                    f"give the folder of the masks as {_OPTION}, or switch alpha_mask on",
                )
            )

    def _transparency(self, settings: SubsetSettings, scan: FolderScan) -> dict[str, MaskSource]:
        found = [picture.name for picture in scan.pictures if picture.info.has_alpha]
        if scan.pictures and not found:
            self.problems.append(
                Problem(
                    f"no picture in {settings.where} has transparency, so nothing is masked there",
                    "alpha_mask",
                    "save the pictures as PNG with transparency, or switch alpha_mask off",
                    "warning",
                )
            )
        return {name: MaskSource(settings.image_dir / name, "alpha") for name in found}

    def _files(
        self, settings: SubsetSettings, scan: FolderScan, folder: Path
    ) -> dict[str, MaskSource]:
        try:
            listing = list_folder(folder)
        except OSError as error:
            self.problems.append(folder_problem(folder, _OPTION, error))
            return {}
        known = read_pictures(listing, settings, self.index, self.progress)
        self.index.forget_others(folder, listing.pictures)
        by_stem: dict[str, list[str]] = defaultdict(list)
        for name in listing.pictures:
            by_stem[Path(name).stem].append(name)
        unused = self._unused.setdefault(folder, set(listing.pictures))
        for name in (*(bad.path.name for bad in scan.bad), *scan.excluded):
            unused.difference_update(by_stem.get(Path(name).stem, ()))
        found: dict[str, MaskSource] = {}
        for picture in scan.pictures:
            names = by_stem.get(Path(picture.name).stem, [])
            unused.difference_update(names)
            if len(names) == 1:
                found[picture.name] = MaskSource(folder / names[0], "red")
        self.problems += _wrong(settings, scan.pictures, by_stem, known)
        return found


def _wrong(
    settings: SubsetSettings,
    pictures: Iterable[FoundPicture],
    by_stem: Mapping[str, list[str]],
    known: Mapping[str, Known],
) -> Iterator[Problem]:
    """Masks that are missing, there twice, can't be read, or have another size."""
    words: dict[str, list[str]] = defaultdict(list)
    for picture in pictures:
        names = by_stem.get(Path(picture.name).stem, [])
        if not names:
            words["missing"].append(picture.name)
        elif len(names) > 1:
            words["several"].append(f"{picture.name} ({' and '.join(names)})")
        elif (info := known[names[0]].info) is None:
            words["bad"].append(f"{names[0]} {known[names[0]].reason}")
        elif info.size != picture.info.size:
            sizes = "{}x{} instead of {}x{}".format(*info.size, *picture.info.size)
            words["size"].append(f"{names[0]} ({sizes})")
    where, folder = settings.where, shown(settings.mask_dir or "")
    telling = {
        "missing": (
            f"in {where} without a mask in {folder}",
            "add masks of the same name; a white one learns the whole picture",
        ),
        "several": (f"in {where} with more than one mask", "keep one mask of each name"),
        "bad": (f"in {where} with a mask that can't be used", "save these masks again as PNG"),
        "size": (
            f"in {where} with a mask of another size",
            "save each mask at the size of its picture",
        ),
    }
    for kind, (text, hint) in telling.items():
        if found := words.get(kind):
            yield Problem(f"{count(len(found), 'picture')} {text}: {some(found)}", _OPTION, hint)
