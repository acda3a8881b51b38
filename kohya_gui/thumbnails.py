"""Small copies of preview pictures: made once, kept beside the runs, safe to delete."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sd_scripts.files import atomic_path

if TYPE_CHECKING:
    from PIL import Image

SIDE: Final = 320
"""Longest side in pixels: sharp at 160 CSS pixels on a dense screen."""
DECODING: Final = threading.Semaphore(2)
"""Held while a picture is decoded for a page: a photo takes some hundred megabytes."""


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
