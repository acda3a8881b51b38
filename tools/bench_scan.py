"""Benchmark: how long a large folder takes to be scanned and planned, cold and warm.

    python -m tools.bench_scan [--pictures 10000] [--runs 3] [--folder DIR]

Makes pictures of real sizes (JPEG with EXIF, PNG, WebP; copies of a few hundred different ones)
with captions, then plans them in fresh processes. "Cold" has no picture index, and the pictures'
bytes are dropped from the system's file cache where the system offers that; "warm" is the next
start. Goal on two cores: 10,000 pictures in 10 s cold and 2 s warm.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

_DIFFERENT = 300
_SIZES = ((1024, 768), (768, 1024), (1024, 1024), (1280, 720), (832, 1216), (900, 1350))
_RUN = """
import json, sys, time
began = time.perf_counter()
from sd_scripts.dataset.order import epoch_batches
from sd_scripts.dataset.plan import plan_dataset
from sd_scripts.dataset.summary import summarise
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions
imported = time.perf_counter()
data = DataOptions(train_data_dir=sys.argv[1], cache_dir=sys.argv[2], enable_bucket=True,
                   resolution="1024", max_bucket_reso=2048, train_batch_size=4)
plan = plan_dataset(data, CaptionOptions(caption_extension=".txt"), family="sdxl")
planned = time.perf_counter()
summarise(plan)
epoch_batches(plan, seed=1, epoch=1)
done = time.perf_counter()
print(json.dumps({"pictures": len(plan.samples), "problems": len(plan.problems),
                  "import": imported - began, "plan": planned - imported,
                  "summary and order": done - planned}))
"""


def _encoded(rng: random.Random, number: int) -> tuple[str, bytes]:
    """One picture file, in the share of formats that folders of photos have."""
    size = rng.choice(_SIZES)
    coarse = Image.effect_noise((size[0] // 8, size[1] // 8), 90).convert("RGB")
    picture = coarse.resize(size, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    if number % 10 == 8:
        picture.save(buffer, "PNG", compress_level=1)
        return ".png", buffer.getvalue()
    if number % 10 == 9:
        picture.save(buffer, "WEBP", quality=80, method=0)
        return ".webp", buffer.getvalue()
    exif = Image.Exif()
    exif[0x0112] = rng.choice((1, 1, 1, 6, 8))
    exif[0x010F], exif[0x0110] = "Maker", "Model"
    picture.save(buffer, "JPEG", quality=90, exif=exif.tobytes())
    return ".jpg", buffer.getvalue()


def make_pictures(folder: Path, number: int) -> int:
    """Write `number` pictures with captions; returns their bytes in all."""
    rng = random.Random(0)
    different = [_encoded(rng, at) for at in range(min(_DIFFERENT, number))]
    folder.mkdir(parents=True)
    total = 0
    for at in range(number):
        suffix, data = different[at % len(different)]
        (folder / f"picture {at:05d}{suffix}").write_bytes(data)
        tags = ", ".join(f"tag{rng.randrange(500)}" for _ in range(20))
        (folder / f"picture {at:05d}.txt").write_text(tags, encoding="utf-8")
        total += len(data)
    return total


def drop_from_file_cache(folder: Path) -> bool:
    """Ask the system to forget the bytes of all files; False where it can't be asked."""
    if not hasattr(os, "posix_fadvise"):
        return False
    os.sync()
    for path in folder.iterdir():
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)
    return True


def run_once(train: Path, cache: Path) -> dict[str, float]:
    """Plan in a process of its own; seconds by part, and with the start of Python."""
    began = time.perf_counter()
    argv = [sys.executable, "-c", _RUN, str(train), str(cache)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    told: dict[str, float] = json.loads(done.stdout)
    return {**told, "whole process": time.perf_counter() - began}


def measure(folder: Path, number: int, runs: int) -> None:
    """Make the pictures, time cold and warm starts, and print medians."""
    pictures, cache = folder / "train" / "1_thing", folder / "cache"
    total = make_pictures(pictures, number)
    print(f"{number} pictures, {total / 1e9:.2f} GB, {os.cpu_count()} cores")
    for name in ("cold", "warm"):
        results = []
        for _ in range(runs):
            if name == "cold":
                shutil.rmtree(cache, ignore_errors=True)
                dropped = drop_from_file_cache(pictures)
            results.append(run_once(pictures.parent, cache))
        assert all(result["pictures"] == number for result in results)
        parts = [
            f"{part} {statistics.median(result[part] for result in results):.2f} s"
            for part in ("plan", "summary and order", "import", "whole process")
        ]
        worst = max(result["plan"] for result in results)
        file_cache = "" if name == "warm" or dropped else " (files were in the file cache)"
        print(f"{name}: {', '.join(parts)}; slowest plan {worst:.2f} s{file_cache}")
    print("load average of the machine:", ", ".join(f"{load:.1f}" for load in os.getloadavg()))


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to write them (else a temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        measure(Path(folder), arguments.pictures, arguments.runs)


if __name__ == "__main__":
    main()
