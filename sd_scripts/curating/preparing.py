"""Preparing pictures as a job: looked at, told, made in a new place. Originals are only read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sd_scripts.curating.gathering import Progress, gather
from sd_scripts.curating.layout import Copies, Layout, Preparation, prepare, told
from sd_scripts.curating.making import Stopped, make
from sd_scripts.dataset.buckets import BucketSettings
from sd_scripts.dataset.checks import check_sizes
from sd_scripts.dataset.doctor.examine import usable_cores
from sd_scripts.dataset.pictures import PictureProblem, shown
from sd_scripts.dataset.words import count
from sd_scripts.errors import EXIT_OK, EXIT_USER, Problem, UserError, errors_among
from sd_scripts.files import nearest_folder, write_atomic
from sd_scripts.options.jobs import PreparePicturesJob
from sd_scripts.runs.events import StartEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests
from sd_scripts.script import Ending, Place, Script, run_command, stop_at_errors, tell

PLAN_NAME: Final = "prepared.json"
"""In the run's output folder: which file is made of which picture."""
_DISK_FULL: Final = Problem(
    "The disk is full; nothing was made",
    "output_dir",
    "Free some space, choose another place, or save as jpg.",
)


def run_prepare(argv: Sequence[str]) -> int:
    """Be the script; returns its exit code."""
    return run_command(
        Script(
            name=PreparePicturesJob.name,
            job_type=PreparePicturesJob,
            work=_prepare,
            check=_check_only,
            place=lambda job: Place(None, f"prepare {Path(job.pictures.train_data_dir).name}"),
            memory_full=Problem(
                "The memory is full", "train_data_dir", "Take out the largest pictures."
            ),
            disk_full=_DISK_FULL,
        ),
        argv,
    )


@dataclass
class Prospect:
    """What a job would make, with everything that is wrong."""

    preparation: Preparation | None = None
    problems: list[Problem] = field(default_factory=list)


def look_ahead(job: PreparePicturesJob, progress: Progress | None = None) -> Prospect:
    """Plan everything; nothing is written. Mistakes are problems, never exceptions."""
    problems = [*_place_problems(job), *_size_problems(job)]
    if errors_among(problems):
        return Prospect(problems=problems)
    gathered = gather(job, progress)
    problems += gathered.problems
    wishes = job.folder
    layout = Layout(
        wishes.balance,
        wishes.repeats_in,
        wishes.group_shapes,
        wishes.validation_split,
        wishes.validation_seed,
    )
    preparation = prepare(gathered.concepts, layout, _copies(job))
    needed, there = preparation.num_bytes(), _free_bytes(_output(job))
    if there is not None and needed > there:
        problems.append(
            Problem(
                f"about {needed / 1e6:.0f} MB are needed, and {there / 1e6:.0f} MB are free",
                "output_dir",
                "free some space, choose another place, or save as jpg",
            )
        )
    return Prospect(preparation, problems)


def _output(job: PreparePicturesJob) -> Path:
    return Path(job.folder.output_dir).expanduser().absolute()


def _free_bytes(path: Path) -> int | None:
    try:
        return shutil.disk_usage(nearest_folder(path)).free
    except OSError:
        return None  # a place that tells nothing; a full disk is told when it happens


def _place_problems(job: PreparePicturesJob) -> Iterator[Problem]:
    output = _output(job)
    real = Path(os.path.realpath(output))
    source = Path(os.path.realpath(Path(job.pictures.train_data_dir).expanduser()))
    if real == source or real.is_relative_to(source):
        yield Problem(
            f"the new folder {shown(output)} would lie inside the folder of the pictures",
            "output_dir, train_data_dir",
            "choose a place beside it",
        )
    elif source.is_relative_to(real):
        yield Problem(
            f"the pictures lie inside of {shown(output)}, which would be made anew",
            "output_dir, train_data_dir",
            "choose a new, empty folder",
        )
    elif output.exists() and not output.is_dir():
        yield Problem(f"{shown(output)} is a file", "output_dir", "choose another name")
    elif output.is_dir() and any(output.iterdir()):
        yield Problem(
            f"{shown(output)} is not empty; nothing in it is ever overwritten",
            "output_dir",
            "choose a new folder, or empty this one yourself",
        )
    elif not os.access(nearest_folder(output), os.W_OK):
        yield Problem(
            f"nothing can be written to {shown(nearest_folder(output))}",
            "output_dir",
            "choose another place, or change its permissions",
        )


def _size_problems(job: PreparePicturesJob) -> list[Problem]:
    buckets = _buckets(job)
    return list(check_sizes(buckets, None)) if buckets else []


def _buckets(job: PreparePicturesJob) -> BucketSettings | None:
    copies = job.copies
    if copies.resolution is None:
        return None
    return BucketSettings(
        resolution=copies.resolution,
        enable_bucket=copies.enable_bucket,
        min_size=copies.min_bucket_reso,
        max_size=copies.max_bucket_reso,
        step=copies.bucket_reso_steps,
        no_upscale=copies.bucket_no_upscale,
    )


def _copies(job: PreparePicturesJob) -> Copies:
    return Copies(_buckets(job), job.copies.save_pictures_as, job.copies.jpeg_quality)


def _prepare(
    job: PreparePicturesJob, run: RunFolder, reporter: Reporter, requests: Requests
) -> tuple[Ending, str]:
    prospect = look_ahead(job, reporter.phase)
    stop_at_errors(prospect.problems, reporter)
    preparation = prospect.preparation
    assert preparation is not None, "without errors there is a plan"
    number = len(preparation.items)
    reporter.start(_start(run, number))
    write_atomic(run.output / PLAN_NAME, plan_text(preparation))
    for line in told(preparation):
        reporter.say(line)
    if job.folder.dry_run:
        return (
            "finished",
            f"Finished: {count(number, 'picture')} would be made; nothing was written",
        )

    def should_stop() -> bool:
        requests.wait_while_paused()
        return requests.stop()

    output = _output(job)
    try:
        copies = _copies(job)
        make(preparation, copies, output, reporter.phase, should_stop, threads=usable_cores())
    except Stopped:
        return "stopped", "Stopped on request: nothing was made"
    except PictureProblem as problem:
        raise UserError(
            f"{problem}; nothing was made",
            option="train_data_dir",
            hint=f"{problem.hint}, or leave it out by a decision",
        ) from problem
    return "finished", f"Finished: {count(number, 'picture')} in {shown(output)}"


def plan_text(preparation: Preparation) -> str:
    """Return the plan as JSON: folders, and which file is made of which picture."""
    tree = {
        "folders": [
            {"path": str(one.path), "repeats": one.repeats, "words": one.words,
             "pictures": one.num_pictures}
            for one in preparation.folders
        ],
        "pictures": [
            {"from": str(item.source.path), "to": f"{item.target}{item.suffix}",
             "size": list(item.size)}
            for item in preparation.items
        ],
    }  # fmt: skip
    return json.dumps(tree, indent=1) + "\n"


def _start(run: RunFolder, number: int) -> StartEvent:
    return StartEvent(
        total_steps=0,
        num_epochs=0,
        num_images=number,
        family="",
        trainable_parameters=0,
        name=run.id,
    )


def _check_only(job: PreparePicturesJob, notes: Sequence[Problem]) -> int:
    prospect = look_ahead(job)
    tell([*notes, *prospect.problems])
    if prospect.preparation is not None:
        print("\n".join(told(prospect.preparation)))
    return EXIT_USER if errors_among(prospect.problems) else EXIT_OK
