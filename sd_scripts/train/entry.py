"""The training scripts: what `sd_scripts.script` has to know of a training job."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from sd_scripts.errors import EXIT_OK, Problem, UserError
from sd_scripts.options.jobs import Job, RankLossesJob, TrainingJob, WholeModelJob
from sd_scripts.options.values import replace_values
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.machine import settle_process
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests
from sd_scripts.runs.seat import Seat
from sd_scripts.script import Ending, Place, Script, run_command
from sd_scripts.train.state_facts import find_state, read_facts


def run_script(job_type: type[Job], script: str) -> int:
    """Be the process of a training script; returns its exit code."""
    greeting = settle_process(spare_memory=issubclass(job_type, WholeModelJob))
    code = main(job_type, script, sys.argv[1:], prepare=_import_lightly, greeting=greeting)
    if code != EXIT_OK and Seat.of(os.environ).size > 1:
        # Connections to processes that do not answer would hold up an orderly end for days.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _import_lightly(job: TrainingJob) -> None:
    from sd_scripts.data.ahead import looking_through
    from sd_scripts.families.light_imports import import_model_libraries

    def importing() -> None:
        import_model_libraries(needed=("scipy",) if job.preview.sample_prompts else ())

    if not Seat.of(os.environ).leads:
        importing()
        return
    with looking_through(job):
        importing()


def _nothing(job: TrainingJob) -> None:
    pass


def main(
    job_type: type[Job],
    script: str,
    argv: Sequence[str],
    prepare: Callable[[TrainingJob], None] = _nothing,
    greeting: str = "",
) -> int:
    """Run a training script; returns its exit code (0 done, 2 for the user to mend, 1 a fault).

    `prepare` is called before torch and the model libraries are imported; `greeting` is the first
    line of the run's log.
    """
    assert issubclass(job_type, TrainingJob)
    # It tells of an optional kernel that nobody here asked for, each time it is imported.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    return run_command(
        Script(
            name=script,
            job_type=job_type,
            work=_train,
            check=_check,
            place=_place,
            memory_full=_MEMORY_FULL,
            disk_full=_DISK_FULL,
            complete=with_seed,
            prepare=prepare,
            greeting=greeting,
            several=not issubclass(job_type, RankLossesJob),
        ),
        argv,
    )


def _train(
    job: TrainingJob, run: RunFolder, reporter: Reporter, requests: Requests
) -> tuple[Ending, str]:
    if isinstance(job, RankLossesJob):
        from sd_scripts.train.ranking import rank_losses

        return rank_losses(job, run, reporter, requests)
    from sd_scripts.train.run import run_training

    return run_training(job, run, reporter, requests)


def _check(job: TrainingJob, notes: Sequence[Problem]) -> int:
    from sd_scripts.train.report import check_only

    return check_only(job, notes)


def _place(job: TrainingJob) -> Place:
    return Place(job.saving.output_dir, job.result_name or "last")


_MEMORY_FULL: Final = Problem(
    "The memory is full",
    "train_batch_size, resolution",
    "Try, in this order: cache_latents, gradient_checkpointing, mixed_precision bf16, a smaller "
    "batch, a smaller resolution.",
)
_DISK_FULL: Final = Problem(
    "The disk is full",
    "output_dir",
    "Free some space, then start again or resume from the last saved state.",
)


def with_seed(job: TrainingJob) -> TrainingJob:
    """Return the job with a seed: its own, that of the state it resumes, or a drawn one."""
    if job.training.seed is not None:
        return job
    resumed = _resumed_seed(job.saving.resume)
    return replace_values(job, {"seed": secrets.randbits(31) if resumed is None else resumed})


def _resumed_seed(resume: str | None) -> int | None:
    """Return the seed of the state to go on from; what is wrong with it is told later, with all."""
    if not resume:
        return None
    try:
        return read_facts(find_state(Path(resume))).seed
    except UserError:
        return None  # told later, with everything else that is wrong


def output_folder(job: TrainingJob, run: RunFolder) -> Path:
    """Return where trained files go."""
    return Path(job.saving.output_dir).absolute() if job.saving.output_dir else run.output
