"""From a command line to an exit code: parse, check, train, and tell how it ended.

Torch is imported only once a job is known to be sensible, so that mistakes are told at once.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from sd_scripts.errors import (
    EXIT_FAULT,
    EXIT_OK,
    EXIT_USER,
    Problem,
    UserError,
    errors_among,
    raise_if_errors,
)
from sd_scripts.options.command_line import parse_command_line
from sd_scripts.options.jobs import Job, TrainingJob
from sd_scripts.options.toml_file import job_to_toml
from sd_scripts.options.values import job_warnings, replace_values
from sd_scripts.runs.console import output_to
from sd_scripts.runs.events import EndEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import open_run
from sd_scripts.train.progress import Reporter
from sd_scripts.train.requests import Requests
from sd_scripts.train.state_facts import find_state, read_facts


def run_script(job_type: type[Job], script: str) -> int:
    """Be the process of a training script; returns its exit code."""
    # Beside one other busy process, the default makes a step take many times longer. It is read
    # when torch is loaded, which has not happened yet.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return main(job_type, script, sys.argv[1:], prepare=_import_lightly)


def _import_lightly(job: TrainingJob) -> None:
    from sd_scripts.families.light_imports import import_model_libraries

    import_model_libraries(needed=("scipy",) if job.preview.sample_prompts else ())


def _nothing(job: TrainingJob) -> None:
    pass


def main(
    job_type: type[Job],
    script: str,
    argv: Sequence[str],
    prepare: Callable[[TrainingJob], None] = _nothing,
) -> int:
    """Run a training script; returns its exit code (0 done, 2 for the user to mend, 1 a fault).

    `prepare` is called before torch and the model libraries are imported.
    """
    # It tells of an optional kernel that nobody here asked for, each time it is imported.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    try:
        launch = parse_command_line(job_type, argv, f"python -m sd_scripts.{script}")
        job = with_seed(launch.job)
        found_later = job_warnings(job)
        notes = [note for note in launch.warnings if note not in found_later]
        if launch.print_config:
            print(job_to_toml(job), end="")
            return EXIT_OK
        if launch.check_only:
            prepare(job)
            from sd_scripts.train.report import check_only

            return check_only(job, notes)
        run = open_run(
            launch.run_dir,
            output_dir=job.saving.output_dir,
            name=job.saving.output_name or "last",
            job=script,
            config_toml=job_to_toml(job),
        )
    except UserError as error:
        tell(error.problems)
        return EXIT_USER
    return run_job(job, run, prepare, notes)


def with_seed(job: Job) -> TrainingJob:
    """Return the job with a seed: its own, that of the state it resumes, or a drawn one."""
    assert isinstance(job, TrainingJob)
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


def tell(problems: Sequence[Problem]) -> None:
    """Write every problem to standard error, one a line with its remedy below."""
    for problem in problems:
        word = "Warning" if problem.severity == "warning" else "Error"
        named = f" [{problem.option}]" if problem.option else ""
        print(f"{word}{named}: {problem.message}", file=sys.stderr)
        if problem.hint:
            print(f"  → {problem.hint}", file=sys.stderr)


def run_job(
    job: TrainingJob,
    run: RunFolder,
    prepare: Callable[[TrainingJob], None] = _nothing,
    notes: Sequence[Problem] = (),
) -> int:
    """Train in an open run folder. Whatever happens is the run's last event and in its log.

    `notes` are warnings about how the job was written, told first of all.
    """
    with output_to(run), Reporter(run.events) as reporter:
        requests = Requests(run, reporter)
        with requests.listening():
            for note in notes:
                reporter.warn(note)
            prepare(job)
            code = _run_told(job, run, reporter, requests)
        requests.clear()
        return code


def _run_told(job: TrainingJob, run: RunFolder, reporter: Reporter, requests: Requests) -> int:
    try:
        from sd_scripts.train.run import run_training

        status, reason = run_training(job, run, reporter, requests)
    except UserError as error:
        return _failed(reporter, error.problems)
    except KeyboardInterrupt:
        return _failed(reporter, [Problem("Interrupted before anything could be saved")])
    except MemoryError:
        return _failed(reporter, [_OUT_OF_MEMORY])
    except OSError as error:
        traceback.print_exc()
        return _failed(reporter, [_disk_problem(error)])
    except Exception as error:  # noqa: BLE001 - told with its traceback, and as a fault of ours
        traceback.print_exc()
        if _is_out_of_memory(error):
            return _failed(reporter, [_OUT_OF_MEMORY])
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        hint = "This is a fault of the program; the log has the details."
        reporter.end(EndEvent(status="failed", reason=reason, hint=hint))
        return EXIT_FAULT
    requests.acknowledge_stop()
    reporter.end(EndEvent(status=status, reason=reason))
    return EXIT_OK


_OUT_OF_MEMORY = Problem(
    "The memory is full",
    "train_batch_size, resolution",
    "Try, in this order: cache_latents, gradient_checkpointing, mixed_precision bf16, a smaller "
    "batch, a smaller resolution.",
)


def _is_out_of_memory(error: Exception) -> bool:
    """Tell whether a graphics card's memory is full, or main memory in PyTorch's words for it."""
    return type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error)


def _disk_problem(error: OSError) -> Problem:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        hint = "Free some space, then start again or resume from the last saved state."
        return Problem(f"The disk is full{where}", "output_dir", hint)
    return Problem(
        f"A file or folder could not be used: {error.strerror or error}{where}",
        None,
        "Check that it is there and that you may read and write it.",
    )


def _failed(reporter: Reporter, problems: Sequence[Problem]) -> int:
    told = errors_among(problems) or list(problems)
    tell(problems)
    reason = told[0].message
    if len(told) > 1:
        reason = f"{len(told)} things have to be mended before this can run"
    end = EndEvent(status="failed", reason=reason, hint=told[0].hint, problems=tuple(problems))
    reporter.end(end)
    return EXIT_USER


def stop_at_errors(problems: Sequence[Problem], reporter: Reporter) -> None:
    """Tell warnings as events, and raise if there are errors."""
    raise_if_errors(problems)
    for problem in problems:
        reporter.warn(problem)


def output_folder(job: TrainingJob, run: RunFolder) -> Path:
    """Return where trained files go."""
    return Path(job.saving.output_dir).absolute() if job.saving.output_dir else run.output
