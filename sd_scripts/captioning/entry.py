"""The captioning scripts: what `sd_scripts.script` has to know of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from sd_scripts.errors import Problem, UserError
from sd_scripts.options.jobs import Job, MakeCaptionsJob, MakeMasksJob, TagImagesJob
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests
from sd_scripts.script import Ending, Place, Script, run_command

_MEMORY_FULL: Final = Problem(
    "The memory is full",
    "batch_size",
    "Choose a smaller batch, another device, or a smaller model.",
)
_DISK_FULL: Final = Problem(
    "The disk is full",
    "train_data_dir",
    "Free some space, then start again with only_missing.",
)
_SEVERAL: Final = Problem(
    "Several processes were started for one folder of pictures",
    None,
    "Start it with plain python -m, or with one process.",
)

SomeJob = TypeVar("SomeJob", bound=Job)
LookingJob = TypeVar("LookingJob", TagImagesJob, MakeCaptionsJob, MakeMasksJob)


def run_tagging(argv: Sequence[str], greeting: str = "") -> int:
    """Be the tagging script; returns its exit code. `greeting` begins the log."""
    return run_command(_script(TagImagesJob, _tag, _check_tagging, "tags", greeting), argv)


def run_captioning(argv: Sequence[str], greeting: str = "") -> int:
    """Be the captioning script; returns its exit code. `greeting` begins the log."""
    return run_command(
        _script(MakeCaptionsJob, _caption, _check_captioning, "captions", greeting), argv
    )


def run_masking(argv: Sequence[str], greeting: str = "") -> int:
    """Be the script that makes masks; returns its exit code. `greeting` begins the log."""
    return run_command(_script(MakeMasksJob, _mask, _check_masks, "masks", greeting), argv)


def _script(
    job_type: type[LookingJob],
    work: Callable[[LookingJob, RunFolder, Reporter, Requests], tuple[Ending, str]],
    check: Callable[[LookingJob, Sequence[Problem]], int],
    makes: str,
    greeting: str,
) -> Script[LookingJob]:
    """Describe a script that looks at the pictures of a folder and writes beside them."""
    return Script(
        name=job_type.name,
        job_type=job_type,
        work=work,
        check=check,
        place=lambda job: Place(None, f"{makes} {Path(job.pictures.train_data_dir).name}"),
        greeting=greeting,
        memory_full=_MEMORY_FULL,
        disk_full=_DISK_FULL,
        complete=_alone,
        prepare=quietly,
    )


def _alone(job: SomeJob) -> SomeJob:
    """Return the job; several processes would do the same work. Raises `UserError`."""
    if int(os.environ.get("WORLD_SIZE") or 1) > 1:
        raise UserError.of([_SEVERAL])
    return job


def quietly(job: Job) -> None:
    """Set what the libraries read when they are imported."""
    if not (isinstance(job, TagImagesJob) and job.tagger.force_download):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")


def _tag(
    job: TagImagesJob, run: RunFolder, reporter: Reporter, requests: Requests
) -> tuple[Ending, str]:
    from sd_scripts.captioning.tagging import tag_pictures

    return tag_pictures(job, run, reporter, requests)


def _check_tagging(job: TagImagesJob, notes: Sequence[Problem]) -> int:
    from sd_scripts.captioning.tagging import check_tagging

    return check_tagging(job, notes)


def _caption(
    job: MakeCaptionsJob, run: RunFolder, reporter: Reporter, requests: Requests
) -> tuple[Ending, str]:
    from sd_scripts.captioning.describing import make_captions

    return make_captions(job, run, reporter, requests)


def _check_captioning(job: MakeCaptionsJob, notes: Sequence[Problem]) -> int:
    from sd_scripts.captioning.describing import check_captioning

    return check_captioning(job, notes)


def _mask(
    job: MakeMasksJob, run: RunFolder, reporter: Reporter, requests: Requests
) -> tuple[Ending, str]:
    from sd_scripts.captioning.subject_masks import make_masks

    return make_masks(job, run, reporter, requests)


def _check_masks(job: MakeMasksJob, notes: Sequence[Problem]) -> int:
    from sd_scripts.captioning.subject_masks import check_masks

    return check_masks(job, notes)
