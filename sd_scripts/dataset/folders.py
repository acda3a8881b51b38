"""The folder convention: `<repeats>_<words>` folders, or simply a folder of pictures.

Whatever is found in its place is told: which folders are used, which are not, and why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sd_scripts.dataset.listing import Listing, list_folder
from sd_scripts.dataset.pictures import shown
from sd_scripts.dataset.settings import SubsetSettings, Values
from sd_scripts.dataset.words import count, some
from sd_scripts.errors import Problem
from sd_scripts.files import nearest_folder

_MANY_REPEATS = 1000


@dataclass(frozen=True)
class Found:
    """The subsets a folder gives, with all there is to say about it."""

    subsets: tuple[SubsetSettings, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def parse_folder_name(name: str) -> tuple[int, str] | None:
    """Repeats and words of a folder named `<repeats>_<words>`; None for other names."""
    number, _, words = name.partition("_")
    try:
        return int(number), words
    except ValueError:
        return None


def subsets_of_folder(folder: Path, values: Values, option: str, *, is_reg: bool = False) -> Found:
    """The subsets in `folder`, which `option` gave; mistakes are problems, never exceptions."""
    try:
        listing = list_folder(folder)
    except OSError as error:
        return Found(problems=(folder_problem(folder, option, error),))
    named = {name: parse_folder_name(name) for name in listing.folders}
    used = {name: parts for name, parts in named.items() if parts and parts[0] >= 1}
    if used:
        return _named_folders(listing, used, values, option, is_reg=is_reg)
    if listing.pictures:
        return _plain_folder(listing, values, option, is_reg=is_reg)
    return Found(problems=(_nothing_here(listing, option),))


def folder_problem(folder: Path, option: str, error: OSError) -> Problem:
    """Why a folder can't be listed, in words."""
    if isinstance(error, FileNotFoundError):
        there = shown(nearest_folder(folder))
        return Problem(
            f"the folder {shown(folder)} does not exist",
            option,
            f"check its name for typing errors; the nearest folder that is there is {there}",
        )
    if isinstance(error, NotADirectoryError):
        return Problem(
            f"{shown(folder)} is a file, not a folder", option, "give the folder that holds it"
        )
    return Problem(
        f"the folder {shown(folder)} can't be read ({error.strerror or error})",
        option,
        "check its permissions",
    )


def _named_folders(
    listing: Listing,
    used: dict[str, tuple[int, str]],
    values: Values,
    option: str,
    *,
    is_reg: bool,
) -> Found:
    subsets, problems = [], []
    for name, (repeats, words) in used.items():
        own = replace(values, num_repeats=repeats, class_tokens=words)
        subsets.append(
            own.subset(listing.folder / name, f"folder {shown(name)}", option, is_reg=is_reg)
        )
        if repeats > _MANY_REPEATS:
            problems.append(
                Problem(
                    f"the folder {shown(name)} means {repeats} repeats of each picture",
                    option,
                    "the number before _ is the repeats; rename it if it is meant otherwise",
                    "warning",
                )
            )
    others = [name for name in listing.folders if name not in used and _num_pictures(listing, name)]
    if others:
        problems.append(
            Problem(
                f"folders with pictures in {shown(listing.folder)} are not used: {some(others)}",
                option,
                f"to use them, put repeats before their names, such as 10_{shown(others[0])}",
                "warning",
            )
        )
    if listing.pictures:
        problems.append(
            Problem(
                f"pictures directly in {shown(listing.folder)} ({len(listing.pictures)}) are not"
                f" used, since it holds folders such as {shown(next(iter(used)))}",
                option,
                "to use them too, move them into a folder named <repeats>_<words>",
                "warning",
            )
        )
    return Found(tuple(subsets), tuple(problems))


def _plain_folder(listing: Listing, values: Values, option: str, *, is_reg: bool) -> Found:
    """Pictures directly in the folder, which may itself be named `<repeats>_<words>`."""
    folder, number = listing.folder, count(len(listing.pictures), "picture")
    own_name = parse_folder_name(folder.name) if "_" in folder.name else None
    if own_name and 1 <= own_name[0] <= _MANY_REPEATS:
        repeats, words = own_name
        values = replace(values, num_repeats=repeats, class_tokens=words)
        note = (
            f"{shown(folder)} holds {number} itself; its own name gives"
            f" {count(repeats, 'repeat')} and the words “{words}”"
        )
    else:
        repeats, where = values.num_repeats, " (dataset_repeats)"
        if is_reg:
            repeats, where = 1, ""
        values = replace(values, num_repeats=repeats, class_tokens=None)
        note = f"{shown(folder)} holds {number} itself, used with {count(repeats, 'repeat')}{where}"
    problems = []
    others = [name for name in listing.folders if _num_pictures(listing, name)]
    if others:
        problems.append(
            Problem(
                f"pictures in folders inside {shown(folder)} are not used: {some(others)}",
                option,
                "move all pictures into one folder, or into folders named <repeats>_<words>",
                "warning",
            )
        )
    subset = values.subset(folder, f"folder {shown(folder.name)}", option, is_reg=is_reg)
    return Found((subset,), tuple(problems), (note,))


def _nothing_here(listing: Listing, option: str) -> Problem:
    """Explain what was found where pictures were expected, and how to go on."""
    folder = shown(listing.folder)
    expected = "choose a folder that holds pictures, or folders named such as 10_mycat with them"
    inside = {name: _num_pictures(listing, name) for name in listing.folders}
    with_pictures = [name for name, number in inside.items() if number]
    if deeper := next((name for name in listing.folders if _has_named(listing, name)), None):
        chosen = shown(listing.folder / deeper)
        message = f"{folder} holds no pictures and no folders named such as 10_mycat"
        return Problem(message, option, f"choose {chosen}, which holds such folders")
    zero = [name for name in listing.folders if (parse_folder_name(name) or (1, ""))[0] < 1]
    if with_pictures:
        told = [f"{shown(name)} ({count(inside[name], 'picture')})" for name in with_pictures]
        bad = "0 or fewer repeats" if set(with_pictures) <= set(zero) else "no repeats"
        first = shown(with_pictures[0])
        return Problem(
            f"{folder} holds no pictures itself, and its folders have {bad} in their names:"
            f" {some(told)}",
            option,
            f"choose {first} itself, or rename it to 10_{first} (10 = repeats)",
        )
    if listing.unreadable:
        return Problem(
            f"{folder} holds only files of kinds that can't be read: {some(listing.unreadable)}",
            option,
            "save them as PNG or JPEG",
        )
    found = "is empty"
    if listing.folders or listing.texts:
        parts = [count(len(listing.folders), "folder"), count(len(listing.texts), "other file")]
        found = f"holds no pictures (but {' and '.join(parts)})"
    return Problem(f"{folder} {found}", option, expected)


def _has_named(listing: Listing, name: str) -> bool:
    """Whether a folder inside holds `<repeats>_<words>` folders: one level too high was chosen."""
    try:
        inside = list_folder(listing.folder / name).folders
    except OSError:
        return False  # a folder that can't be read is no advice
    return any((parse_folder_name(one) or (0, ""))[0] >= 1 for one in inside)


def _num_pictures(listing: Listing, name: str) -> int:
    try:
        return len(list_folder(listing.folder / name).pictures)
    except OSError:
        return 0  # a folder that can't be read holds nothing we could use
