"""Which pictures a data set has, with their sizes and the names of their captions' files."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from kohya_gui.datasets.metadata import CaptionPlace, MetadataSource, find_metadata
from sd_scripts.dataset.caption_files import CAPTION_SUFFIXES, caption_names
from sd_scripts.dataset.folders import folder_problem
from sd_scripts.dataset.index import Known, PictureIndex
from sd_scripts.dataset.listing import Listing, list_folder
from sd_scripts.dataset.pictures import shown
from sd_scripts.dataset.scan import Progress, read_pictures
from sd_scripts.dataset.settings import SubsetSettings
from sd_scripts.errors import Problem, UserError

MAX_DEPTH: Final = 6
MAX_PICTURES: Final = 100_000

MayRead = Callable[[Path], bool]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the data set. `name` is relative to its folder with "/", fit for being shown.

    `size` is (width, height) in pixels, None where it can't be read; then `problem` says why.
    `texts` are where its captions stand, or may be written, by the ending of caption files or the
    name of a metadata file's texts.
    """

    id: str
    name: str
    path: Path
    size: tuple[int, int] | None
    problem: str
    texts: dict[str, CaptionPlace]
    has_text: frozenset[str]


@dataclass(frozen=True)
class DatasetScan:
    """Everything found in a data set's folder. `endings` counts pictures with such a caption; it
    has the two of caption files and, for each metadata file found, its captions and its tags."""

    folder: Path
    pictures: tuple[Picture, ...]
    endings: Counter[str]
    folders: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def usual_ending(self) -> str:
        """The ending that most captions have; a metadata file's if no picture has a file."""
        usual = max(CAPTION_SUFFIXES, key=lambda ending: self.endings[ending])
        return usual if self.endings[usual] else max(self.endings, key=self.endings.__getitem__)


def scan_dataset(
    folder: Path, index: PictureIndex, may_read: MayRead, progress: Progress | None
) -> DatasetScan:
    """Look at a folder and the folders in it. Raises `UserError` if there are no pictures.

    Links are followed only where `may_read` allows what they lead to.
    """
    pictures: list[Picture] = []
    notes: list[str] = []
    folders: list[str] = []
    for listing in _listings(folder, may_read, notes):
        if len(pictures) + len(listing.pictures) > MAX_PICTURES:
            notes.append(f"Only the first {len(pictures):,} pictures are shown.")
            break
        inside = listing.folder.relative_to(folder).as_posix()
        found = list(_pictures(folder, listing, _look(listing, index, may_read, progress)))
        if found:
            folders.append("" if inside == "." else inside)
        pictures += found
        if listing.unreadable:
            count = len(listing.unreadable)
            kinds = ", ".join(sorted({os.path.splitext(one)[1] for one in listing.unreadable}))
            where = shown(listing.folder.name)
            notes.append(f"Files in {where} of kinds that cannot be read: {count} ({kinds}).")
    if not pictures:
        raise UserError(
            f"There are no pictures in {shown(folder)}. {' '.join(notes)}".strip(),
            hint="Choose a folder that holds pictures as PNG, JPEG, WebP, BMP or AVIF.",
        )
    sources = find_metadata(folder, {one.path for one in pictures}, may_read, notes)
    pictures = [_with_sources(one, sources, folder) for one in pictures]
    endings = Counter(dict.fromkeys(CAPTION_SUFFIXES, 0))
    endings.update({source.ending(folder): 0 for source in sources})
    endings.update(ending for picture in pictures for ending in picture.has_text)
    return DatasetScan(folder, tuple(pictures), endings, tuple(folders), tuple(notes))


def _with_sources(picture: Picture, sources: Sequence[MetadataSource], folder: Path) -> Picture:
    """A picture with what metadata files say about it."""
    if not sources:
        return picture
    texts, there = dict(picture.texts), set(picture.has_text)
    for source in sources:
        ending = source.ending(folder)
        texts[ending] = source.place(picture.path, picture.name)
        if picture.path in source.written:
            there.add(ending)
    return replace(picture, texts=texts, has_text=frozenset(there))


def _listings(folder: Path, may_read: MayRead, notes: list[str]) -> Iterator[Listing]:
    """List a folder and those inside, each once, in the order of their names."""
    seen: set[str] = set()
    waiting = [(folder, 0)]
    while waiting:
        place, depth = waiting.pop(0)
        real = os.path.realpath(place)
        if real in seen:
            continue  # a link back to a folder above
        seen.add(real)
        if not may_read(place):
            notes.append(f"{shown(place.name)} leads to a place that this page may not look into.")
            continue
        try:
            listing = list_folder(place)
        except OSError as error:
            problem = folder_problem(place, "", error)
            if place == folder:
                raise UserError.of([Problem(problem.message, None, problem.hint)]) from error
            notes.append(f"{problem.message[:1].upper()}{problem.message[1:]}")
            continue
        yield listing
        if depth < MAX_DEPTH:
            waiting = [*((place / name, depth + 1) for name in listing.folders), *waiting]


def _look(
    listing: Listing, index: PictureIndex, may_read: MayRead, progress: Progress | None
) -> dict[str, Known]:
    """What is known of each picture; links to forbidden places are not opened."""
    closed = {
        name
        for name in listing.pictures
        if (listing.folder / name).is_symlink() and not may_read(listing.folder / name)
    }
    open_ones = replace(listing, pictures=tuple(n for n in listing.pictures if n not in closed))
    settings = SubsetSettings(listing.folder, shown(listing.folder.name))
    known = read_pictures(open_ones, settings, index, progress)
    reason = "is a link to a place that this page may not look into"
    return known | {name: Known(None, reason) for name in closed}


def _pictures(folder: Path, listing: Listing, known: dict[str, Known]) -> Iterator[Picture]:
    inside = listing.folder.relative_to(folder)
    for name in listing.pictures:
        found, stem = known[name], os.path.splitext(name)[0]
        texts: dict[str, CaptionPlace] = {}
        there: set[str] = set()
        for ending in CAPTION_SUFFIXES:
            text = listing.text_file(caption_names(stem, ending))
            texts[ending] = listing.folder / (text or stem + ending)
            if text:
                there.add(ending)
        relative = (inside / name).as_posix()
        yield Picture(
            id=picture_id(relative),
            name=shown(relative),
            path=listing.folder / name,
            size=found.info.size if found.info else None,
            problem="" if found.info else f"{found.reason}{found.hint and f'; {found.hint}'}",
            texts=texts,
            has_text=frozenset(there),
        )


def picture_id(relative: str) -> str:
    """A short name for a picture that any page can carry, whatever letters its own name has."""
    data = relative.encode("utf-8", "surrogateescape")
    return hashlib.blake2b(data, digest_size=8).hexdigest()
