"""Where the face of a picture is, as told by its file name: `name_<x>_<y>_<width>_<height>`."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final, NamedTuple

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
