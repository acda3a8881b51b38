"""The file of decisions about pictures: every mistake is told at once, every write is whole."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sd_scripts.dataset.decisions import (
    MAX_REPEATS,
    Change,
    CropWindow,
    Decisions,
    PictureDecision,
)
from sd_scripts.dataset.pictures import reachable, shown
from sd_scripts.errors import Problem, UserError
from sd_scripts.files import write_atomic

VERSION: Final = 1
_OPTION: Final = "picture_decisions"
_KEYS: Final = frozenset(("version", "folder", "pictures", "repeats", "done", "undone"))
_PICTURE_KEYS: Final = frozenset(("exclude", "crop", "why"))
_MAX_BYTES: Final = 64 * 1024 * 1024
_LOCK: Final = threading.Lock()


def read_decisions(path: Path, option: str = _OPTION) -> Decisions:
    """Read a file of decisions. Raises `UserError` with everything that is wrong in it."""
    reading = _Reading(path, option)
    tree = reading.parse()
    if tree is not None:
        reading.check_top(tree)
        decisions = reading.decisions(tree)
    if tree is None or reading.problems:
        raise UserError.of(reading.problems)
    return decisions


def write_decisions(path: Path, decisions: Decisions) -> None:
    """Write decisions in one atomic change. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, decisions_text(decisions))


def decisions_text(decisions: Decisions) -> str:
    """Return the text of the file; ASCII only, so that every name on a disk can be told."""
    tree = {
        "version": VERSION,
        "folder": str(decisions.folder),
        "pictures": {name: _plain(one) for name, one in decisions.pictures.items()},
        "repeats": dict(decisions.repeats),
        "done": [_plain_change(change) for change in decisions.done],
        "undone": [_plain_change(change) for change in decisions.undone],
    }
    return json.dumps(tree, indent=1) + "\n"


def change_decisions(
    path: Path, folder: Path, change: Callable[[Decisions], Decisions]
) -> Decisions:
    """Read the file (or begin one for `folder`), change it, write it; returns what stands there.

    Threads of this process wait for each other. Raises `UserError` for a file that can't be read or
    is about another folder, and `OSError` where it can't be written.
    """
    with _LOCK:
        before = read_decisions(path) if path.exists() else Decisions(folder.absolute())
        if before.name_of(folder) != ".":
            raise UserError.of([about_another_folder(path, before)])
        after = change(before)
        if after != before:
            write_decisions(path, after)
        return after


def about_another_folder(path: Path, decisions: Decisions) -> Problem:
    """Tell that a file of decisions says nothing about these pictures."""
    return Problem(
        f"{shown(path.name)} holds decisions about the pictures in {shown(decisions.folder)},"
        " not about these",
        _OPTION,
        "choose the file of this data set, or leave it empty",
    )


def _plain(decision: PictureDecision) -> dict[str, object]:
    found: dict[str, object] = {}
    if decision.exclude:
        found["exclude"] = True
    if decision.crop is not None:
        found["crop"] = list(decision.crop)
    if decision.why:
        found["why"] = decision.why
    return found


def _plain_change(change: Change) -> dict[str, object]:
    pictures = {name: one and _plain(one) for name, one in sorted(change.pictures.items())}
    repeats = dict(sorted(change.repeats.items()))
    return {"text": change.text, "pictures": pictures, "repeats": repeats}


@dataclass
class _Reading:
    """A file while it is read, with what is wrong with it."""

    path: Path
    option: str
    problems: list[Problem] = field(default_factory=list)

    def complain(self, message: str, hint: str) -> None:
        """Add a problem of this file."""
        self.problems.append(Problem(f"{shown(self.path)}: {message}", self.option, hint))

    def parse(self) -> Mapping[str, object] | None:
        """The file as JSON, or None with a problem."""
        try:
            with open(reachable(self.path), "rb") as file:
                data = file.read(_MAX_BYTES + 1)
            if len(data) > _MAX_BYTES:
                self.complain("is far too large", "choose another file")
                return None
            tree = json.loads(data.decode("utf-8-sig"))
        except OSError as error:
            self.complain(f"can't be read ({error.strerror or error})", "check the path")
        except (ValueError, RecursionError) as error:
            self.complain(f"is not valid JSON ({error})", "choose another file, or mend this place")
        else:
            if isinstance(tree, dict):
                return tree
            self.complain("holds no decisions about pictures", "choose another file")
        return None

    def check_top(self, tree: Mapping[str, object]) -> None:
        """Look at the version and the keys of the whole."""
        version = tree.get("version")
        if version != VERSION:
            newer = isinstance(version, int) and version > VERSION
            told = f"has version {version}" if newer else "holds no decisions about pictures"
            self.complain(told, "update this program" if newer else "choose another file")
            return
        for key in sorted(tree.keys() - _KEYS):
            self.complain(f"{key} is not known here", f"known are {', '.join(sorted(_KEYS))}")

    def decisions(self, tree: Mapping[str, object]) -> Decisions:
        """The decisions; what is wrong is among the problems."""
        text = tree.get("folder")
        if not isinstance(text, str) or not text:
            if not self.problems:
                self.complain("does not say its folder", 'add "folder": "/path/of/the/pictures"')
            text = "."
        folder = Path(os.path.abspath(self.path.parent / Path(text).expanduser()))
        pictures = dict(self._pictures(tree.get("pictures")))
        repeats = dict(self._repeats(tree.get("repeats")))
        found = Decisions(
            folder,
            {name: one for name, one in pictures.items() if one is not None},
            {name: one for name, one in repeats.items() if one is not None},
        )
        return replace(
            found,
            done=tuple(self._changes(tree.get("done"))),
            undone=tuple(self._changes(tree.get("undone"))),
        )

    def _table(self, value: object, what: str) -> Mapping[str, object]:
        if isinstance(value, dict):
            return value
        if value is not None:
            self.complain(f"{what} must be a table of names", f'write "{what}": {{}}')
        return {}

    def _pictures(self, value: object) -> Iterator[tuple[str, PictureDecision | None]]:
        for name, one in self._table(value, "pictures").items():
            if not self._is_name(name):
                continue
            if one is None:
                yield name, None
            elif isinstance(one, dict):
                yield name, self._picture(name, one)
            else:
                self.complain(f"{shown(name)} must be a table", 'write {"exclude": true}')

    def _picture(self, name: str, table: Mapping[str, object]) -> PictureDecision:
        for key in sorted(table.keys() - _PICTURE_KEYS):
            hint = f"known are {', '.join(sorted(_PICTURE_KEYS))}"
            self.complain(f"{key} of {shown(name)} is not known here", hint)
        exclude, why = table.get("exclude", False), table.get("why", "")
        if not isinstance(exclude, bool):
            self.complain(f"exclude of {shown(name)} is neither true nor false", "mend it")
        crop = table.get("crop")
        return PictureDecision(
            exclude is True, None if crop is None else self._crop(name, crop), str(why)
        )

    def _crop(self, name: str, value: object) -> CropWindow | None:
        numbers = value if isinstance(value, list) else []
        whole = [one for one in numbers if isinstance(one, int) and not isinstance(one, bool)]
        if len(numbers) == len(whole) == 4:
            window = CropWindow(*whole)
            if window.fits((window.right, window.bottom)):
                return window
        self.complain(
            f"crop of {shown(name)} must be four whole numbers: left, top, right, bottom",
            "right must be more than left, bottom more than top, and none below 0",
        )
        return None

    def _repeats(self, value: object) -> Iterator[tuple[str, int | None]]:
        for name, times in self._table(value, "repeats").items():
            if not self._is_name(name):
                continue
            known = isinstance(times, int) and not isinstance(times, bool)
            if times is None or (known and 1 <= int(str(times)) <= MAX_REPEATS):
                yield name, times if isinstance(times, int) else None
            else:
                hint = f"give a whole number from 1 to {MAX_REPEATS}"
                self.complain(f"repeats of {shown(name)} can't be {times!r}", hint)

    def _is_name(self, name: str) -> bool:
        parts = name.split("/")
        inside = not name.startswith("/") and ".." not in parts and not Path(name).is_absolute()
        if not inside or not name:
            self.complain(
                f"{shown(name)!r} leads out of the folder", "give names relative to the folder"
            )
        return inside and bool(name)

    def _changes(self, value: object) -> Iterator[Change]:
        for one in value if isinstance(value, list) else []:
            table = one if isinstance(one, dict) else {}
            yield Change(
                str(table.get("text", "")),
                dict(self._pictures(table.get("pictures"))),
                dict(self._repeats(table.get("repeats"))),
            )
