"""From a command line to an exit code, for every script: parse, work in a run folder, tell the end.

What a script does is said in a `Script`. Heavy libraries are imported only once a job is known to
be sensible, so that mistakes are told at once.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

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
from sd_scripts.options.jobs import Job
from sd_scripts.options.toml_file import job_to_toml
from sd_scripts.options.values import job_warnings
from sd_scripts.runs.console import output_to
from sd_scripts.runs.events import EndEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import open_run
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests
from sd_scripts.runs.seat import Seat

SomeJob = TypeVar("SomeJob", bound=Job)
Ending = Literal["finished", "stopped"]


def _unchanged(job: SomeJob) -> SomeJob:
    return job


def _nothing(job: Any) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Place:
    """Where a run goes: the folder of its output (None: the run's own) and what it is called."""

    output_dir: str | None
    name: str


@dataclass(frozen=True)
class Script(Generic[SomeJob]):
    """What one script does with its job.

    `name` is its module in `sd_scripts`. `work` does the job in an open run folder and returns how
    it ended, with a sentence; `UserError` is for what the user can mend. `check` prints the report
    of `--check_only` and returns the exit code. `memory_full` and `disk_full` are told when that
    ends the work (the file's name is added to the latter). `complete` fills in what a job leaves
    open; `prepare` is called before anything heavy is imported. `greeting` begins the log.
    `several`: the job can be shared out among processes, all of which then call `work`.
    """

    name: str
    job_type: type[SomeJob]
    work: Callable[[SomeJob, RunFolder, Reporter, Requests], tuple[Ending, str]]
    check: Callable[[SomeJob, Sequence[Problem]], int]
    place: Callable[[SomeJob], Place]
    memory_full: Problem
    disk_full: Problem
    complete: Callable[[SomeJob], SomeJob] = _unchanged
    prepare: Callable[[SomeJob], None] = _nothing
    greeting: str = ""
    several: bool = False


def run_command(script: Script[SomeJob], argv: Sequence[str]) -> int:
    """Run a script; returns its exit code (0 done, 2 for the user to mend, 1 a fault of ours)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    seat = Seat.of(os.environ)
    try:
        launch = parse_command_line(script.job_type, argv, f"python -m sd_scripts.{script.name}")
        job = script.complete(launch.job)
        found_later = job_warnings(job)
        notes = [note for note in launch.warnings if note not in found_later]
        if launch.print_config:
            if seat.leads:
                print(job_to_toml(job), end="")
            return EXIT_OK
        if seat.size > 1 and (launch.check_only or not script.several):
            raise UserError(
                f"This was started in {seat.size} processes, and "
                f"{'--check_only' if launch.check_only else script.name} works in one",
                hint=f"Start it with python -m sd_scripts.{script.name}.",
            )
        if launch.check_only:
            script.prepare(job)
            return script.check(job, notes)
        if not seat.leads:
            return _follow(script, job, RunFolder(launch.run_dir or Path()), seat)
        place = script.place(job)
        run = open_run(
            launch.run_dir,
            output_dir=place.output_dir,
            name=place.name,
            job=script.name,
            config_toml=job_to_toml(job),
        )
    except UserError as error:
        if seat.speaks:
            tell(error.problems)
        return EXIT_USER
    return run_in_folder(script, job, run, notes)


class ToldElsewhere(Exception):
    """This process cannot go on, which the leader of all processes tells."""


def _follow(script: Script[SomeJob], job: SomeJob, run: RunFolder, seat: Seat) -> int:
    """Work as one of several processes that another one leads, which alone writes and decides.

    `run` is not looked at. What goes wrong is told here only if the leader cannot.
    """
    with Reporter(run.events, main_process=False) as reporter:
        requests = Requests(run, reporter, seat)
        with requests.listening():
            script.prepare(job)
            try:
                script.work(job, run, reporter, requests)
            except ToldElsewhere:
                return EXIT_FAULT
            except UserError as error:
                tell(error.problems)
                return EXIT_USER
            except Exception:  # noqa: BLE001 - told here, since the leader could not be reached
                traceback.print_exc()
                return EXIT_FAULT
    return EXIT_OK


def run_in_folder(
    script: Script[SomeJob], job: SomeJob, run: RunFolder, notes: Sequence[Problem] = ()
) -> int:
    """Work in an open run folder. Whatever happens is the run's last event and in its log.

    `notes` are warnings about how the job was written, told first of all.
    """
    with output_to(run), Reporter(run.events) as reporter:
        requests = Requests(run, reporter, Seat.of(os.environ))
        with requests.listening():
            if script.greeting:
                reporter.say(script.greeting)
            for note in notes:
                reporter.warn(note)
            script.prepare(job)
            code = _work_told(script, job, run, reporter, requests)
        requests.clear()
        return code


def _work_told(
    script: Script[SomeJob], job: SomeJob, run: RunFolder, reporter: Reporter, requests: Requests
) -> int:
    try:
        status, reason = script.work(job, run, reporter, requests)
    except UserError as error:
        return _failed(reporter, error.problems)
    except KeyboardInterrupt:
        return _failed(reporter, [Problem("Interrupted before anything could be saved")])
    except MemoryError:
        return _failed(reporter, [script.memory_full])
    except OSError as error:
        traceback.print_exc()
        return _failed(reporter, [disk_problem(error, script.disk_full)])
    except Exception as error:  # noqa: BLE001 - told with its traceback, and as a fault of ours
        traceback.print_exc()
        if is_out_of_memory(error):
            return _failed(reporter, [script.memory_full])
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        hint = "This is a fault of the program; the log has the details."
        reporter.end(EndEvent(status="failed", reason=reason, hint=hint))
        return EXIT_FAULT
    requests.acknowledge_stop()
    reporter.end(EndEvent(status=status, reason=reason))
    return EXIT_OK


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether a graphics card's memory is full, or main memory in PyTorch's words for it."""
    return type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error)


def disk_problem(error: OSError, disk_full: Problem) -> Problem:
    """Put a file that could not be used into words."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return replace(disk_full, message=f"{disk_full.message}{where}")
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


def tell(problems: Sequence[Problem]) -> None:
    """Write every problem to standard error, one a line with its remedy below."""
    for problem in problems:
        word = "Warning" if problem.severity == "warning" else "Error"
        named = f" [{problem.option}]" if problem.option else ""
        print(f"{word}{named}: {problem.message}", file=sys.stderr)
        if problem.hint:
            print(f"  → {problem.hint}", file=sys.stderr)


def stop_at_errors(problems: Sequence[Problem], reporter: Reporter) -> None:
    """Tell warnings as events, and raise if there are errors."""
    raise_if_errors(problems)
    for problem in problems:
        reporter.warn(problem)
