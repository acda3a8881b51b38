"""Measure our training step against a bare loop of the same mathematics.

`python -m tools.bench_step` makes an SD 1.5 model with real sizes and random weights, trains a
LoRA of rank 16 on U-Net and text encoder at 256 px, batch 1 (`--side`, `--batch`), from cached
latents, and prints, for fp32 and bf16: the ratio of the median step times, of the peak memory, and
our seconds from launch to the first step. Both sides are processes of their own that take turns, a
few steps each, so that a noisy machine disturbs both alike; while one works the other sleeps.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from tools.turns import compared, environment, open_side, show, take_turns

RANK: Final = 16
SIDE: Final = 256
PRECISIONS: Final = ("no", "bf16")


class Size(NamedTuple):
    """Pixels of a picture's side, and pictures in a batch."""

    side: int = SIDE
    batch: int = 1


class Job(NamedTuple):
    """What both sides train: in a folder, from a model, in a precision."""

    place: Path
    model: Path
    precision: str
    size: Size


def measure(job: Job, rounds: int, steps: int) -> dict[str, float]:
    """Let both sides train in turns; returns medians, ratio and peaks of one precision."""
    arguments = [str(job.place), str(job.model), job.precision, *map(str, job.size)]
    sides = [open_side("ours", arguments), open_side("bare", arguments)]
    take_turns(sides, rounds, steps)
    for side in sides:
        side.close()
    return compared(*sides)


def launch_to_first_step(job: Job) -> float:
    """Start the script as a user does, with warm caches; returns seconds to its first step."""
    run = job.place / f"launch-{job.precision}-{time.time_ns()}"
    command = [sys.executable, "-m", "sd_scripts.train_network", "--run_dir", str(run)]
    command += job_arguments(job.place, job.model, job.precision, job.size)
    events = run / "events.jsonl"
    begun = time.time()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment()) as process:
        try:
            while process.poll() is None:
                lines = events.read_text().splitlines() if events.exists() else []
                steps = [json.loads(line) for line in lines if line.startswith('{"type":"step"')]
                if steps:
                    return float(steps[0]["time"]) - begun
                time.sleep(0.05)
            raise RuntimeError("the run ended before its first step")
        finally:
            process.kill()


def job_arguments(place: Path, model: Path, precision: str, size: Size = Size()) -> list[str]:
    """Return the command line of the measured job."""
    options: dict[str, object] = {
        "pretrained_model_name_or_path": model,
        "train_data_dir": place / "pictures",
        "resolution": size.side,
        "train_batch_size": size.batch,
        "network_dim": RANK,
        "network_alpha": 1,
        "learning_rate": 1e-4,
        "max_train_steps": 10_000,
        "seed": 1,
        "output_dir": place / "output",
        "cache_dir": place / "cache",
        "cache_latents_to_disk": "true",
        "mixed_precision": precision,
        "caption_extension": ".txt",
    }
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def make_pictures(folder: Path, side: int = SIDE) -> None:
    """Draw the pictures of the job: what is on them does not matter for time."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(8):
        Image.new("RGB", (side, side), (30 * number, 90, 200)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a photo of a thing, number {number}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="turns of each side")
    parser.add_argument("--steps", type=int, default=3, help="steps a turn")
    parser.add_argument("--precision", choices=PRECISIONS, action="append")
    parser.add_argument("--model", type=Path, help="use this SD 1.5 file instead of a random one")
    parser.add_argument("--side", type=int, default=SIDE, help="pixels of a picture's side")
    parser.add_argument("--batch", type=int, default=1, help="pictures in a step")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--launch-only", action="store_true", help="measure no steps")
    only.add_argument("--steps-only", action="store_true", help="measure no launches")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        make_pictures(place / "pictures" / "1000_thing", given.side)
        model = given.model or place / "random.safetensors"
        if not model.exists():
            made = [sys.executable, "-m", "tools.make_random_model", "--family", "sd1"]
            subprocess.run([*made, "--size", "real", "--out", str(model)], check=True)
        for precision in given.precision or PRECISIONS:
            job = Job(place, model, precision, Size(given.side, given.batch))
            if not given.launch_only:
                show(precision, measure(job, given.rounds, given.steps))
            if given.steps_only:
                continue
            launches = [launch_to_first_step(job) for _ in range(3)]
            print(precision, "launch to first step:", [round(value, 1) for value in launches])


if __name__ == "__main__":
    main()
