"""The script that tries prompts: what `sd_scripts.script` has to know of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sd_scripts.errors import EXIT_OK, Problem
from sd_scripts.options.jobs import TryPromptsJob
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests
from sd_scripts.script import Ending, Place, Script, run_command, tell

MEMORY_FULL: Final = Problem(
    "The memory is full",
    "width, height, precision",
    "Paint smaller pictures, unload other programs' models, or choose precision bf16.",
)
DISK_FULL: Final = Problem(
    "The disk is full", "run_dir", "Free some space, then ask for the pictures again."
)


def run_trying(argv: Sequence[str], greeting: str = "") -> int:
    """Be the script; returns its exit code. `greeting` begins the log."""
    return run_command(
        Script(
            name=TryPromptsJob.name,
            job_type=TryPromptsJob,
            work=_work,
            check=_check,
            place=lambda job: Place(None, "try it"),
            memory_full=MEMORY_FULL,
            disk_full=DISK_FULL,
            prepare=_prepare,
            greeting=greeting,
        ),
        argv,
    )


def _prepare(job: TryPromptsJob) -> None:
    from sd_scripts.families.light_imports import import_model_libraries

    import_model_libraries(needed=("scipy",))


def _work(
    job: TryPromptsJob, run: RunFolder, reporter: Reporter, requests: Requests
) -> tuple[Ending, str]:
    from sd_scripts.painting.work import take_orders

    return take_orders(job, run, reporter, requests)


def _check(job: TryPromptsJob, notes: Sequence[Problem]) -> int:
    """Nothing is known before the first order; the options alone can be wrong."""
    tell(notes)
    print("The options are right. Models and networks are named by each order.")
    return EXIT_OK
