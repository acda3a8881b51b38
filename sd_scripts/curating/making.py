"""Making the new folder: in a place beside it that takes its name only when everything is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final

from PIL import Image

from sd_scripts.curating.layout import MASKS, PICTURES, Copies, Item, Preparation
from sd_scripts.data.pixels import Pixels, resize, seen_part
from sd_scripts.dataset.large_pictures import open_scaled
from sd_scripts.dataset.pictures import open_mask, reachable
from sd_scripts.errors import UserError
from sd_scripts.files import atomic_folder
from sd_scripts.options.toml_file import to_toml_value

DATASET_FILE: Final = "dataset.toml"
Progress = Callable[[str, int, int], None]


class Stopped(Exception):
    """Raised between two pictures when a stop was asked for: nothing is left behind."""


def make(
    preparation: Preparation,
    copies: Copies,
    output: Path,
    progress: Progress,
    should_stop: Callable[[], bool],
    *,
    threads: int,
) -> None:
    """Make everything at `output`, whole or not at all.

    Raises `Stopped`, `PictureProblem` for a picture that can't be decoded, `UserError` where
    somebody else filled the folder meanwhile, and `OSError`.
    """
    output = Path(os.path.realpath(output))
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(output) as place, ThreadPoolExecutor(threads) as pool:
        waiting, done = iter(preparation.items), 0
        while part := list(islice(waiting, 4 * threads)):
            if should_stop():
                raise Stopped
            for _ in pool.map(lambda item: _make_one(item, copies, place), part):
                done += 1
            progress("Making pictures", done, len(preparation.items))
        if preparation.repeats_in == "dataset_file":
            (place / DATASET_FILE).write_text(_dataset_file(preparation), encoding="utf-8")
        _take_away_empty(output)


def _take_away_empty(output: Path) -> None:
    """Remove the empty folder whose place is taken: what is not there cannot be filled meanwhile.

    Raises `UserError` where somebody filled it already.
    """
    if not output.is_dir():
        return
    try:
        output.rmdir()
    except OSError as error:
        raise UserError(
            f"somebody put files into {output} meanwhile; nothing was made",
            option="output_dir",
            hint="choose a new folder",
        ) from error


def _make_one(item: Item, copies: Copies, place: Path) -> None:
    target = place / item.target
    target.parent.mkdir(parents=True, exist_ok=True)
    source = item.source
    new = target.with_name(target.name + item.suffix)
    if item.format == "copy":
        shutil.copyfile(reachable(source.path), new)
    else:
        _save(Image.fromarray(_pixels(item)), new, item, copies)
    if source.caption is not None:
        text = target.with_name(target.name + os.path.splitext(source.caption)[1])
        shutil.copyfile(reachable(source.caption), text)
    if source.mask is not None:
        _make_mask(item, place)


def _pixels(item: Item) -> Pixels:
    """A picture as training would see it: turned, its window, scaled, cropped in the middle."""
    return _fitted(open_scaled(item.source.path)[0], item)


def _fitted(picture: Image.Image, item: Item) -> Pixels:
    source, window = item.source, item.source.window
    if window is not None and picture.size != source.size:
        scale = picture.width / source.size[0]
        left, top, right, bottom = (round(side * scale) for side in window)
        picture = picture.crop((left, top, right, bottom))
    else:
        picture = seen_part(picture, window)
    if item.placement is None:
        return resize(picture, source.used)
    resized, bucket = item.placement.resized, item.placement.bucket
    pixels = resize(picture, resized)
    left, top = (resized[0] - bucket[0]) // 2, (resized[1] - bucket[1]) // 2
    return pixels[top : top + bucket[1], left : left + bucket[0]]


def _make_mask(item: Item, place: Path) -> None:
    assert item.source.mask is not None
    inside = PurePosixPath(*item.target.parts[1:])
    root = MASKS if item.target.parts[0] == PICTURES else f"{item.target.parts[0]}_{MASKS}"
    target = place / root / inside
    target.parent.mkdir(parents=True, exist_ok=True)
    pixels = _fitted(open_mask(item.source.mask), item)
    Image.fromarray(pixels[..., 0]).save(target.with_name(f"{target.name}.png"))


def _save(picture: Image.Image, path: Path, item: Item, copies: Copies) -> None:
    if item.format == "jpg":
        picture.save(path, "JPEG", quality=copies.jpeg_quality, subsampling=0)
    elif item.format == "webp":
        picture.save(path, "WEBP", lossless=True)
    else:
        picture.save(path, "PNG")


def _dataset_file(preparation: Preparation) -> str:
    lines = ["[[datasets]]"]
    for folder in preparation.folders:
        if folder.path.parts[0] != PICTURES:
            continue
        lines += [
            "",
            "  [[datasets.subsets]]",
            f"  image_dir = {to_toml_value(str(folder.path))}",
            f"  num_repeats = {folder.repeats}",
            f"  class_tokens = {to_toml_value(folder.words)}",
        ]
    return "\n".join(lines) + "\n"
