"""One side of `bench_step`: trains the steps it is asked for, and says how long each took."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch

from tools.bench_step import RANK, Size, job_arguments
from tools.turns import serve


def ours(place: Path, model: Path, precision: str, size: Size) -> Callable[[], object]:
    """Open a real session of the trainer; each call is one step with all that belongs to it."""
    from sd_scripts.families.light_imports import import_model_libraries

    import_model_libraries()
    from sd_scripts.options.command_line import parse_command_line
    from sd_scripts.options.jobs import TrainNetworkJob
    from sd_scripts.runs.folder import RunFolder
    from sd_scripts.runs.reporter import Reporter
    from sd_scripts.runs.requests import Requests
    from sd_scripts.train.loop import after_step, steps
    from sd_scripts.train.optimizers import learning_rates
    from sd_scripts.train.run import open_session

    words = job_arguments(place, model, precision, size)
    launch = parse_command_line(TrainNetworkJob, words, "bench")
    run = RunFolder.create(place / "runs", "ours", "")
    reporter = Reporter(run.events)
    session = open_session(launch.job, run, reporter, Requests(run, reporter))
    reporter.start(session.start)
    trained = steps(session)

    def step() -> None:
        done = next(trained)
        reporter.step(done.number, done.epoch, done.loss, learning_rates(session.optimizer))
        after_step(session, done)

    return step


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
