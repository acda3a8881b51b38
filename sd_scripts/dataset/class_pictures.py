"""Pictures of a subject's class that the model paints itself: how many lack, and where they go.

Prior preservation (https://arxiv.org/abs/2208.12242) needs some hundred pictures of the class;
those that nobody has are painted before training and kept for the next one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from sd_scripts.dataset.buckets import Size
from sd_scripts.dataset.folders import subsets_of_folder
from sd_scripts.dataset.index import cache_folder
from sd_scripts.dataset.listing import list_folder
from sd_scripts.dataset.settings import Values, native_resolution
from sd_scripts.options.groups.full import FullDataOptions

_WEIGHTS = (".safetensors", ".ckpt", ".bin", ".pt")


@dataclass(frozen=True)
class ClassPictures:
    """Pictures to paint: into `folder`, at `size` (width, height), those of these numbers."""

    folder: Path
    prompt: str
    size: Size
    missing: tuple[int, ...]

    def path(self, number: int) -> Path:
        """Return the file of a picture."""
        return self.folder / f"class-{number:05d}.png"

    def seed(self, number: int) -> int:
        """Return the seed of a picture; the same whenever it is painted."""
        digest = hashlib.blake2b(f"{self.prompt}/{number}".encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big")


def class_pictures(
    data: FullDataOptions, model: Path, family: str, prediction_type: str
) -> ClassPictures | None:
    """Return what is to be painted with `model`; None if no class is named."""
    if data.class_prompt is None:
        return None
    width, height = data.resolution or native_resolution(family, prediction_type)
    size = (width // 8 * 8, height // 8 * 8)
    folder = class_folder(data, model, size)
    there = _num_pictures(folder)
    lacking = max(0, data.num_class_images - _num_own(data) - there)
    found = ClassPictures(folder, data.class_prompt, size, ())
    free = [n for n in range(lacking + there) if not found.path(n).exists()]
    return ClassPictures(folder, data.class_prompt, size, tuple(free[:lacking]))


def class_folder(data: FullDataOptions, model: Path, size: Size) -> Path:
    """Return the folder of painted pictures: chosen, or one for this model, prompt and size."""
    if data.class_data_dir is not None:
        return Path(data.class_data_dir)
    files = [model]
    if model.is_dir():
        files = sorted(path for path in model.rglob("*") if path.suffix in _WEIGHTS)
    stamps = [
        (str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in files
    ]
    words = repr((stamps, data.class_prompt, size))
    name = hashlib.blake2b(words.encode(), digest_size=8).hexdigest()
    return cache_folder(data.cache_dir) / "class_pictures" / name


def _num_own(data: FullDataOptions) -> int:
    """Count the user's own regularisation pictures."""
    if data.reg_data_dir is None:
        return 0
    found = subsets_of_folder(Path(data.reg_data_dir), Values(), "reg_data_dir", is_reg=True)
    return sum(_num_pictures(subset.image_dir) for subset in found.subsets)


def _num_pictures(folder: Path) -> int:
    try:
        return len(list_folder(folder).pictures)
    except OSError:
        return 0  # it is made when the first picture is painted; what hinders that is told then
