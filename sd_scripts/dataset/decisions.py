"""What somebody decided about the pictures of a data set, kept apart from the pictures themselves.

One JSON file holds the decisions about the pictures in one folder (and the folders inside it):
which are left out, which part of a picture is used, how often the pictures of a folder are shown.
The pictures and captions are never touched. The page writes the file, the trainers read it
(`picture_decisions`). What was decided before is in the file too, so that it can be taken back.

    {"version": 1, "folder": "/pictures/cat",
     "pictures": {"10_cat/a.png": {"exclude": true, "why": "blurred"},
                  "10_cat/b.png": {"crop": [0, 40, 512, 552]}},
     "repeats": {"10_cat": 20}}

Names are relative to `folder`, with `/`; a relative `folder` starts from the file's own place.
`crop` is left, top, right, bottom in pixels of the picture as it is seen (after its EXIF rotation);
right and bottom are just outside.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple

MAX_REPEATS: Final = 100_000
NUM_STEPS_KEPT: Final = 200
"""So many changes can be taken back."""


class CropWindow(NamedTuple):
    """The part of a picture that is used, in pixels as seen; right and bottom are just outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.right - self.left, self.bottom - self.top

    def fits(self, image_size: tuple[int, int]) -> bool:
        """Whether the window lies within a picture of this size."""
        inside = 0 <= self.left < self.right and 0 <= self.top < self.bottom
        return inside and self.right <= image_size[0] and self.bottom <= image_size[1]


@dataclass(frozen=True, slots=True)
class PictureDecision:
    """What was decided about one picture; `why` is for people."""

    exclude: bool = False
    crop: CropWindow | None = None
    why: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is decided."""
        return not self.exclude and self.crop is None


@dataclass(frozen=True)
class Change:
    """What is to be decided anew, by name relative to the folder; None takes a decision away.

    `text` names the change for people. What takes a change back is a change too.
    """

    text: str
    pictures: Mapping[str, PictureDecision | None] = field(default_factory=dict)
    repeats: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Decisions:
    """Everything that is decided about the pictures in `folder` (absolute)."""

    folder: Path
    pictures: Mapping[str, PictureDecision] = field(default_factory=dict)
    repeats: Mapping[str, int] = field(default_factory=dict)
    done: tuple[Change, ...] = ()
    undone: tuple[Change, ...] = ()

    def name_of(self, path: Path) -> str | None:
        """The name of a picture or folder in these decisions; None outside of `folder`."""
        here = os.path.abspath(path)
        name = _name_within(os.path.abspath(self.folder), here)
        if name is not None:
            return name
        # A picture that is a link itself keeps its own name; only folders are followed.
        parent, last = os.path.split(here)
        real = os.path.realpath(here if os.path.isdir(here) else parent)
        place = real if os.path.isdir(here) else os.path.join(real, last)
        return _name_within(os.path.realpath(self.folder), place)

    def names_in(self, folder: Path) -> dict[str, PictureDecision]:
        """The decisions about what lies directly in `folder`, by file name."""
        name = self.name_of(folder)
        if name is None:
            return {}
        start = "" if name == "." else f"{name}/"
        return {
            picture[len(start) :]: decision
            for picture, decision in self.pictures.items()
            if picture.startswith(start) and "/" not in picture[len(start) :]
        }

    def of(self, path: Path) -> PictureDecision:
        """What is decided about a picture."""
        name = self.name_of(path)
        return self.pictures.get(name, _NOTHING) if name is not None else _NOTHING

    def repeats_of(self, folder: Path) -> int | None:
        """How often the pictures directly in a folder are shown, if that was decided."""
        name = self.name_of(folder)
        return self.repeats.get(name) if name is not None else None

    def changed(self, change: Change) -> Decisions:
        """Return the decisions after a change, which can then be taken back."""
        after, back = self._applied(change)
        if not back.pictures and not back.repeats:
            return self
        return replace(after, done=(*self.done, back)[-NUM_STEPS_KEPT:], undone=())

    def undo(self) -> Decisions:
        """Return the decisions before the last change; the same where there was none."""
        if not self.done:
            return self
        after, back = self._applied(self.done[-1])
        return replace(after, done=self.done[:-1], undone=(*self.undone, back))

    def redo(self) -> Decisions:
        """Return the decisions with the last change that was taken back; the same without one."""
        if not self.undone:
            return self
        after, back = self._applied(self.undone[-1])
        return replace(after, done=(*self.done, back), undone=self.undone[:-1])

    def _applied(self, change: Change) -> tuple[Decisions, Change]:
        """The decisions after a change, and the change that takes it back."""
        pictures: dict[str, PictureDecision | None] = {**self.pictures}
        repeats: dict[str, int | None] = {**self.repeats}
        for name, decision in change.pictures.items():
            kept = None if decision is None or decision.is_empty else decision
            if kept != self.pictures.get(name):
                pictures[name] = kept
        repeats.update({k: v for k, v in change.repeats.items() if v != self.repeats.get(k)})
        back = Change(
            change.text,
            dict.fromkeys(pictures.keys() - self.pictures.keys())
            | {name: one for name, one in self.pictures.items() if pictures[name] != one},
            dict.fromkeys(repeats.keys() - self.repeats.keys())
            | {name: one for name, one in self.repeats.items() if repeats[name] != one},
        )
        after = replace(
            self,
            pictures={name: one for name, one in sorted(pictures.items()) if one is not None},
            repeats={name: one for name, one in sorted(repeats.items()) if one is not None},
        )
        return after, back


_NOTHING: Final = PictureDecision()


def _name_within(root: str, place: str) -> str | None:
    """The path from a folder to a place in it, with "/"; "." for the folder itself."""
    start = root.rstrip(os.sep) + os.sep
    if place == root:
        return "."
    return place[len(start) :].replace(os.sep, "/") if place.startswith(start) else None
