"""One side of `bench_step`: trains the steps it is asked for, and says how long each took."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch

from tools.bench_session import open_stepping
from tools.bench_step import RANK, Size, job_arguments
from tools.turns import serve


def ours(place: Path, model: Path, precision: str, size: Size) -> Callable[[], object]:
    """Open a session of the trainer; each call is one step."""
    from sd_scripts.options.jobs import TrainNetworkJob

    words = job_arguments(place, model, precision, size)
    return open_stepping(TrainNetworkJob, words, place)[1]


def bare(place: Path, model: Path, precision: str, size: Size) -> Callable[[], object]:
    """Open the yardstick on the same weights, with latents and tokens at hand."""
    from sd_scripts.families.base import LoadOptions
    from sd_scripts.families.registry import FAMILIES
    from tools.bench_bare import BareLoop

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    options = LoadOptions(dtype=dtype, parts=frozenset(["text_encoders"]))
    loaded = FAMILIES["sd1"].load(model, options)
    tokens = loaded.family.tokenize(loaded, ["a photo of a thing, number 1"])[0][:, 0]
    loop = BareLoop(loaded.unet, loaded.text_encoders[0], rank=RANK, dtype=dtype)
    tokens = tokens.expand(size.batch, -1)
    latents = torch.randn(size.batch, 4, size.side // 8, size.side // 8)
    return lambda: loop.step(latents, tokens)


def main() -> None:
    """Be one side of the benchmark."""
    name, place, model, precision, side, batch = sys.argv[1:7]
    make, size = {"ours": ours, "bare": bare}[name], Size(int(side), int(batch))
    serve(lambda: make(Path(place), Path(model), precision, size))


if __name__ == "__main__":
    main()
