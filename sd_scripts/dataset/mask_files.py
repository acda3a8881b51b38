"""Where a picture's mask lies in a folder of masks, and what its file holds.

The layout is the one that a masked loss reads (`conditioning_data_dir`): a file of the picture's
name, in a folder named as the picture's folder if the pictures are in several.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from sd_scripts.dataset.pictures import PICTURE_SUFFIXES


def mask_path(picture: Path, pictures: Path, masks: Path) -> Path:
    """Return where the mask of a picture in (or below) the folder `pictures` is written."""
    inside = picture.parent != pictures
    folder = masks / picture.parent.name if inside else masks
    return folder / f"{picture.stem}.png"


def find_mask(picture: Path, pictures: Path, masks: Path) -> Path | None:
    """Return the mask of a picture, of whatever kind; None if there is none."""
    usual = mask_path(picture, pictures, masks)
    others = (usual.with_suffix(suffix) for suffix in PICTURE_SUFFIXES)
    return next((path for path in (usual, *others) if path.is_file()), None)


def mask_bytes(mask: Image.Image, size: tuple[int, int]) -> bytes:
    """Return a mask (mode L) as a PNG of the picture's `size` (width, height)."""
    whole = mask if mask.size == size else mask.resize(size, Image.Resampling.BILINEAR)
    file = io.BytesIO()
    whole.convert("L").save(file, "PNG")
    return file.getvalue()
