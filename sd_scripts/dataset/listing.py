"""What lies in a folder: pictures, texts, sub folders, and what is no use."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sd_scripts.dataset.pictures import PICTURE_SUFFIXES, UNREADABLE_SUFFIXES, reachable

_IGNORED: Final = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir"})


@dataclass(frozen=True)
class Listing:
    """The visible contents of one folder, not of its sub folders; all names are sorted.

    `texts` finds any other file by its name with the extension in lower case.
    """

    folder: Path
    pictures: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)

    def text_file(self, names: Iterable[str]) -> str | None:
        """The first of `names` that is there; capital letters in an extension are no difference."""
        for name in names:
            found = self.texts.get(_fold(name))
            if found is not None:
                return found
        return None


def list_folder(folder: Path) -> Listing:
    """List a folder without looking into any file; raises `OSError`."""
    pictures, folders, unreadable = [], [], []
    texts: dict[str, str] = {}
    with os.scandir(reachable(folder)) as entries:
        for entry in entries:
            name = entry.name
            if is_ignored(name):
                continue
            suffix = os.path.splitext(name)[1].lower()
            if entry.is_dir():
                folders.append(name)
            elif suffix in PICTURE_SUFFIXES:
                pictures.append(name)
            elif suffix in UNREADABLE_SUFFIXES:
                unreadable.append(name)
            else:
                texts[_fold(name)] = min(name, texts.get(_fold(name), name), key=_capitals)
    return Listing(
        folder, tuple(sorted(pictures)), tuple(sorted(folders)), tuple(sorted(unreadable)), texts
    )


def is_ignored(name: str) -> bool:
    """Whether a file or folder is hidden, or left there by an operating system."""
    return name.startswith(".") or name.lower() in _IGNORED


def same_but_for_case(names: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Groups of names that systems which ignore case could not tell apart."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.casefold(), []).append(name)
    return (tuple(group) for group in groups.values() if len(group) > 1)


def same_stem(names: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Groups of names that differ only in their extension."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(os.path.splitext(name)[0], []).append(name)
    return (tuple(group) for group in groups.values() if len(group) > 1)


def _fold(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return stem + suffix.lower()


def _capitals(name: str) -> tuple[int, str]:
    return sum(letter.isupper() for letter in os.path.splitext(name)[1]), name
