"""The captioning job: look ahead, write a sentence for each picture, tell what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sd_scripts.captioning.captioner_folder import (
    KINDS,
    captioner_folder,
    captioner_problems,
    model_type,
)
from sd_scripts.captioning.plan import Plan, plan_folder, report_lines, verdict
from sd_scripts.captioning.store import merge_lines
from sd_scripts.captioning.work import Workplace, caption_folder
from sd_scripts.dataset.pictures import shown
from sd_scripts.errors import EXIT_OK, EXIT_USER, Problem, errors_among
from sd_scripts.options.jobs import MakeCaptionsJob
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests
from sd_scripts.script import Ending, stop_at_errors, tell

if TYPE_CHECKING:
    from sd_scripts.captioning.captioner import Captioner


def look_ahead(job: MakeCaptionsJob) -> Plan:
    """Check everything that can be known without loading the captioner."""
    plan = plan_folder(job.pictures, job.files)
    plan.problems += captioner_problems(job.captioner)
    return plan


def make_captions(
    job: MakeCaptionsJob, run: RunFolder, reporter: Reporter, requests: Requests
) -> tuple[Ending, str]:
    """Do the job in an open run folder. Raises `UserError` for what the user can mend."""
    plan = look_ahead(job)
    stop_at_errors(plan.problems, reporter)
    folder = captioner_folder(job.captioner)

    def load() -> Captioner:
        reporter.phase("Loading the captioner", 0, 0, shown(folder))
        from sd_scripts.captioning.captioner import Captioner

        engine = Captioner(folder, job)
        reporter.say(f"{engine.title} runs on {engine.device} in {engine.dtype}")
        return engine

    merge = merge_lines if job.files.append_captions else None
    store = plan.store(run, "caption", merge)
    place = Workplace(run, reporter, requests)
    return caption_folder(plan, store, load, job.inference, "Captioning", place)


def check_captioning(job: MakeCaptionsJob, notes: Sequence[Problem]) -> int:
    """Print what would be done and what is wrong; returns the exit code."""
    plan = look_ahead(job)
    problems = [*notes, *plan.problems]
    folder = captioner_folder(job.captioner)
    known = not captioner_problems(job.captioner)
    kind = f" ({KINDS[model_type(folder)].title})" if known else ""
    print("\n".join(report_lines(plan, f"{shown(folder)}{kind}")))
    tell(problems)
    print(verdict(problems))
    return EXIT_USER if errors_among(problems) else EXIT_OK
