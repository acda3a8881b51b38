"""Where the face of a picture is, as told by its file name: `name_<x>_<y>_<width>_<height>`."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final, NamedTuple

from sd_scripts.dataset.decisions import CropWindow

_NUM_PARTS: Final = 4


class FaceBox(NamedTuple):
    """Centre and size of a face, in pixels of the picture as it is seen."""

    x: int
    y: int
    width: int
    height: int


def face_box(path: PurePath) -> FaceBox | None:
    """The face that a file's name tells; None where it tells none."""
    parts = path.stem.split("_")
    numbers = parts[-_NUM_PARTS:]
    if len(parts) <= _NUM_PARTS or not all(part.isascii() and part.isdigit() for part in numbers):
        return None
    box = FaceBox(*(int(part) for part in numbers))
    return box if box.width and box.height else None


def face_in_window(path: PurePath, window: CropWindow | None) -> FaceBox | None:
    """The face that a file's name tells, counted from the corner of the window that is used.

    None where the name tells none, or where the middle of the face lies outside of the window.
    """
    face = face_box(path)
    if face is None or window is None:
        return face
    inside = window.left <= face.x < window.right and window.top <= face.y < window.bottom
    return face._replace(x=face.x - window.left, y=face.y - window.top) if inside else None
