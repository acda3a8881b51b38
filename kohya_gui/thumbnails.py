"""Small copies of preview pictures: made once, kept beside the runs, safe to delete."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sd_scripts.files import atomic_path

if TYPE_CHECKING:
    from PIL import Image

SIDE: Final = 320
"""Longest side in pixels: sharp at 160 CSS pixels on a dense screen."""
DECODING: Final = threading.Semaphore(2)
"""Held while a picture is decoded for a page: a photo takes some hundred megabytes."""


SECONDS_A_TIME: Final = 0.5
"""So long one answer to a page makes small copies; the page asks again for the others."""


class Thumbnails:
    """Makes and finds small copies of pictures in one folder."""

    def __init__(self, folder: Path, side: int = SIDE) -> None:
        """`side` is the longest side in pixels."""
        self._folder = folder
        self._side = side

    def find(self, picture: Path) -> Path | None:
        """Return the small copy of `picture` as it is now, or None when there is none yet."""
        path = self._path(picture)
        return path if path is not None and path.exists() else None

    def make(self, picture: Path) -> Path | None:
        """Return the small copy, made if needed; None when the picture cannot be read."""
        path = self._path(picture)
        if path is None or path.exists():
            return path
        from PIL import Image, ImageOps  # 60 ms that no page needs before its first picture

        from sd_scripts.dataset.pictures import FORMATS

        try:
            with DECODING, Image.open(picture, formats=FORMATS) as full:
                full.thumbnail((self._side, self._side))
                small = _on_white(ImageOps.exif_transpose(full))
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(path, durable=False) as temporary:
                small.save(temporary, "WEBP", quality=80)
        except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError):
            return None  # half written, removed, or no picture: the page shows the original's name
        return path

    def make_some(self, pictures: Iterable[Path]) -> dict[Path, Path | None]:
        """Return small copies by picture, None where there can be none; at least one is made.

        What would take long is left out: it is there when one asks again.
        """
        found: dict[Path, Path | None] = {}
        until: float | None = None
        for picture in pictures:
            small = self.find(picture)
            if small is not None:
                found[picture] = small
            elif until is None or time.monotonic() < until:
                until = until or time.monotonic() + SECONDS_A_TIME
                found[picture] = self.make(picture)
        return found

    def _path(self, picture: Path) -> Path | None:
        try:
            stat = os.stat(picture)
        except OSError:
            return None
        mark = f"{picture}\n{stat.st_mtime_ns}\n{stat.st_size}\n{self._side}"
        name = hashlib.blake2b(mark.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        return self._folder / f"{name}.webp"


def _on_white(picture: Image.Image) -> Image.Image:
    """Return the picture as the trainers see it: what is transparent is white."""
    from PIL import Image

    if not picture.has_transparency_data:
        return picture.convert("RGB")
    clear = picture.convert("RGBA")
    white = Image.new("RGBA", clear.size, "white")
    return Image.alpha_composite(white, clear).convert("RGB")
