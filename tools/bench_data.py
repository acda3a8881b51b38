"""Measure how pictures reach the training: encoding them once, and starting with many of them.

    python -m tools.bench_data latents [--precision no] [--side 1024] [--pictures 12] [--rounds 5]
    python -m tools.bench_data launch [--pictures 5000] [--rounds 3]

`latents` takes turns in one process: the VAE of SD 1.5 (real size, random weights) alone on pixels
that are ready, and the latent cache's whole work on picture files, reading, resizing, encoding and
writing. At least 0.90 of the VAE's own speed is wanted. `launch` starts a LoRA job on a tiny model
as a user does, with a new cache folder each time and latents that are not cached: the seconds from
the command to the end of the first step. At most 8 s for 5,000 small pictures is wanted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from sd_scripts.runs.machine import settle_process
from tools.turns import environment, show

ENCODED_SIDE: Final = 256
SMALL_SIDES: Final = (192, 256)
BUSY_WANTED: Final = 0.90
LAUNCH_LIMIT_SECONDS: Final = 8.0


def draw_pictures(folder: Path, count: int, sides: tuple[int, ...]) -> None:
    """Write JPEG files that take as long to decode as photos of these sizes, with captions."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        side = sides[number % len(sides)]
        rough = Image.fromarray(rng.integers(0, 255, (side // 8, side // 8, 3), np.uint8))
        picture = rough.resize((side, side), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:05}.jpg", quality=92)
        (folder / f"{number:05}.txt").write_text(f"a photo of a thing, number {number}")


def real_vae(precision: str) -> Any:
    """Return the VAE of SD 1.5 with random weights."""
    import torch
    from diffusers import AutoencoderKL

    from sd_scripts.families.configs import family_configs

    torch.manual_seed(0)
    vae: Any = AutoencoderKL.from_config(family_configs("sd1").vae)  # type: ignore[no-untyped-call]
    return vae.to(torch.bfloat16 if precision == "bf16" else torch.float32).eval()


def measure_latents(place: Path, given: argparse.Namespace) -> dict[str, float]:
    """Let the VAE alone and the latent cache take turns; returns medians and their ratio."""
    import torch

    from sd_scripts.data.identity import EncoderIdentity
    from sd_scripts.data.latent_cache import LatentCache
    from sd_scripts.data.latents import encode_moments
    from sd_scripts.data.long_work import EncodeSettings, Hooks
    from sd_scripts.dataset.index import PictureIndex
    from sd_scripts.dataset.plan import plan_dataset
    from sd_scripts.options.groups.caption import CaptionOptions
    from sd_scripts.options.groups.data import DataOptions

    draw_pictures(place / "pictures" / "1_thing", given.pictures, (given.side,))
    folder = str(place / "pictures")
    data = DataOptions(train_data_dir=folder, resolution=str(ENCODED_SIDE), cache_dir=str(place))
    plan = plan_dataset(data, CaptionOptions(caption_extension=".txt"), family="sd1")
    vae = real_vae(given.precision)
    pixels = torch.rand(1, 3, ENCODED_SIDE, ENCODED_SIDE) * 2 - 1

    def alone() -> None:
        for _ in plan.samples:
            encode_moments(vae, pixels)

    def whole(number: int) -> None:
        identity = EncoderIdentity(f"round {number}", "float32")
        cache = LatentCache(place / "cache", identity, PictureIndex(place), in_memory=False)
        hooks = Hooks()
        outcome = cache.encode(cache.plan(plan, hooks), vae, EncodeSettings(), hooks)
        assert outcome.num_done == len(plan.samples)

    seconds: dict[str, list[float]] = {"alone": [], "whole": []}
    for number in range(given.rounds + 1):
        for name in seconds if number % 2 else reversed(seconds):
            began = time.perf_counter()
            alone() if name == "alone" else whole(number)
            if number:
                seconds[name].append((time.perf_counter() - began) / len(plan.samples))
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "vae_alone_seconds_a_picture": middle["alone"],
        "cache_seconds_a_picture": middle["whole"],
        "vae_busy": middle["alone"] / middle["whole"],
        "vae_busy_at_best": min(seconds["alone"]) / min(seconds["whole"]),
    }


def measure_launch(place: Path, given: argparse.Namespace) -> dict[str, float]:
    """Start the job anew each time; returns seconds to the first step."""
    draw_pictures(place / "pictures" / "1_thing", given.pictures, SMALL_SIDES)
    model = given.model or place / "tiny.safetensors"
    if not model.exists():
        made = [sys.executable, "-m", "tools.make_random_model", "--family", "sd1"]
        subprocess.run([*made, "--size", "tiny", "--out", str(model)], check=True)
    seconds = [launch(place, model, str(number)) for number in range(given.rounds)]
    again = launch(place, model, "0")
    return {
        "median_seconds": statistics.median(seconds),
        "best_seconds": min(seconds),
        "second_start_seconds": again,
    }


def launch(place: Path, model: Path, cache: str) -> float:
    """Start the script and wait for its first step; prints when each part of the way was done."""
    run = place / f"run-{time.time_ns()}"
    options = {
        "run_dir": run,
        "pretrained_model_name_or_path": model,
        "train_data_dir": place / "pictures",
        "resolution": SMALL_SIDES[0],
        "max_train_steps": 10,
        "seed": 1,
        "output_dir": place / "output",
        "cache_dir": place / f"cache {cache}",
        "cache_latents": "false",
        "caption_extension": ".txt",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "sd_scripts.train_network", *words]
    began = time.time()
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    for event in events:
        if event["type"] in ("phase", "start"):
            print(f"  {event['time'] - began:6.2f} s  {event.get('name')} {event.get('done', '')}")
    first = next(event for event in events if event["type"] == "step")
    seconds = float(first["time"]) - began
    print(f"  {seconds:6.2f} s  first step", flush=True)
    return seconds


def main() -> int:
    """Measure and print; 1 when the limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("latents", "launch"))
    parser.add_argument("--pictures", type=int, help="how many pictures (12, or 5000)")
    parser.add_argument("--side", type=int, default=1024, help="size of pictures to encode")
    parser.add_argument("--rounds", type=int, help="turns of each side (5), or starts (3)")
    parser.add_argument("--precision", choices=("no", "bf16"), default="no")
    parser.add_argument("--model", type=Path, help="launch with this model instead of a tiny one")
    given = parser.parse_args()
    latents = given.what == "latents"
    given.pictures = given.pictures or (12 if latents else 5000)
    given.rounds = given.rounds or (5 if latents else 3)
    if latents:
        settle_process()
    with tempfile.TemporaryDirectory() as name:
        if latents:
            result = measure_latents(Path(name), given)
            missed = result["vae_busy"] < BUSY_WANTED
        else:
            result = measure_launch(Path(name), given)
            missed = result["median_seconds"] > LAUNCH_LIMIT_SECONDS
    show(given.what, result)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
