"""The cache files of sd-scripts, `.npz` beside the pictures: their names, keys and arrays.

Latents: `<stem>.npz` (old), else `<stem>_<width>x<height>_sd.npz` or `_sdxl.npz` with the size of
the picture, four digits a side. All arrays are float32: `latents` [C, h, w] (one sample of the
VAE's distribution, not scaled), `original_size` [W, H], `crop_ltrb`, `latents_flipped`; newer
versions add the latents' size to each key, as in `latents_96x128` (height first). Text encoder
outputs of SDXL: `<stem>_te_outputs.npz` with `hidden_state1`, `hidden_state2` and `pool2`.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sd_scripts.data.pixels import letter_box
from sd_scripts.dataset.pictures import reachable
from sd_scripts.dataset.samples import Sample
from sd_scripts.errors import UserError
from sd_scripts.files import write_atomic

Array = NDArray[np.float32]
_STATES: Final = ("hidden_state1", "hidden_state2")
_POOLED: Final = "pool2"
_READ_ERRORS: Final = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


class UnfitFile(Exception):
    """A cache file that can't be used; the message says why, in a few words."""


def latent_file(sample: Sample, family: str) -> Path:
    """Return the name that a picture's latents are written under."""
    return _sized(sample, "sdxl" if family == "sdxl" else "sd")


def latent_files(sample: Sample, family: str) -> list[Path]:
    """Return the names that a picture's latents may have, the first one that is there counts.

    Some of sd-scripts' trainers wrote `_sdxl` for SD 1.x and SD 2.x too.
    """
    names = [sample.path.with_suffix(".npz"), latent_file(sample, family)]
    return names if family == "sdxl" else [*names, _sized(sample, "sdxl")]


def text_file(picture: Path) -> Path:
    """Return the name of a picture's text encoder outputs."""
    return picture.with_name(f"{picture.stem}_te_outputs.npz")


def _sized(sample: Sample, ending: str) -> Path:
    width, height = sample.image_size
    return sample.path.with_name(f"{sample.path.stem}_{width:04d}x{height:04d}_{ending}.npz")


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """Read every array of a file; raises `UnfitFile`. Nothing in it is ever executed."""
    try:
        with np.load(reachable(path), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except _READ_ERRORS as error:
        raise UnfitFile("can't be read") from error


def read_latents(path: Path, sample: Sample, flipped: bool) -> Array:
    """Return latents [C, h, w] of a sample, as they are or mirrored; raises `UnfitFile`."""
    arrays = read_arrays(path)
    width, height = (side // 8 for side in sample.bucket)
    for suffix in (f"_{height}x{width}", ""):
        latents = arrays.get(f"latents{'_flipped' if flipped else ''}{suffix}")
        if latents is None or latents.shape[1:] != (height, width):
            continue
        size = arrays.get(f"original_size{suffix}")
        if size is not None and tuple(int(side) for side in size) != sample.image_size:
            raise UnfitFile("of a picture of another size")
        if not np.isfinite(latents).all():
            raise UnfitFile("not all numbers (NaN)")
        return latents.astype(np.float32)
    plain = any(name.startswith("latents") and "flipped" not in name for name in arrays)
    raise UnfitFile("without mirrored latents" if flipped and plain else "of another size")


def latent_arrays(sample: Sample, latents: Mapping[bool, Array], suffix: str) -> dict[str, Array]:
    """Return the arrays that sd-scripts keeps of one picture; `latents` by "is mirrored"."""
    box = letter_box(sample.image_size, sample.bucket)
    arrays: dict[str, Array] = {
        f"latents{suffix}": latents[False],
        f"original_size{suffix}": np.array(sample.image_size, np.float32),
        f"crop_ltrb{suffix}": np.array(box, np.float32),
    }
    if True in latents:
        arrays[f"latents_flipped{suffix}"] = latents[True]
    return arrays


def read_text(path: Path) -> tuple[Array, Array]:
    """Return a caption's states [n, 2048] and pooled vector [1280] of SDXL; raises `UnfitFile`."""
    arrays = read_arrays(path)
    try:
        states = [arrays[name].astype(np.float32) for name in _STATES]
        pooled = arrays[_POOLED].astype(np.float32)
        hidden = np.concatenate(states, axis=-1)
    except (KeyError, ValueError, TypeError) as error:
        raise UnfitFile("without the text of both encoders") from error
    if not (np.isfinite(hidden).all() and np.isfinite(pooled).all()):
        raise UnfitFile("not all numbers (NaN)")
    return hidden, pooled


def text_arrays(hidden: Array, pooled: Array, first_width: int) -> dict[str, Array]:
    """Return the arrays that sd-scripts keeps of one caption; `first_width` cuts the states."""
    cut = (hidden[:, :first_width], hidden[:, first_width:])
    return {**dict(zip(_STATES, cut, strict=True)), _POOLED: pooled}


def write_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write arrays beside those that the file holds already, in one atomic step.

    `UserError` if that is impossible.
    """
    kept: dict[str, NDArray[np.generic]] = {}
    if path.exists():
        try:
            kept = read_arrays(path)
        except UnfitFile as error:
            raise UserError(
                f"{path} is there already and {error}",
                option="kohya_caches",
                hint="look at this file, and move it away if it is broken",
            ) from error
    buffer = io.BytesIO()
    merged: dict[str, NDArray[np.generic]] = {**kept, **arrays}
    np.savez(buffer, **merged)  # type: ignore[arg-type]  # its stub takes the first as a flag
    try:
        write_atomic(path, buffer.getvalue(), durable=False)
    except OSError as error:
        raise UserError(
            f"{path} can't be written: {error.strerror or error}",
            option="kohya_caches",
            hint="choose read, or make the folder of the pictures writable",
        ) from error
