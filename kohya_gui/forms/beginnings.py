"""What a form begins with when it comes from a run or from the queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from kohya_gui.context import Context
from kohya_gui.datasets.leaving_out import decisions_for
from kohya_gui.failures import change_rows, goes_on_text
from kohya_gui.forms.drafts import Draft
from kohya_gui.forms.form import only_changed, raw_of_values
from kohya_gui.forms.preparation import draft_of_file, draft_of_toml, full_raw
from kohya_gui.jobs.continuing import fork_of, state_of
from kohya_gui.jobs.remedies import remedy_of
from kohya_gui.jobs.store import RunSummary
from kohya_gui.reasons import first_problem, told_line
from sd_scripts.errors import Problem, UserError
from sd_scripts.options.jobs import Job

RESUME: Final = "resume"


@dataclass(frozen=True)
class Opened:
    """A draft that a page begins with, and a word about where it came from."""

    draft_id: str
    draft: Draft
    notice: str = ""
    problems: tuple[Problem, ...] = ()


class Beginnings:
    """Makes first drafts of one kind of job."""

    def __init__(self, context: Context, job_type: type[Job]) -> None:
        self._context = context
        self._text = context.text
        self._job_type = job_type

    def with_run(self, run_id: str, request: Mapping[str, object]) -> Opened:
        """Return the settings of a run, changed for what is asked for."""
        draft_id = self._context.drafts.new_id()
        summary = self._context.store.summary(run_id)
        if summary is None:
            notice = self._text("form.no_such_run", run=run_id)
            return Opened(draft_id, Draft(self._job_type.name), notice)
        try:
            draft, problems = draft_of_file(
                self._job_type, summary.folder.config, self._context.workspace
            )
        except UserError as error:
            return Opened(
                draft_id,
                Draft(self._job_type.name),
                told_line(first_problem(error)),
                error.problems,
            )
        values = {name: value for name, value in draft.values.items() if name != RESUME}
        # A run writes into its own folder unless told otherwise; the next one has another.
        if Path(str(values.get("output_dir", ""))) == summary.folder.output:
            values.pop("output_dir")
        begun = replace(draft, values=values)
        try:
            begun, notice = self._changed_for(summary, begun, request)
        except (UserError, OSError) as error:
            return Opened(draft_id, begun, told_line(first_problem(error)), problems)
        return Opened(draft_id, begun, notice, problems)

    def _changed_for(
        self, summary: RunSummary, draft: Draft, request: Mapping[str, object]
    ) -> tuple[Draft, str]:
        """Return a run's settings with what is asked for, and a word about it. Raises `UserError`
        and `OSError`."""
        about = {"parent": summary.id}
        if resume := str(request.get("resume") or ""):
            state = state_of(summary, resume)
            values = {**draft.values, RESUME: str(state)}
            notice = self._text("form.resume_run", run=summary.name)
            return replace(draft, values=values, about=about), notice
        if file := str(request.get("fork") or ""):
            fork = fork_of(summary, file)
            name = f"{draft.values.get('output_name') or summary.name}-from-{fork.step}"
            values = {**draft.values, fork.option: str(fork.file), "output_name": name}
            notice = self._text("form.fork_run", run=summary.name, file=fork.file.name, name=name)
            return replace(draft, values=values, about=about), notice
        if wanted := str(request.get("remedy") or ""):
            return self._remedied(summary, draft, wanted)
        return draft, self._text("form.from_run", run=summary.name)

    def _remedied(self, summary: RunSummary, draft: Draft, name: str) -> tuple[Draft, str]:
        remedy = remedy_of(summary, name)
        before = full_raw(draft)
        changes = dict(remedy.changes)
        if remedy.folder is not None:
            named = str(before.get("picture_decisions") or "")
            file = decisions_for(self._context.workspace, remedy.folder, named)
            changes = {"picture_decisions": str(file)}
        raw = raw_of_values(self._job_type, changes)
        new = replace(
            draft,
            values=only_changed(self._job_type, {**before, **{key: raw[key] for key in changes}}),
        )
        if remedy.state is not None:
            new = replace(new, values={**new.values, RESUME: str(remedy.state)})
            new = replace(new, about={"parent": summary.id})
        rows = change_rows(
            self._job_type.name, {k: before[k] for k in changes}, changes, self._text
        )
        told = "; ".join(f"{row['label']}: {row['before']} → {row['after']}" for row in rows)
        notice = self._text("form.remedied", run=summary.name, changes=told)
        return new, f"{notice} {goes_on_text(remedy, self._text)}".strip()

    def with_job(self, job_id: str) -> Opened:
        """Return the settings of a waiting job, which is changed when they are saved."""
        draft_id = self._context.drafts.new_id()
        job = self._context.queue.find(job_id)
        if job is None or job.request.job_name != self._job_type.name:
            return Opened(draft_id, Draft(self._job_type.name), self._text("queue.gone"))
        name = job.request.name
        draft, problems = draft_of_toml(
            self._job_type, job.request.config_toml, self._context.workspace, name
        )
        about = {"queued": job.id, "version": job.version, "name": name}
        about["parent"] = job.request.parent or ""
        notice = self._text("queue.edit", name=name)
        return Opened(draft_id, replace(draft, about=about), notice, problems)
