"""Looking at the pictures that a metadata file names, and telling which of them are not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sd_scripts.dataset.findings import bad_pictures, faces_unknown, mark_stays
from sd_scripts.dataset.index import Known, PictureIndex
from sd_scripts.dataset.listing import Listing, list_folder
from sd_scripts.dataset.metadata_files import MetadataEntry, joined_caption, read_metadata
from sd_scripts.dataset.pictures import PictureProblem, reachable, shown
from sd_scripts.dataset.scan import FolderScan, FoundPicture, Progress, read_pictures
from sd_scripts.dataset.settings import SubsetSettings
from sd_scripts.dataset.words import count, some
from sd_scripts.errors import Problem


@dataclass
class PictureFinder:
    """Finds the files that keys mean: with extension, or (as older tools wrote them) without."""

    image_dir: Path
    _stems: dict[Path, dict[str, str]] = field(default_factory=dict)

    def find(self, key: str) -> Path | None:
        """The picture's path; relative keys start from the folder of the pictures."""
        for name in dict.fromkeys((key, key.replace("\\", "/"))):
            path = self.image_dir / name
            if Path(reachable(path)).is_file():
                return path
            found = self._stems_of(path.parent).get(path.name)
            if found is not None:
                return path.parent / found
        return None

    def _stems_of(self, folder: Path) -> dict[str, str]:
        if folder not in self._stems:
            try:
                names = list_folder(folder).pictures
            except OSError:
                names = ()  # a folder that is not there holds no pictures
            self._stems[folder] = {Path(name).stem: name for name in names}
        return self._stems[folder]


def scan_metadata(
    settings: SubsetSettings, index: PictureIndex, progress: Progress | None
) -> tuple[FolderScan, list[str]]:
    """What can be known of a metadata file's pictures, and its entries that are wrong, in words.

    The names in the scan are paths relative to `settings.image_dir`, or absolute ones. Raises
    `MetadataProblem` where the file can't be read.
    """
    assert settings.metadata_file is not None
    entries, wrong = read_metadata(settings.metadata_file)
    scan, finder = FolderScan(), PictureFinder(settings.image_dir)
    found: dict[Path, MetadataEntry] = {}
    for entry in entries:
        path = finder.find(entry.key)
        if path is None:
            scan.missing.append(entry.key)
        elif path in found:
            wrong.append(f"{shown(entry.key)}: its picture {shown(path)} was named before")
        else:
            found[path] = entry
    known = _read(found, settings, index, progress)
    for path, entry in found.items():
        _add(scan, settings, path, entry, known[path])
    return scan, wrong


def _read(
    found: dict[Path, MetadataEntry],
    settings: SubsetSettings,
    index: PictureIndex,
    progress: Progress | None,
) -> dict[Path, Known]:
    folders: dict[Path, list[str]] = {}
    for path in found:
        folders.setdefault(path.parent, []).append(path.name)
    known: dict[Path, Known] = {}
    for folder, names in folders.items():
        listing = Listing(folder, tuple(names))
        pictures = read_pictures(listing, settings, index, progress)
        known |= {folder / name: picture for name, picture in pictures.items()}
    return known


def _add(
    scan: FolderScan, settings: SubsetSettings, path: Path, entry: MetadataEntry, known: Known
) -> None:
    if known.info is None:
        scan.bad.append(PictureProblem(path, known.reason, known.hint))
        return
    folder = settings.image_dir
    name = str(path.relative_to(folder) if path.is_relative_to(folder) else path)
    if entry.image_size not in (None, known.info.size):
        scan.other_sizes.append(name)
    caption = joined_caption(entry, settings.rules)
    if not caption:
        scan.without_caption.append(name)
        caption = settings.class_tokens or ""
    scan.pictures.append(FoundPicture(name, known.info, caption))


def metadata_findings(
    settings: SubsetSettings, scan: FolderScan, wrong: list[str], *, refuse_bad: bool
) -> Iterator[Problem]:
    """Everything worth telling about one metadata file and its pictures."""
    where, option = settings.where, settings.option
    if wrong:
        hint = "mend these entries"
        told = some(wrong, between="; ")
        yield Problem(f"entries of {where} can't be understood: {told}", option, hint)
    if scan.missing:
        yield _missing(settings, scan, refuse_bad=refuse_bad)
    elif not (scan.pictures or scan.bad or wrong):
        yield Problem(f"{where} names no pictures", option, "choose another file")
    yield from bad_pictures(settings, scan, refuse_bad=refuse_bad)
    if scan.other_sizes:
        yield Problem(
            f"pictures of {where} have another size than it says: {some(scan.other_sizes)}",
            option,
            "their real size is used; make the file anew if the pictures were mixed up",
            "warning",
        )
    if scan.without_caption:
        words = settings.class_tokens
        instead = f"“{shown(words)}”" if words else "an empty caption"
        yield Problem(
            f"pictures of {where} with neither caption nor tags; they get {instead}:"
            f" {some(scan.without_caption)}",
            option,
            "write caption or tags into their entries",
            "warning",
        )
    yield from mark_stays(settings, scan)
    yield from faces_unknown(settings, scan)


def _missing(settings: SubsetSettings, scan: FolderScan, *, refuse_bad: bool) -> Problem:
    number = count(len(scan.missing), "picture")
    folder = shown(settings.image_dir)
    hint = f"relative names start from {folder}; mend the names or the folder"
    nothing = not scan.pictures and not scan.bad
    return Problem(
        f"{number} of {settings.where} {'is' if len(scan.missing) == 1 else 'are'} not there:"
        f" {some(scan.missing)}",
        settings.option if nothing or refuse_bad else "bad_images",
        hint,
        "error" if nothing or refuse_bad else "warning",
    )
