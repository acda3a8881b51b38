"""Where the face of a picture is, as told by its file name: `name_<x>_<y>_<width>_<height>`."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final, NamedTuple

from sd_scripts.dataset.decisions import CropWindow

_NUM_PARTS: Final = 4
_MAX_DIGITS: Final = 5  # more are a date or a time, as in IMG_20240131_120000_1_2


class FaceBox(NamedTuple):
    """Centre and size of a face, in pixels of the picture as it is seen."""

    x: int
    y: int
    width: int
    height: int


def split_stem(stem: str) -> tuple[str, str]:
    """The name that pictures cut out around faces share, and what follows it: the last four parts
    of a stem that has more of them, else ""."""
    parts = stem.split("_")
    if len(parts) <= _NUM_PARTS:
        return stem, ""
    name = "_".join(parts[:-_NUM_PARTS])
    return name, stem[len(name) :]


def face_box(path: PurePath) -> FaceBox | None:
    """The face that a file's name tells; None where it tells none."""
    numbers = split_stem(path.stem)[1].split("_")[1:]
    if not numbers or not all(_is_number(part) for part in numbers):
        return None
    box = FaceBox(*(int(part) for part in numbers))
    return box if box.width and box.height else None


def _is_number(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) <= _MAX_DIGITS


def split_face(path: PurePath) -> tuple[str, str]:
    """A file's stem in two: its name, and what tells of a face, or "" where nothing does."""
    return (path.stem, "") if face_box(path) is None else split_stem(path.stem)


def face_in_window(path: PurePath, window: CropWindow | None) -> FaceBox | None:
    """The face that a file's name tells, counted from the corner of the window that is used.

    None where the name tells none, or where the middle of the face lies outside of the window.
    """
    face = face_box(path)
    if face is None or window is None:
        return face
    inside = window.left <= face.x < window.right and window.top <= face.y < window.bottom
    return face._replace(x=face.x - window.left, y=face.y - window.top) if inside else None
