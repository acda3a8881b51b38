"""The doctor as a job: it examines a data set in a run folder and leaves its report there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sd_scripts.dataset.doctor.examine import Examination, Listening, examine
from sd_scripts.dataset.doctor.findings import Report
from sd_scripts.dataset.doctor.report_text import in_lines
from sd_scripts.dataset.doctor.view import CaptionWishes
from sd_scripts.dataset.words import count
from sd_scripts.errors import EXIT_OK, EXIT_USER, Problem, UserError, errors_among
from sd_scripts.files import write_atomic
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.jobs import CheckPicturesJob
from sd_scripts.runs.events import StartEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests
from sd_scripts.script import Ending, Place, Script, run_command, tell

REPORT_NAME: Final = "report.json"
"""The report's name in the run's output folder."""
_OF_FOLDERS: Final = ("train_data_dir", "dataset_config", "in_json", "picture_decisions", "reso")


def run_check(argv: Sequence[str]) -> int:
    """Be the script; returns its exit code."""
    return run_command(
        Script(
            name=CheckPicturesJob.name,
            job_type=CheckPicturesJob,
            work=_check,
            check=_check_only,
            place=lambda job: Place(None, f"doctor {Path(_folder(job)).name}"),
            memory_full=Problem(
                "The memory is full",
                "max_data_loader_n_workers",
                "Choose fewer reading threads.",
            ),
            disk_full=Problem(
                "The disk is full", "report_path", "Free some space, then start again."
            ),
        ),
        argv,
    )


def examination_of(job: CheckPicturesJob) -> Examination:
    """Return what a job asks the doctor to do."""
    checks = job.checks
    return Examination(
        data=DataOptions.model_validate(job.data.model_dump()),
        caption=CaptionOptions(caption_extension=checks.caption_extension),
        family=checks.model_family,
        wishes=CaptionWishes(checks.trigger_word, checks.max_token_length or 75),
        skipped=checks.skip_checks,
        threads=checks.max_data_loader_n_workers,
    )


def _folder(job: CheckPicturesJob) -> str:
    return job.data.train_data_dir or job.data.in_json or job.data.dataset_config or "pictures"


def _check(
    job: CheckPicturesJob, run: RunFolder, reporter: Reporter, requests: Requests
) -> tuple[Ending, str]:
    def should_stop() -> bool:
        requests.wait_while_paused()
        return requests.stop()

    # How many pictures there are is known once they are listed; the phases tell it.
    reporter.start(_start(run))
    report, problems = examine(
        examination_of(job), Listening(progress=reporter.phase, should_stop=should_stop)
    )
    if wrong := _hopeless(problems, report):
        raise UserError.of(wrong)
    for problem in problems:
        reporter.warn(problem)
    write_atomic(run.output / REPORT_NAME, report.to_json())
    if job.checks.report_path is not None:
        _write_copy(Path(job.checks.report_path).expanduser(), report)
    lines = list(in_lines(report))
    write_atomic(run.output / "report.txt", "\n".join(lines) + "\n")
    for line in lines:
        reporter.say(line)
    if not report.complete:
        return "stopped", "Stopped on request; the report is about what was seen until then"
    return "finished", f"Finished: {report.verdict}"


def _hopeless(problems: Sequence[Problem], report: Report) -> list[Problem]:
    """What leaves nothing to examine. Other errors are what the doctor is there to tell."""
    if report.num_pictures:
        return []
    told = errors_among(problems)
    first = [one for one in told if any(name in (one.option or "") for name in _OF_FOLDERS)]
    return first or told


def _write_copy(path: Path, report: Report) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, report.to_json())
    except OSError as error:
        raise UserError(
            f"the report can't be written to {path}: {error.strerror or error}",
            option="report_path",
            hint="choose another place, or leave it empty",
        ) from error


def _start(run: RunFolder) -> StartEvent:
    return StartEvent(
        total_steps=0, num_epochs=0, num_images=0, family="", trainable_parameters=0, name=run.id
    )


def _check_only(job: CheckPicturesJob, notes: Sequence[Problem]) -> int:
    """Look at the folders and captions, not into the pictures."""
    report, problems = examine(examination_of(job), Listening(should_stop=lambda: True))
    told = [*notes, *problems]
    tell(told)
    print(f"{count(report.num_pictures, 'picture')} would be looked at.")
    return EXIT_USER if _hopeless(problems, report) else EXIT_OK
