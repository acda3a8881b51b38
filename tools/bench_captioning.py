"""Measure a captioning job against its model alone: how much of the model's speed is kept.

`python -m tools.bench_captioning tagger` (or `captioner`) loads the model that ships, or the one
in --model, and takes turns in one process: the bare model on batches that are prepared already, and
the whole job (reading, preparing, writing caption files, telling events) over the same pictures.
It prints pictures a second of both and the ratio of the medians; at least 0.95 is wanted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sd_scripts.captioning.captioner_folder import captioner_folder, captioner_problems
from sd_scripts.captioning.pictures import Picture, find_pictures
from sd_scripts.captioning.pipeline import Engine, Reading, batches_of
from sd_scripts.captioning.store import CaptionFiles
from sd_scripts.captioning.tagging import look_ahead
from sd_scripts.captioning.work import Walk, Workplace, num_threads
from sd_scripts.errors import UserError, raise_if_errors
from sd_scripts.options.jobs import MakeCaptionsJob, TagImagesJob
from sd_scripts.options.values import job_from_values
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests
from sd_scripts.runs.undo import UndoJournal


def load_engine(arguments: argparse.Namespace, folder: Path) -> Engine:
    """Load the model. Raises `UserError`."""
    values: dict[str, Any] = {"train_data_dir": str(folder), "batch_size": arguments.batch_size}
    if arguments.kind == "tagger":
        tagging = job_from_values(TagImagesJob, {**values, "model_dir": arguments.model})
        found = look_ahead(tagging)
        raise_if_errors(found.problems)
        return found.load(tagging)
    from sd_scripts.captioning.captioner import Captioner

    values |= {"caption_weights": arguments.model, "beam_search": True, "num_beams": 3}
    captioning = job_from_values(MakeCaptionsJob, values)
    raise_if_errors(captioner_problems(captioning.captioner))
    return Captioner(captioner_folder(captioning.captioner), captioning)


def draw_pictures(folder: Path, count: int, side: int) -> None:
    """Write pictures that take as long to decode as photos do."""
    rng = np.random.default_rng(0)
    for number in range(count):
        rough = Image.fromarray(rng.integers(0, 255, (side // 8, side // 8, 3), np.uint8))
        rough.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{number:05}.jpg")


def time_bare(engine: Engine, batches: Sequence[Any]) -> float:
    """Return the seconds that the model alone takes."""
    began = time.perf_counter()
    for inputs in batches:
        engine.infer(inputs)
    return time.perf_counter() - began


def time_job(engine: Engine, pictures: Sequence[Picture], threads: int) -> float:
    """Return the seconds that the job takes from the first picture to the last caption file."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        run = RunFolder(Path(folder))
        run.make_folders()
        with Reporter(run.events) as reporter:
            place = Workplace(run, reporter, Requests(run, reporter))
            walk = Walk(engine, CaptionFiles(UndoJournal(run.undo)), place, "Working")
            began = time.perf_counter()
            walk.over(pictures, Reading(threads))
            seconds = time.perf_counter() - began
    assert walk.tally.written == len(pictures)
    return seconds


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Take turns and print what came out. Raises `UserError`."""
    if arguments.pictures is None:
        draw_pictures(folder, arguments.count, arguments.side)
    else:
        for path in sorted(arguments.pictures.iterdir())[: arguments.count]:
            shutil.copyfile(path, folder / path.name)
    engine = load_engine(arguments, folder)
    pictures = find_pictures(folder, ".txt", recursive=False).pictures
    threads = num_threads(None)
    batches = [batch.inputs for batch in batches_of(engine, pictures, Reading(threads))]
    time_bare(engine, batches)
    bare, job = [], []
    for _ in range(arguments.rounds):
        bare.append(time_bare(engine, batches))
        job.append(time_job(engine, pictures, threads))
    engine.close()
    for name, seconds in (("bare model", bare), ("whole job", job)):
        rates = ", ".join(f"{len(pictures) / one:.1f}" for one in seconds)
        print(f"{name}: {len(pictures) / statistics.median(seconds):.1f} pictures/s ({rates})")
    ratio = statistics.median(bare) / statistics.median(job)
    print(f"The job keeps {ratio:.1%} of the model's own speed ({threads} threads).")


def main(argv: Sequence[str]) -> int:
    """Be the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench_captioning", description=__doc__)
    parser.add_argument("kind", choices=("tagger", "captioner"))
    parser.add_argument("--model", help="folder of the model (default: the one that ships)")
    parser.add_argument("--pictures", type=Path, help="folder of pictures (default: drawn ones)")
    parser.add_argument("--count", type=int, default=64, help="how many pictures")
    parser.add_argument("--side", type=int, default=512, help="size of drawn pictures, in pixels")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--batch_size", type=int, default=4)
    arguments = parser.parse_args(argv)
    # Beside one other busy process, threads that spin make everything many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with tempfile.TemporaryDirectory() as folder:
        try:
            measure(arguments, Path(folder))
        except UserError as error:
            print("\n".join(str(problem) for problem in error.problems), file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
