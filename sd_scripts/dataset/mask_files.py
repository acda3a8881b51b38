"""Where a picture's mask lies in a folder of masks, and what its file holds.

The layout is the one that a masked loss reads (`conditioning_data_dir`): a file of the picture's
name, in a folder named as the picture's folder if the pictures are in several. Where there is no
such folder and masks of that folder's pictures lie in the folder of masks itself, they stay there.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from sd_scripts.dataset.listing import list_folder
from sd_scripts.dataset.pictures import PICTURE_SUFFIXES


class MaskPlaces:
    """Where the masks of the pictures in (and below) a folder lie; looks at each folder once."""

    def __init__(self, pictures: Path, masks: Path) -> None:
        """Both folders as whole paths; that of the masks need not be there yet."""
        self._pictures = pictures
        self._masks = masks
        self._folders: dict[Path, Path] = {}

    def path(self, picture: Path) -> Path:
        """Return where the mask of a picture is written."""
        return self._folder(picture.parent) / f"{picture.stem}.png"

    def find(self, picture: Path) -> Path | None:
        """Return the mask of a picture, of whatever kind; None if there is none."""
        usual = self.path(picture)
        others = (usual.with_suffix(suffix) for suffix in PICTURE_SUFFIXES)
        return next((path for path in (usual, *others) if path.is_file()), None)

    def shared(self, pictures: Iterable[Path]) -> dict[Path, Path]:
        """Return the pictures whose mask would be that of an earlier one, which is the value."""
        first: dict[Path, Path] = {}
        return {
            picture: owner
            for picture in pictures
            if (owner := first.setdefault(self.path(picture), picture)) != picture
        }

    def _folder(self, folder: Path) -> Path:
        if folder not in self._folders:
            self._folders[folder] = self._choose(folder)
        return self._folders[folder]

    def _choose(self, folder: Path) -> Path:
        nested = self._masks / folder.name
        if folder == self._pictures:
            return self._masks
        if nested.is_dir():
            return nested
        there = _stems(self._masks) & _stems(folder) - _stems(self._pictures)
        return self._masks if there else nested


def _stems(folder: Path) -> set[str]:
    try:
        return {Path(name).stem for name in list_folder(folder).pictures}
    except OSError:  # not there yet; or closed, which is told when something is written into it
        return set()


def mask_path(picture: Path, pictures: Path, masks: Path) -> Path:
    """Return where the mask of a picture in (or below) the folder `pictures` is written."""
    return MaskPlaces(pictures, masks).path(picture)


def find_mask(picture: Path, pictures: Path, masks: Path) -> Path | None:
    """Return the mask of a picture, of whatever kind; None if there is none."""
    return MaskPlaces(pictures, masks).find(picture)


def mask_bytes(mask: Image.Image, size: tuple[int, int]) -> bytes:
    """Return a mask (mode L) as a PNG of the picture's `size` (width, height)."""
    whole = mask if mask.size == size else mask.resize(size, Image.Resampling.BILINEAR)
    file = io.BytesIO()
    whole.convert("L").save(file, "PNG")
    return file.getvalue()
