"""Measure every other trainer against a bare loop, and how much memory full training needs.

    python -m tools.bench_trainers CASE [--rounds 5] [--steps 2] [--model FILE]

Real sizes, random weights, bf16, 256 px, batch 1, cached latents. The cases:
  full       whole model (U-Net and text encoder) against a plain loop on the same weights
  ti         Textual Inversion against a plain loop that learns two rows of the embedding
  locon loha lokr glora diag-oft ia3    LyCORIS against the library's own network in a plain loop
  sdxl       LoRA on SDXL, one process after the other, since two do not fit
  settings   a plain loop with the processor settings that our scripts make, and without
  memory     the peak of a fresh process: full bf16, fused backward, AdamW8bit and Adafactor
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools.bench_step import make_pictures
from tools.turns import Side, Taken, compared, open_side, show, take_turns

WORKER: Final = "tools.bench_trainers_worker"
LIBRARY: Final = ("locon", "loha", "lokr", "glora", "diag-oft", "ia3")
CASES: Final = ("full", "ti", *LIBRARY, "sdxl", "settings", "memory")
SMALL_OPTIMIZERS: Final = ("AdamW8bit", "Adafactor")
MEMORY_LIMIT_GB: Final = 7.0


def sides_of(case: str) -> tuple[str, str]:
    """Return the names of the two sides of a case: ours and what it is measured against."""
    return ("bare settled", "bare unsettled") if case == "settings" else ("ours", "bare")


def in_turns(case: str, arguments: Sequence[str], rounds: int, steps: int) -> dict[str, float]:
    """Measure two processes that live at the same time."""
    sides = [open_side(name, [case, *arguments], WORKER) for name in sides_of(case)]
    take_turns(sides, rounds, steps)
    for side in sides:
        side.close()
    return compared(*sides)


def one_after_another(
    case: str, arguments: Sequence[str], rounds: int, steps: int
) -> dict[str, float]:
    """Measure processes that do not fit into memory together: each starts anew in every round."""
    found: dict[str, Side] = {}
    for number in range(rounds):
        names = sides_of(case)
        for name in names if number % 2 else reversed(names):
            side = open_side(name, [case, *arguments], WORKER)
            side.ask("step 1")
            side.taken = side.work(steps)
            side.close()
            if name in found:
                side.taken += found[name].taken
                side.peak_bytes = max(side.peak_bytes, found[name].peak_bytes)
            found[name] = side
    return compared(*(found[name] for name in sides_of(case)))


def within_one(arguments: Sequence[str], rounds: int, steps: int) -> dict[str, float]:
    """Measure two loops on the same weights and optimizer, since two whole models do not fit."""
    side = open_side("both", ["full", *arguments], WORKER)
    found: dict[str, list[Taken]] = {"ours": [], "bare": []}
    for number in range(rounds + 1):
        for name in found if number % 2 else reversed(found):
            side.ask(f"turn {name}")
            taken = side.work(steps)
            found[name] += taken if number else []
    side.close()
    ours, bare = (Side(name, side.process, taken) for name, taken in found.items())
    ours.peak_bytes = bare.peak_bytes = side.peak_bytes
    return compared(ours, bare)


def peaks(arguments: Sequence[str], steps: int) -> dict[str, float]:
    """Return the peak memory of full training with each optimizer that is small."""
    found = {}
    for optimizer in SMALL_OPTIMIZERS:
        side = open_side("ours", ["memory", *arguments, optimizer], WORKER)
        side.taken = side.work(steps)
        side.close()
        found[f"{optimizer}_peak_gb"] = side.peak_bytes / 1e9
        found[f"{optimizer}_seconds"] = side.median
    return found


def made_model(place: Path, family: str) -> Path:
    """Write a model of random weights."""
    model = place / f"{family}.safetensors"
    command = [sys.executable, "-m", "tools.make_random_model", "--family", family]
    command += ["--size", "real", "--out", str(model)]
    if family == "sdxl":
        command += ["--dtype", "bf16"]
    subprocess.run(command, check=True)
    return model


def main() -> int:
    """Measure and print; 1 when the memory limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", choices=CASES, metavar="CASE")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--steps", type=int, default=2, help="steps a turn")
    parser.add_argument("--precision", choices=("no", "bf16"), default="bf16")
    parser.add_argument("--model", type=Path, help="a model instead of a random one")
    given = parser.parse_args()
    missed = False
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        make_pictures(place / "pictures" / "1000_thing")
        models: dict[str, Path] = {}
        for case in given.cases:
            family = "sdxl" if case == "sdxl" else "sd1"
            model = given.model or models.get(family) or made_model(place, family)
            models[family] = model
            arguments = [str(place), str(model), given.precision]
            if case == "memory":
                result = peaks(arguments, given.steps)
                missed |= any(result[f"{o}_peak_gb"] > MEMORY_LIMIT_GB for o in SMALL_OPTIMIZERS)
            elif case == "full":
                result = within_one(arguments, given.rounds, given.steps)
            else:
                measure = one_after_another if case == "sdxl" else in_turns
                result = measure(case, arguments, given.rounds, given.steps)
            show(f"{case} {given.precision}", result)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
