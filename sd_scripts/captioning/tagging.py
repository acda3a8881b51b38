"""The tagging job: look ahead, tag a folder of pictures, tell what came of it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sd_scripts.captioning.labels import TaggerFiles, TagList, find_tagger, read_tags
from sd_scripts.captioning.onnx_tagger import OnnxTagger
from sd_scripts.captioning.plan import Plan, plan_folder, report_lines, verdict
from sd_scripts.captioning.store import merge_tags
from sd_scripts.captioning.tagger_folder import (
    download,
    missing_tagger,
    offline_problem,
    tagger_folder,
)
from sd_scripts.captioning.tags import unknown_tags, unused_options
from sd_scripts.captioning.work import Workplace, caption_folder
from sd_scripts.dataset.pictures import shown
from sd_scripts.errors import EXIT_OK, EXIT_USER, Problem, UserError, errors_among
from sd_scripts.files import write_atomic
from sd_scripts.options.jobs import TagImagesJob
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests
from sd_scripts.script import Ending, stop_at_errors, tell

FREQUENCY_NAME: Final = "tag_frequency.csv"


@dataclass
class TaggingPlan:
    """The pictures, and the tagger as far as its small files show it (None: something is wrong)."""

    plan: Plan
    folder: Path
    files: TaggerFiles | None
    tag_list: TagList | None

    @property
    def problems(self) -> list[Problem]:
        """Everything that is wrong or worth knowing."""
        return self.plan.problems

    def load(self, job: TagImagesJob) -> OnnxTagger:
        """Load the tagger. Raises `UserError`."""
        assert self.files is not None
        assert self.tag_list is not None
        return OnnxTagger(self.files, self.tag_list, job)


def look_ahead(job: TagImagesJob) -> TaggingPlan:
    """Check everything that can be known without loading the tagger."""
    plan = plan_folder(job.pictures, job.files)
    folder = tagger_folder(job.tagger)
    found = TaggingPlan(plan, folder, find_tagger(folder), None)
    if (problem := offline_problem(job.tagger)) is not None:
        plan.problems.append(problem)
    elif found.files is None:
        if not job.tagger.force_download:
            plan.problems.append(missing_tagger(folder, job.tagger))
    else:
        try:
            found.tag_list = read_tags(found.files.tag_list)
        except UserError as error:
            plan.problems += error.problems
        else:
            plan.problems += _without_effect(found.tag_list, job)
    return found


def _without_effect(tag_list: TagList, job: TagImagesJob) -> list[Problem]:
    problems = [
        Problem(
            "this tagger does not tell that, so nothing is written for it",
            name,
            "Switch it off, or choose another tagger.",
            severity="warning",
        )
        for name in unused_options(tag_list, job.tags)
    ]
    return problems + [
        Problem(
            f"this tagger never writes {tag!r}, so it is not replaced",
            "tag_replacement",
            "Write the tag as the tagger does; see its list of tags.",
            severity="warning",
        )
        for tag in unknown_tags(tag_list, job.tags)
    ]


def tag_pictures(
    job: TagImagesJob, run: RunFolder, reporter: Reporter, requests: Requests
) -> tuple[Ending, str]:
    """Do the job in an open run folder. Raises `UserError` for what the user can mend."""
    found = look_ahead(job)
    if job.tagger.force_download:
        stop_at_errors(errors_among(found.problems), reporter)
        reporter.phase("Downloading the tagger", 0, 0, job.tagger.repo_id or "")
        download(job.tagger)
        found = look_ahead(job)
    stop_at_errors(found.problems, reporter)
    merge = merge_tags(job.tags.caption_separator) if job.files.append_tags else None
    frequency: Counter[str] = Counter()

    def load() -> OnnxTagger:
        reporter.phase("Loading the tagger", 0, 0, shown(found.folder))
        engine = found.load(job)
        engine.frequency = frequency
        stop_at_errors(engine.problems, reporter)
        reporter.say(f"The tagger runs on {engine.device}")
        return engine

    store = found.plan.store(run, "tags", merge)
    place = Workplace(run, reporter, requests)
    ended = caption_folder(found.plan, store, load, job.inference, "Tagging", place)
    if job.tags.frequency_tags:
        _tell_frequency(frequency, run, reporter)
    return ended


def _tell_frequency(frequency: Counter[str], run: RunFolder, reporter: Reporter) -> None:
    ordered = frequency.most_common()
    reporter.say("Tag frequencies:\n" + "\n".join(f"{tag}: {number}" for tag, number in ordered))
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([("tag", "pictures"), *ordered])
    write_atomic(run.output / FREQUENCY_NAME, text.getvalue())


def check_tagging(job: TagImagesJob, notes: Sequence[Problem]) -> int:
    """Print what would be done and what is wrong; returns the exit code."""
    found = look_ahead(job)
    problems = [*notes, *found.problems]
    model = shown(found.folder)
    if found.tag_list is not None:
        try:
            engine = found.load(job)
        except UserError as error:
            problems += error.problems
        else:
            model = f"{model} ({len(found.tag_list.labels)} tags, on {engine.device})"
            problems += engine.problems
            engine.close()
    print("\n".join(report_lines(found.plan, model)))
    tell(problems)
    print(verdict(problems))
    return EXIT_USER if errors_among(problems) else EXIT_OK
