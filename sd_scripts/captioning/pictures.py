"""Which pictures of a folder get captions, and where each one's caption file is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sd_scripts.dataset.listing import Listing, list_folder, same_stem
from sd_scripts.dataset.pictures import shown
from sd_scripts.errors import Problem


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file (absolute path) and the caption file that belongs to it."""

    path: Path
    caption: Path


@dataclass
class FoundPictures:
    """What was found, in the order of folders and names, and what is worth telling about it."""

    pictures: list[Picture] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def find_pictures(folder: Path, extension: str, *, recursive: bool) -> FoundPictures:
    """List a folder's pictures; nothing is opened. What is wrong is among the problems."""
    found = FoundPictures()
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is not there"
        found.problems.append(
            Problem(f"The folder {shown(folder)} {what}", "train_data_dir", "Check the path.")
        )
        return found
    num_unreadable = 0
    for listing in _listings(folder, recursive, found.problems):
        num_unreadable += len(listing.unreadable)
        if listing.pictures:
            found.folders.append(listing.folder)
            found.pictures += _of_folder(listing, extension, found.problems)
    if num_unreadable:
        found.problems.append(
            Problem(
                f"{num_unreadable} files are pictures of a kind that is not read here (such as "
                "GIF, TIFF, HEIC or raw photos)",
                "train_data_dir",
                "Save them as PNG or JPEG if they should get captions.",
                severity="warning",
            )
        )
    if not found.pictures and not any(p.severity == "error" for p in found.problems):
        found.problems.append(_nothing_found(folder, recursive))
    return found


def _listings(folder: Path, recursive: bool, problems: list[Problem]) -> Iterator[Listing]:
    """Yield a folder and those inside it. A link is only followed within the folder."""
    root = Path(os.path.realpath(folder))
    seen = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        real = Path(os.path.realpath(here))
        if real in seen:
            continue
        seen.add(real)
        if not real.is_relative_to(root):
            problems.append(
                Problem(
                    f"{shown(here)} is a link that leads out of the folder; it is left alone",
                    "train_data_dir",
                    "Name that folder in a job of its own.",
                    severity="warning",
                )
            )
            continue
        try:
            listing = list_folder(here)
        except OSError as error:
            problems.append(_unreadable(here, error, is_root=here == folder))
            continue
        yield listing
        if recursive:
            waiting += [here / name for name in reversed(listing.folders)]


def _unreadable(folder: Path, error: OSError, *, is_root: bool) -> Problem:
    return Problem(
        f"The folder {shown(folder)} can't be read ({error.strerror or error})",
        "train_data_dir",
        "Check its permissions.",
        severity="error" if is_root else "warning",
    )


def _of_folder(listing: Listing, extension: str, problems: list[Problem]) -> Iterator[Picture]:
    """Yield a folder's pictures; of those that would share a caption file, only the first."""
    shared = {name: names[0] for names in same_stem(listing.pictures) for name in names[1:]}
    for name in listing.pictures:
        if name in shared:
            problems.append(
                Problem(
                    f"{shown(listing.folder / name)} would share its caption file with "
                    f"{shown(shared[name])}; it is left out",
                    "train_data_dir",
                    "Give one of the two another name.",
                    severity="warning",
                )
            )
            continue
        caption = os.path.splitext(name)[0] + extension
        there = listing.text_file([caption])
        yield Picture(listing.folder / name, listing.folder / (there or caption))


def _nothing_found(folder: Path, recursive: bool) -> Problem:
    hint = "Choose a folder with .png, .jpg, .jpeg, .webp, .bmp or .avif files."
    if not recursive:
        hint += " For pictures in folders inside it, set recursive."
    return Problem(f"There are no pictures in {shown(folder)}", "train_data_dir", hint)
