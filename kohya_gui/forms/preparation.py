"""From a draft to the values of a job: paths made whole, typed prompts put into a file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kohya_gui.forms.drafts import SWEEP, Draft
from kohya_gui.forms.form import Raw, default_raw, only_changed, raw_of_values
from kohya_gui.importers.report import Report
from kohya_gui.jobs import submitting
from kohya_gui.jobs.sweeps import take_lists
from kohya_gui.workspace import Workspace
from sd_scripts.errors import Problem, UserError
from sd_scripts.files import write_atomic
from sd_scripts.options.form_values import from_form
from sd_scripts.options.jobs import JOBS, Job
from sd_scripts.options.schema import specs_by_name
from sd_scripts.options.toml_file import read_toml
from sd_scripts.options.values import unknown_option
from sd_scripts.train.prompts import parse_line


@dataclass(frozen=True)
class Prepared:
    """Values as a job takes them, what is wrong with the prompts, and the file they will be in."""

    job_type: type[Job]
    raw: Mapping[str, object]
    values: dict[str, object]
    problems: tuple[Problem, ...] = ()
    prompt_file: Path | None = None
    prompt_text: str = ""

    def write_prompts(self) -> None:
        """Write the typed prompts to their file, if there are any. Raises `OSError`."""
        if self.prompt_file is not None and not self.prompt_file.exists():
            self.prompt_file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.prompt_file, self.prompt_text)

    @property
    def name(self) -> str:
        """What the run is called: the name of its result, else of the folder of pictures."""
        return submitting.run_name(self.job_type, self.values)


def full_raw(draft: Draft) -> Raw:
    """Return everything that stands in the form of a draft."""
    known = specs_by_name(JOBS[draft.job])
    kept = {name: value for name, value in draft.values.items() if name in known}
    return {**default_raw(JOBS[draft.job]), **kept}


def prepare(draft: Draft, workspace: Workspace) -> Prepared:
    """Read a draft. Raises nothing for what is wrong in it: that is told by checking the values."""
    job_type = JOBS[draft.job]
    raw = full_raw(draft)
    values = submitting.with_whole_paths(job_type, from_form(job_type, raw), workspace.path)
    if not draft.prompts.strip() or "sample_prompts" not in values:
        return Prepared(job_type, raw, values)
    text = "\n".join(line.rstrip() for line in draft.prompts.strip().splitlines()) + "\n"
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
    file = prompt_folder(workspace) / f"{digest}.txt"
    problems = [*_prompt_problems(text)]
    if values["sample_prompts"]:
        problems.append(
            Problem(
                "preview prompts are typed in the page and a prompt file is chosen too",
                "sample_prompts",
                "clear one of the two",
            )
        )
    values["sample_prompts"] = str(file)
    return Prepared(job_type, raw, values, tuple(problems), file, text)


def whole_path(text: str, workspace: Workspace) -> str:
    """Return a path as the job's process will understand it, which works in the workspace."""
    return submitting.whole_path(text, workspace.path)


def prompt_folder(workspace: Workspace) -> Path:
    """Return where typed prompts are kept, in files named by their content."""
    return workspace.path / "prompts"


def _prompt_problems(text: str) -> list[Problem]:
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            _, wrong = parse_line(line)
            problems += [
                Problem(
                    f"line {number}: {what}",
                    "sample_prompts",
                    "write one prompt a line, for example: a red apple --w 512 --h 512 --d 1",
                )
                for what in wrong
            ]
    return problems


def draft_of_toml(
    job_type: type[Job], text: str, workspace: Workspace, source: str
) -> tuple[Draft, tuple[Problem, ...]]:
    """Return the draft that a job's file makes, and what of it could not be taken over.

    Raises `UserError` when the text is not TOML or contradicts itself.
    """
    values, axes = take_lists(job_type, read_toml(text, source))
    known = specs_by_name(job_type)
    problems = [
        problem
        for name in values
        if name not in known and (problem := unknown_option(job_type, name, values)) is not None
    ]
    prompts = ""
    file = values.get("sample_prompts")
    if isinstance(file, str) and Path(file).parent == prompt_folder(workspace):
        try:
            prompts = Path(file).read_text("utf-8")
            values = {name: value for name, value in values.items() if name != "sample_prompts"}
        except OSError:
            prompts = ""  # the option keeps its path, and that it is not there is told beside it
    raw = raw_of_values(job_type, {name: values[name] for name in values if name in known})
    lists = {
        axis.option: [_typed(job_type, axis.option, one) for one in axis.values] for axis in axes
    }
    about = {SWEEP: lists} if lists else {}
    return Draft(job_type.name, only_changed(job_type, raw), prompts, about), tuple(problems)


def _typed(job_type: type[Job], name: str, value: object) -> str:
    """Return a value as somebody would type it."""
    return str(raw_of_values(job_type, {name: value})[name])


def draft_of_report(job_type: type[Job], report: Report) -> Draft:
    """Return the draft that somebody's old settings make, as far as they were understood."""
    raw = raw_of_values(job_type, report.values)
    return Draft(job_type.name, only_changed(job_type, raw), report.prompts.strip())


def draft_of_file(
    job_type: type[Job], path: Path, workspace: Workspace
) -> tuple[Draft, tuple[Problem, ...]]:
    """Return the draft that a job's file makes. Raises `UserError` when it cannot be read."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is not UTF-8 text.", hint="Choose a TOML file.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path} cannot be read: {reason}.", hint="Choose another file.") from error
    return draft_of_toml(job_type, text, workspace, path.name)
