"""One training run from a checked job to its last save, in an open run folder."""

from __future__ import annotations

from typing import Final, Literal

from sd_scripts.errors import Problem, UserError
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests, StopRequested
from sd_scripts.script import stop_at_errors
from sd_scripts.train.build import build, lay_foundation
from sd_scripts.train.class_painting import paint_class
from sd_scripts.train.entry import output_folder
from sd_scripts.train.environment import environment_problems
from sd_scripts.train.inputs import BrokenPictures
from sd_scripts.train.loop import train
from sd_scripts.train.preflight import Preflight, look_ahead
from sd_scripts.train.session import Session

_MAX_PLANS: Final = 5
"""How often pictures may turn out to be broken before that is taken for a fault of the disk."""


def run_training(
    job: TrainingJob, run: RunFolder, reporter: Reporter, requests: Requests
) -> tuple[Literal["finished", "stopped"], str]:
    """Check, load, train and save; returns how it ended and says so in a sentence.

    Raises `UserError` for what the user can mend.
    """
    try:
        session = open_session(job, run, reporter, requests)
    except StopRequested:
        return "stopped", "Stopped on request before the first step; encoded pictures are kept"
    try:
        status = train(session)
    finally:
        session.close()
    return status, _ended(status, session)


def _ended(status: str, session: Session) -> str:
    step, total = session.position.step, session.arithmetic.total_steps
    if status == "finished":
        return f"Finished: all {total} steps are trained and saved"
    return f"Stopped on request after {step} of {total} steps; they are saved and can be resumed"


def open_session(
    job: TrainingJob, run: RunFolder, reporter: Reporter, requests: Requests
) -> Session:
    """Do everything that comes before the first step.

    Raises `UserError`, or `StopRequested` if a stop is asked for meanwhile.
    """
    checked = checked_job(job, run, reporter)
    foundation = lay_foundation(job, run, checked, reporter, requests)
    if checked.class_pictures is not None and checked.class_pictures.missing:
        paint_class(job, checked.class_pictures, foundation)
        told = {problem.message for problem in checked.problems}
        checked = checked_job(job, run, reporter, known=told)
    for _ in range(_MAX_PLANS):
        requests.raise_if_stopped()
        try:
            return build(job, run, checked, foundation)
        except BrokenPictures as error:
            broken = error
            known = {problem.message for problem in checked.problems}
            checked = checked_job(job, run, reporter, known=known)
    raise UserError(
        f"Pictures cannot be decoded, and that cannot be noted in the cache folder: {broken}",
        option="train_data_dir, cache_dir",
        hint="Take these pictures out, or choose another cache_dir.",
    )


def checked_job(
    job: TrainingJob,
    run: RunFolder,
    reporter: Reporter,
    known: set[str] | frozenset[str] = frozenset(),
) -> Preflight:
    """Look at everything the job needs; raises `UserError` with all that is wrong.

    Warnings become events, but for those in `known`, which were told before.
    """
    checked = look_ahead(job, output_folder(job, run), progress=reporter.phase)
    problems: list[Problem] = [*checked.problems, *environment_problems(job)]
    stop_at_errors([p for p in problems if p.message not in known], reporter)
    return checked
