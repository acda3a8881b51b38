"""Look into folders for the page's file chooser: only under declared roots, never out of them."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sd_scripts.errors import UserError

MAX_ENTRIES: Final = 5000
MAX_LOOKS: Final = 20_000
"""So many names inside sub folders are looked at for counting pictures, in one listing."""

MODEL_SUFFIXES: Final = frozenset({".safetensors", ".ckpt", ".pt", ".pth", ".bin"})
PICTURE_SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".jxl"}
)
CONFIG_SUFFIXES: Final = frozenset({".toml", ".json", ".yaml", ".yml"})
TEXT_SUFFIXES: Final = frozenset({".txt", ".caption", ".csv", ".md"})

Kind = Literal["folder", "model", "picture", "config", "text", "other"]


@dataclass(frozen=True)
class Entry:
    """One row of the chooser. `size` in bytes (0 for folders), `modified` in Unix seconds.

    `hint` says what is inside ("12 pictures", "a diffusers model"); `problem` why it cannot be
    opened, then it cannot be chosen either.
    """

    name: str
    path: str
    kind: Kind
    size: int = 0
    modified: float = 0.0
    hint: str = ""
    problem: str | None = None


@dataclass(frozen=True)
class Listing:
    """A folder's content, folders first. `parent` is None at a root; `note` tells what is cut."""

    path: str
    parent: str | None
    entries: tuple[Entry, ...]
    note: str = ""


def kind_of_file(name: str) -> Kind:
    """Return what a file is by its ending."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in MODEL_SUFFIXES:
        return "model"
    if suffix in PICTURE_SUFFIXES:
        return "picture"
    if suffix in CONFIG_SUFFIXES:
        return "config"
    return "text" if suffix in TEXT_SUFFIXES else "other"


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key by which "10" comes after "9"."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]


def _transportable(name: str) -> bool:
    """Tell whether a name is proper Unicode; others cannot travel to a page and back."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class Browser:
    """Lists folders under `roots`. Links are followed only where they end under a root too."""

    def __init__(self, roots: Iterable[Path]) -> None:
        """Roots that are not there now count when they appear (a drive that is plugged in)."""
        self._roots = tuple(dict.fromkeys(Path(root).expanduser().absolute() for root in roots))

    @property
    def roots(self) -> tuple[Path, ...]:
        """The roots that are there now."""
        return tuple(root for root in self._roots if root.is_dir())

    def allowed(self, path: str | Path) -> Path | None:
        """Return the real path if it is under a root with all links followed, else None.

        What does not exist yet (an output folder to be made) is judged by where it would be.
        """
        try:
            real = Path(os.path.realpath(Path(path).expanduser()))
            for root in self._roots:
                if real.is_relative_to(os.path.realpath(root)):
                    return real
        except (OSError, ValueError, RuntimeError):
            return None  # a NUL, a loop of links, an unknown "~user"
        return None

    def resolve(self, path: str | Path) -> Path:
        """Return the real path. Raises `UserError` when it is outside of the roots."""
        real = self.allowed(path)
        if real is None:
            raise UserError(
                f"{path} is not in a folder that this page may look into.",
                hint="Add its folder to the folders that may be browsed, in the settings.",
            )
        return real

    def top(self) -> Listing:
        """Return the roots themselves, as the place to begin."""
        entries = []
        for root in self._roots:
            problem = None if root.is_dir() else "This folder is not there."
            entries.append(Entry(str(root), str(root), "folder", problem=problem))
        return Listing("", None, tuple(entries))

    def list(self, path: str | Path, *, show_hidden: bool = False) -> Listing:
        """Return the content of a folder.

        Raises `UserError` when it is outside of the roots, not there, no folder or not readable;
        single entries that cannot be read are told in their row.
        """
        folder = self.resolve(path)
        try:
            with os.scandir(folder) as found:
                names = [e for e in found if show_hidden or not _hidden(e)]
        except FileNotFoundError as error:
            raise UserError(f"{folder} is not there.", hint="Choose another folder.") from error
        except NotADirectoryError as error:
            raise UserError(f"{folder} is a file.", hint="Choose a folder.") from error
        except OSError as error:
            raise UserError(
                f"{folder} cannot be read: {error.strerror or error}.",
                hint="Change its rights or choose another folder.",
            ) from error
        looks = _Looks()
        names.sort(key=lambda entry: _natural(entry.name))
        rows = [self._entry(entry, looks) for entry in names[:MAX_ENTRIES]]
        rows.sort(key=lambda row: row.kind != "folder")
        cut = len(names) - len(rows)
        note = f"{cut:,} more entries are not shown." if cut > 0 else ""
        parent = folder.parent if folder != folder.parent and self.allowed(folder.parent) else None
        return Listing(str(folder), str(parent) if parent else None, tuple(rows), note)

    def _entry(self, entry: os.DirEntry[str], looks: _Looks) -> Entry:
        if not _transportable(entry.name):
            shown = entry.name.encode("utf-8", "replace").decode("utf-8")
            problem = "Its name is not proper Unicode; rename it to use it."
            return Entry(shown, "", "other", problem=problem)
        path = entry.path
        if entry.is_symlink() and self.allowed(path) is None:
            problem = "A link to a place that this page may not look into."
            return Entry(entry.name, path, "other", problem=problem)
        try:
            info = entry.stat()
            if entry.is_dir():
                hint, closed = looks.hint(path)
                return Entry(entry.name, path, "folder", 0, info.st_mtime, hint, closed)
        except OSError as error:
            return Entry(entry.name, path, "other", problem=error.strerror or str(error))
        if not stat.S_ISREG(info.st_mode):
            return Entry(entry.name, path, "other", problem="Not a file that can be read.")
        closed = None if os.access(path, os.R_OK) else "It may not be read."
        kind = kind_of_file(entry.name)
        return Entry(entry.name, path, kind, info.st_size, info.st_mtime, "", closed)


class _Looks:
    """Counts what is in sub folders, within a budget, so that a huge tree stays quick."""

    def __init__(self) -> None:
        self._left = MAX_LOOKS

    def hint(self, path: str) -> tuple[str, str | None]:
        """Return what is in the folder in a few words, and why it cannot be opened, if so."""
        if self._left <= 0:
            return "", None
        counts = {"picture": 0, "model": 0}
        complete = True
        try:
            with os.scandir(path) as found:
                for entry in found:
                    self._left -= 1
                    if entry.name == "model_index.json":
                        return "a diffusers model", None
                    kind = kind_of_file(entry.name)
                    if kind in counts and not entry.name.startswith("."):
                        counts[kind] += 1
                    if self._left <= 0:
                        complete = False
                        break
        except PermissionError:
            return "", "It may not be opened."
        except OSError as error:
            return "", error.strerror or str(error)
        more = "" if complete else "at least "
        words = [
            f"{more}{number:,} {name}{'' if number == 1 else 's'}"
            for name, number in counts.items()
            if number
        ]
        return ", ".join(words), None


def _hidden(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith("."):
        return True
    if sys.platform == "win32":
        try:
            attributes = entry.stat(follow_symlinks=False).st_file_attributes
        except OSError:
            return False
        return bool(attributes & (stat.FILE_ATTRIBUTE_HIDDEN | stat.FILE_ATTRIBUTE_SYSTEM))
    return False
