"""Measure our training step against a bare loop of the same mathematics.

`python -m tools.bench_step` makes an SD 1.5 model with real sizes and random weights, trains a
LoRA of rank 16 on U-Net and text encoder at 256 px, batch 1, from cached latents, and prints, for
fp32 and bf16: the ratio of the median step times, of the peak memory, and our seconds from launch
to the first step. Both sides are processes of their own that take turns, a few steps each, so that
a noisy machine disturbs both alike; while one works the other sleeps.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tools.turns import compared, environment, open_side, show, take_turns

RANK: Final = 16
SIDE: Final = 256
PRECISIONS: Final = ("no", "bf16")


def measure(place: Path, model: Path, precision: str, rounds: int, steps: int) -> dict[str, float]:
    """Let both sides train in turns; returns medians, ratio and peaks of one precision."""
    arguments = [str(place), str(model), precision]
    sides = [open_side("ours", arguments), open_side("bare", arguments)]
    take_turns(sides, rounds, steps)
    for side in sides:
        side.close()
    return compared(*sides)


def launch_to_first_step(place: Path, model: Path, precision: str) -> float:
    """Start the script as a user does, with warm caches; returns seconds to its first step."""
    run = place / f"launch-{precision}-{time.time_ns()}"
    command = [sys.executable, "-m", "sd_scripts.train_network", "--run_dir", str(run)]
    command += job_arguments(place, model, precision)
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


def job_arguments(place: Path, model: Path, precision: str) -> list[str]:
    """Return the command line of the measured job."""
    options: dict[str, object] = {
        "pretrained_model_name_or_path": model,
        "train_data_dir": place / "pictures",
        "resolution": SIDE,
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


def make_pictures(folder: Path) -> None:
    """Draw the pictures of the job: what is on them does not matter for time."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(8):
        Image.new("RGB", (SIDE, SIDE), (30 * number, 90, 200)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a photo of a thing, number {number}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="turns of each side")
    parser.add_argument("--steps", type=int, default=3, help="steps a turn")
    parser.add_argument("--precision", choices=PRECISIONS, action="append")
    parser.add_argument("--model", type=Path, help="use this SD 1.5 file instead of a random one")
    parser.add_argument("--launch-only", action="store_true", help="measure no steps")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        make_pictures(place / "pictures" / "1000_thing")
        model = given.model or place / "random.safetensors"
        if not model.exists():
            made = [sys.executable, "-m", "tools.make_random_model", "--family", "sd1"]
            subprocess.run([*made, "--size", "real", "--out", str(model)], check=True)
        for precision in given.precision or PRECISIONS:
            if not given.launch_only:
                result = measure(place, model, precision, given.rounds, given.steps)
                show(precision, result)
            launches = [launch_to_first_step(place, model, precision) for _ in range(3)]
            print(precision, "launch to first step:", [round(value, 1) for value in launches])


if __name__ == "__main__":
    main()
