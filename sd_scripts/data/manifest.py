"""What each picture was last encoded from, to say *why* one is encoded again.

Only ever read for that sentence: whether an entry may be used is decided by its key alone. So it
does no harm if two processes overwrite each other's manifest, or if one is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sd_scripts.data.memo import read_memo, write_memo
from sd_scripts.data.store import content_key
from sd_scripts.dataset.samples import Sample

Facts = dict[str, str]

REASONS: Final = (
    ("picture", "edited"),
    ("weights", "another VAE"),
    ("dtype", "another precision"),
    ("window", "another crop window"),
    ("bucket", "another size"),
    ("resized", "another size"),
    ("interpolation", "another resizing method"),
    ("code", "made by another version of this program"),
)
"""Fact that differs → words, the first one that fits."""


def window_facts(sample: Sample) -> Facts:
    """Return what a sample's crop window adds to the facts: nothing without one."""
    return {"window": ",".join(map(str, sample.window))} if sample.window else {}


def reason_for(old: Facts | None, new: Facts) -> str:
    """Say why an entry with the facts `new` is missing, knowing the last one of that picture."""
    if old is None:
        return "new"
    for name, words in REASONS:
        if old.get(name) != new.get(name):
            return words
    return "gone from the cache"


class Manifest:
    """The facts of pictures, by path; one small JSON file per folder of pictures."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[Path, dict[str, Facts]] = {}
        self._changed: set[Path] = set()

    def get(self, path: Path) -> Facts | None:
        """Return what `path` was last encoded from, if known."""
        return self._folder(path.parent).get(_text(path.name))

    def put(self, path: Path, facts: Mapping[str, str]) -> None:
        """Note what `path` was encoded from; kept by `save`."""
        self._folder(path.parent)[_text(path.name)] = dict(facts)
        self._changed.add(path.parent)

    def save(self) -> None:
        """Write every folder that changed."""
        for folder in self._changed:
            write_memo(self._file(folder), self._folders[folder], durable=False)
        self._changed.clear()

    def _file(self, folder: Path) -> Path:
        return self._root / f"{content_key({'folder': _text(str(folder.absolute()))})}.json"

    def _folder(self, folder: Path) -> dict[str, Facts]:
        if folder not in self._folders:
            found = read_memo(self._file(folder))
            self._folders[folder] = found if isinstance(found, dict) else {}
        return self._folders[folder]


def _text(name: str) -> str:
    """A file name as text that JSON can hold, even where its bytes are not valid in the system."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
