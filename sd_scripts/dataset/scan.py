"""Looking at each picture and caption of one folder: the index first, then the files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from sd_scripts.dataset.caption_files import (
    CAPTION_SUFFIXES,
    CaptionProblem,
    caption_names,
    read_caption,
)
from sd_scripts.dataset.index import Known, PictureIndex, Stamp
from sd_scripts.dataset.listing import Listing
from sd_scripts.dataset.pictures import PictureInfo, PictureProblem, probe
from sd_scripts.dataset.settings import SubsetSettings

Progress = Callable[[str, int, int], None]

_THREADS = min(8, 2 * (os.cpu_count() or 1))
_CHUNK = 32
_KEEP_AFTER = 2048  # pictures read, so that an interrupted first scan is not lost


@dataclass(frozen=True)
class FoundPicture:
    """A usable picture with its caption text, as the caption pipeline takes it."""

    name: str
    info: PictureInfo
    caption: str


@dataclass
class FolderScan:
    """Everything that was found in one folder; names are sorted.

    `missing` and `other_sizes` are for metadata files: pictures that are not there, and those of
    another size than the file says. `bad_captions` are by picture. `excluded` were left out by a
    decision, before they were read.
    """

    pictures: list[FoundPicture] = field(default_factory=list)
    bad: list[PictureProblem] = field(default_factory=list)
    bad_captions: dict[str, CaptionProblem] = field(default_factory=dict)
    without_caption: list[str] = field(default_factory=list)
    empty_captions: list[str] = field(default_factory=list)
    other_encodings: dict[str, str] = field(default_factory=dict)
    unused_lines: list[str] = field(default_factory=list)
    other_extensions: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    other_sizes: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)

    @property
    def num_captions(self) -> int:
        """Pictures with a caption file that says something."""
        silent = len(self.without_caption) + len(self.empty_captions) + len(self.bad_captions)
        return len(self.pictures) - silent


def scan_folder(
    listing: Listing, settings: SubsetSettings, index: PictureIndex, progress: Progress | None
) -> FolderScan:
    """Read what can be known of a folder's pictures and captions without decoding pictures."""
    scan = FolderScan()
    known = read_pictures(listing, settings, index, progress)
    index.forget_others(listing.folder, listing.pictures)
    for name in listing.pictures:
        picture = known[name]
        if picture.info is None:
            scan.bad.append(PictureProblem(listing.folder / name, picture.reason, picture.hint))
            continue
        scan.pictures.append(
            FoundPicture(name, picture.info, _read_caption(name, listing, settings, scan))
        )
    return scan


def read_pictures(
    listing: Listing, settings: SubsetSettings, index: PictureIndex, progress: Progress | None
) -> dict[str, Known]:
    """What is known of each of a listing's pictures, by name; new ones are probed."""
    folder, total = listing.folder, len(listing.pictures)
    stamps = dict(_stamps(listing))
    known = index.lookup(folder, stamps)
    missing = [name for name in listing.pictures if name not in known]
    fresh: dict[str, tuple[Stamp, Known]] = {}
    text = f"Reading pictures of {settings.where}"
    for found in _probe_all(folder, missing):
        for name, (picture, lasting) in found.items():
            known[name] = picture
            if lasting and name in stamps:
                fresh[name] = stamps[name], picture
        if len(fresh) >= _KEEP_AFTER:
            index.remember(folder, fresh)
            fresh = {}
        if progress:
            progress(text, len(known), total)
    if fresh:
        index.remember(folder, fresh)
    if progress and not missing:
        progress(text, total, total)
    return known


def _stamps(listing: Listing) -> Iterator[tuple[str, Stamp]]:
    for name in listing.pictures:
        try:
            yield name, Stamp.of(listing.folder / name)
        except OSError:
            continue  # probing it tells what is wrong


def _probe_all(folder: Path, names: Sequence[str]) -> Iterator[dict[str, tuple[Known, bool]]]:
    """Probe pictures in threads (reading waits for the disk most of the time), chunk by chunk."""
    chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    if len(chunks) < 2:
        yield from (_probe_chunk(folder, chunk) for chunk in chunks)
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            yield from pool.map(lambda chunk: _probe_chunk(folder, chunk), chunks)
        finally:
            pool.shutdown(cancel_futures=True)


def _probe_chunk(folder: Path, names: Sequence[str]) -> dict[str, tuple[Known, bool]]:
    found: dict[str, tuple[Known, bool]] = {}
    for name in names:
        try:
            found[name] = Known(probe(folder / name)), True
        except PictureProblem as problem:
            found[name] = Known(None, problem.reason, problem.hint), problem.lasting
    return found


def _read_caption(
    picture: str, listing: Listing, settings: SubsetSettings, scan: FolderScan
) -> str:
    """The caption text of a picture: its file's, else the folder's words."""
    words = settings.class_tokens or ""
    stem = os.path.splitext(picture)[0]
    name = listing.text_file(caption_names(stem, settings.caption_extension))
    if name is None:
        scan.without_caption.append(picture)
        for suffix in CAPTION_SUFFIXES:
            if listing.text_file([stem + suffix]):
                scan.other_extensions[suffix] = scan.other_extensions.get(suffix, 0) + 1
        return words
    try:
        text = read_caption(listing.folder / name)
    except CaptionProblem as problem:
        scan.bad_captions[picture] = problem
        return words
    if text.encoding != "UTF-8":
        scan.other_encodings[name] = text.encoding
    if not text.lines:
        scan.empty_captions.append(picture)
        return words
    wildcard = settings.rules.enable_wildcard
    if len(text.lines) > 1 and not wildcard:
        scan.unused_lines.append(name)
    return text.caption(enable_wildcard=wildcard)
