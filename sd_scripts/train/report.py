"""`--check_only`: say in words what would be trained, or everything that is wrong, and stop."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from sd_scripts.dataset.summary import summarise
from sd_scripts.dataset.words import count as counted
from sd_scripts.errors import EXIT_OK, EXIT_USER, Problem, errors_among
from sd_scripts.options.jobs import TrainingJob, TrainTextualInversionJob, WholeModelJob
from sd_scripts.script import tell
from sd_scripts.train.environment import environment_problems
from sd_scripts.train.fitting import saving_text
from sd_scripts.train.footprint import NetworkCount, count_network, file_bytes
from sd_scripts.train.preflight import Preflight, disk_problems, look_ahead, size_text
from sd_scripts.train.saving import SavePlan, planned_names


def check_only(job: TrainingJob, notes: Sequence[Problem] = ()) -> int:
    """Check a job without training; prints the report, `notes` too, and returns the exit code."""

    def progress(name: str, done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{name} {done}/{total}", end="", file=sys.stderr)

    output = Path(job.saving.output_dir) if job.saving.output_dir else None
    found = look_ahead(job, output, progress=progress)
    problems = [*notes, *found.problems, *environment_problems(job)]
    count = None
    if found.model is not None:
        count, told = count_network(job, found)
        problems += told
    if count is not None and output is not None:
        problems += disk_problems(output, file_bytes(job, found.arithmetic, count), "output_dir")
    print("\n".join(report_lines(job, found, count)))
    tell(problems)
    errors = errors_among(problems)
    if errors:
        print(f"\n{len(errors)} to mend before this can be trained.")
        return EXIT_USER
    print("\nEverything that can be known before training is in order.")
    return EXIT_OK


def _label(job: TrainingJob) -> str:
    """What is counted: layers of a network, vectors of a new word, or all of a model's parts."""
    if isinstance(job, WholeModelJob):
        return "Learns:"
    return "New words:" if isinstance(job, TrainTextualInversionJob) else "Network:"


def report_lines(job: TrainingJob, found: Preflight, count: NetworkCount | None) -> Iterable[str]:
    """Yield the report, a line at a time."""
    if found.info is not None:
        yield f"Model:     {found.info.text}"
    yield from summarise(found.plan).text.splitlines()
    yield f"Steps:     {found.arithmetic.text}"
    if found.class_pictures is not None and found.class_pictures.missing:
        number = counted(len(found.class_pictures.missing), "picture")
        more = "" if found.plan.num_reg_images else "; then an epoch has twice as many steps"
        yield f"Painted:   {number} of the class before training{more}"
    if count is not None:
        parts = ", ".join(f"{number} in {part}" for part, number in count.modules.items())
        yield f"{_label(job):<11}{parts}; {count.parameters:,} numbers learn"
        if count.base is not None:
            yield f"Memory:    {saving_text(count.base)}"
        yield f"File size: {size_text(count.saved_bytes)}"
    names = planned_names(job, SavePlan.of(job, found.arithmetic.num_epochs), found.arithmetic)
    yield "Output:    " + ", ".join(names)
    if found.prompts:
        yield f"Previews:  {counted(len(found.prompts), 'prompt')}"
