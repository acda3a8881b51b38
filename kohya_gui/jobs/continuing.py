"""Going on from a run: from a training state, anew from one of its files, or all of it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kohya_gui.jobs.feed import RunFeed
from kohya_gui.jobs.launch import JobRequest
from kohya_gui.jobs.processes import Processes
from kohya_gui.jobs.store import RunSummary
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import JOBS, TrainingJob
from sd_scripts.options.toml_file import job_to_toml, read_toml
from sd_scripts.options.values import job_from_values
from sd_scripts.runs.events import SaveEvent

FORK_OPTIONS: Final[dict[str, str]] = {
    "train_network": "network_weights",
    "train_db": "pretrained_model_name_or_path",
    "fine_tune": "pretrained_model_name_or_path",
    "train_textual_inversion": "weights",
}
"""The option of each kind of job that names what it begins with."""


@dataclass(frozen=True)
class Fork:
    """A new job from a saved file: the option that names it, and the step it was saved at."""

    option: str
    file: Path
    step: int


def fork_of(summary: RunSummary, file: str) -> Fork:
    """Return how a run's job begins anew with one of its own files.

    Raises `UserError` if the run has not saved that file, it is gone, or the job has nothing to
    begin with.
    """
    option = FORK_OPTIONS.get(summary.job)
    save = _save(summary, file, "weights")
    if option is None or save is None:
        raise UserError(
            f"The file {file} is none that “{summary.name}” saved, or it is not there any more.",
            hint="Choose one of its saved files.",
        )
    return Fork(option, summary.folder.path / save.path, save.step)


NEWEST: Final = "1"


def state_of(summary: RunSummary, wish: str) -> Path:
    """Return the state to resume a run from: its newest one for `NEWEST`, else the one of that
    path. Raises `UserError` if it is not there."""
    if wish == NEWEST:
        newest = summary.status.resume_from
        # A row of the list may be older than somebody's cleaning up.
        found = newest if newest is not None and newest.is_dir() else None
    else:
        save = _save(summary, wish, "state")
        found = summary.folder.path / save.path if save else None
    if found is None:
        raise UserError(
            f"“{summary.name}” has no such state to go on from any more.",
            hint="Begin again with its settings, or train on from one of its files.",
        )
    return found


def request_again(summary: RunSummary, *, allow_hub: bool, processes: Processes) -> JobRequest:
    """Return the job of a run as it was, to be done once more in a run folder of its own.

    Raises `UserError` when its settings cannot be read or understood.
    """
    job_type = JOBS.get(summary.job)
    run = summary.folder
    if job_type is None:
        raise UserError(
            f"The job of “{summary.name}” is not known.", hint="Start it from its page."
        )
    try:
        values = read_toml(run.config.read_text("utf-8"), run.config.name)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The settings of “{summary.name}” cannot be read: {error}") from error
    # A run writes into its own folder unless told otherwise; the next one has another.
    if Path(str(values.get("output_dir", ""))) == run.output:
        values.pop("output_dir")
    trains = issubclass(job_type, TrainingJob)
    return JobRequest(
        job_name=summary.job,
        config_toml=job_to_toml(job_from_values(job_type, values)),
        name=summary.name,
        allow_hub=allow_hub,
        processes=processes if trains else Processes(),
    )


def _save(summary: RunSummary, file: str, kind: str) -> SaveEvent | None:
    feed = RunFeed(summary.folder.events)
    try:
        feed.poll()
    except OSError:
        return None
    return next(
        (
            save
            for save in reversed(feed.saves)
            if save.kind == kind
            and str(summary.folder.path / save.path) == file
            and (summary.folder.path / save.path).exists()
        ),
        None,
    )
