"""How long the doctor's checks take: `python -m tools.bench_doctor [--pictures 1000] [--photos]`.

It makes photos and drawings of mixed sizes in a temporary folder (repeating a few files, so that
making them is quick; each copy differs in its last bytes), examines them, and prints the seconds of
each check. With --photos all are JPEG photos of 2 to 4 megapixels with fine grain. The bar is 60 s
a check for 1,000 pictures on 2 cores.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from sd_scripts.dataset.doctor.examine import Examination, examine, usable_cores
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions

KINDS: Final = (
    ("JPEG", (1024, 1024)),
    ("JPEG", (1920, 1080)),
    ("JPEG", (4000, 3000)),
    ("PNG", (1024, 1536)),
    ("WEBP", (1200, 900)),
)
PHOTOS: Final = (
    ("JPEG", (1920, 1080)),
    ("JPEG", (2048, 1536)),
    ("JPEG", (1600, 2400)),
)
BAR_SECONDS: Final = 60.0


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    """Something between a photo and noise: large shapes, fine grain."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), np.int16)
    grain = rng.integers(-8, 9, pixels.shape, dtype=np.int16)
    return Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))


def fill(folder: Path, number: int, kinds: Sequence[tuple[str, tuple[int, int]]]) -> None:
    """Write `number` pictures of some kinds with captions."""
    files: list[tuple[str, bytes]] = []
    for seed in range(20):
        kind, size = kinds[seed % len(kinds)]
        buffer = io.BytesIO()
        picture(seed, size).save(buffer, kind)
        files.append((kind.lower().replace("jpeg", "jpg"), buffer.getvalue()))
    for count in range(number):
        ending, data = files[count % len(files)]
        unlike = count.to_bytes(4, "big") if ending == "jpg" else b""
        (folder / f"{count:05d}.{ending}").write_bytes(data + unlike)
        (folder / f"{count:05d}.txt").write_text(f"ohwx, picture {count}, outdoors, blue sky")


def main(argv: Sequence[str]) -> int:
    """Measure and print; returns 1 if a check is over the bar."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--photos", action="store_true")
    given = parser.parse_args(argv)
    number = given.pictures
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "1_ohwx cat"
        folder.mkdir()
        fill(folder, number, PHOTOS if given.photos else KINDS)
        data = DataOptions(
            train_data_dir=place, cache_dir=f"{place}/cache", resolution=(1024, 1024),
            enable_bucket=True, max_bucket_reso=2048,
        )  # fmt: skip
        report, _ = examine(Examination(data, CaptionOptions(caption_extension=".txt"), "sdxl"))
    print(f"{number} pictures, {usable_cores()} cores")
    for name, seconds in sorted(report.seconds.items(), key=lambda pair: -pair[1]):
        print(f"{name:<16}{seconds:8.2f} s")
    allowed = BAR_SECONDS * max(1.0, number / 1000)
    return int(max(report.seconds.values()) > allowed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
