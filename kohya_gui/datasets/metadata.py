"""Captions that stand in a metadata file (JSON or JSONL), not beside their pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sd_scripts.dataset.metadata_edit import FIELDS, MAX_BYTES, Field, MetadataText
from sd_scripts.dataset.metadata_files import MetadataProblem
from sd_scripts.dataset.metadata_scan import PictureFinder
from sd_scripts.dataset.pictures import shown

_ENDINGS: Final = (".json", ".jsonl")
_MAX_FILES: Final = 20


@dataclass(frozen=True, slots=True)
class EntryPlace:
    """One text of one picture in a metadata file; `key` is how the file names the picture.

    A picture that the file does not name is not `there`: it has no words in it.
    """

    file: Path
    key: str
    field: Field
    there: bool = True

    @property
    def name(self) -> str:
        """The file and the picture in it, for people."""
        return f"{self.file.name}: {self.key}"


CaptionPlace = Path | EntryPlace
"""A caption file, or an entry of a metadata file."""


@dataclass(frozen=True, slots=True)
class MetadataSource:
    """Captions or tags of a metadata file, as a place where a data set's words may stand.

    `keys` says how it names the pictures that were found; `written` are those with such a text.
    """

    file: Path
    field: Field
    keys: Mapping[Path, str]
    written: frozenset[Path]

    def ending(self, folder: Path) -> str:
        """What it is called among the endings of caption files."""
        return f"{Path(os.path.relpath(self.file, folder)).as_posix()}:{self.field}"

    def place(self, picture: Path, name: str) -> EntryPlace:
        """Return where the words of a picture stand."""
        key = self.keys.get(picture)
        return EntryPlace(self.file, key or name, self.field, key is not None)


def find_metadata(
    folder: Path, pictures: set[Path], may_read: Callable[[Path], bool], notes: list[str]
) -> list[MetadataSource]:
    """Return the texts of metadata files that name some of the `pictures`, in their folder and the
    one above it.

    What is no metadata file is passed over; one that is too large to be edited is told.
    """
    found: list[MetadataSource] = []
    stems = {picture.with_suffix("") for picture in pictures}
    for file in _candidates([place for place in (folder, folder.parent) if may_read(place)], stems):
        if not may_read(file):
            continue
        try:
            size = file.stat().st_size
            if size > MAX_BYTES:
                notes.append(f"{shown(file.name)} is too large to be edited here.")
                continue
            texts = MetadataText(file, file.read_bytes()).texts
        except (OSError, MetadataProblem):
            continue  # some other JSON file, or one that nobody may read
        keys = _keys(folder, file, texts, pictures)
        if not keys:
            continue
        for field in FIELDS:
            written = frozenset(path for path, key in keys.items() if texts[key][field].strip())
            found.append(MetadataSource(file, field, keys, written))
    return found


def _candidates(places: Sequence[Path], stems: set[Path]) -> Iterator[Path]:
    """Yield JSON files; not those of single pictures, which downloaders write beside each."""
    for place in places:
        try:
            files = sorted(one for one in place.iterdir() if one.suffix.lower() in _ENDINGS)
        except OSError:
            continue  # the folder above may be closed
        yield from [one for one in files if one.with_suffix("") not in stems][:_MAX_FILES]


def _keys(
    folder: Path, file: Path, texts: Mapping[str, object], pictures: set[Path]
) -> dict[Path, str]:
    """How a file names pictures: from the folder that is open, else from where it lies."""
    for start in dict.fromkeys((folder, file.parent)):
        finder = PictureFinder(start)
        found: dict[Path, str] = {}
        for key in texts:
            path = finder.find(key)
            if path is not None and path in pictures:
                found.setdefault(path, key)
        if found:
            return found
    return {}
