"""Several runs from one form: what varies stands in the draft; all runs are queued at once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from kohya_gui.context import Context
from kohya_gui.failures import option_label, value_shown
from kohya_gui.forms.drafts import Draft
from kohya_gui.forms.estimate import workload_of
from kohya_gui.forms.form import only_changed, raw_of_values
from kohya_gui.forms.live import MODEL, Insight, Live
from kohya_gui.forms.preparation import full_raw, prepare
from kohya_gui.forms.report import problem_row
from kohya_gui.jobs.costs import Cost, cost_of, earlier_steps
from kohya_gui.jobs.launch import JobRequest
from kohya_gui.jobs.machine import look_at_machine
from kohya_gui.jobs.sweeps import (
    Variant,
    can_vary,
    read_axes,
    tag_of,
    told_together,
    variants,
)
from sd_scripts.errors import Problem, UserError
from sd_scripts.files import nearest_folder
from sd_scripts.options.jobs import Job, TrainingJob
from sd_scripts.options.schema import option_specs
from sd_scripts.train.preflight import RESERVE_BYTES

_PATIENCE_SECONDS: Final = 1.5
"""So long all runs together are waited for; the page asks again for those that are not done."""


class SweepDesk:
    """What can be done with the lists of values of one kind of training."""

    def __init__(self, context: Context, job_type: type[Job]) -> None:
        self._context = context
        self._text = context.text
        self._job_type = job_type
        self._live = Live(context.scans, context.workspace, context.text)

    @property
    def is_offered(self) -> bool:
        """Tell whether this kind of job can be tried with several values."""
        return issubclass(self._job_type, TrainingJob)

    def options(self) -> list[str]:
        """Return the options that can be varied."""
        specs = option_specs(self._job_type)
        return [spec.name for spec in specs if can_vary(spec)] if self.is_offered else []

    def look(self, draft: Draft) -> dict[str, Any]:
        """Return the runs that a draft's lists make, what is wrong with them, and their cost."""
        try:
            found = self._drafts(draft)
        except UserError as error:
            return {"runs": [], "working": False, "problems": self._rows(error, draft)}
        until = time.monotonic() + _PATIENCE_SECONDS
        insights = {
            variant.name: self._live.look(own, patience=float(time.monotonic() < until))
            for variant, own in found
        }
        problems = told_together({name: one.errors for name, one in insights.items()})
        return {
            "runs": [
                {"name": variant.name, "changes": self._changes(variant)} for variant, _ in found
            ],
            "working": any(one.working for one in insights.values()),
            "problems": self._rows(UserError.of(problems), draft) if problems else [],
            "cost": self._cost(list(insights.values())),
        }

    def start(self, draft: Draft, request_of: Callable[[Draft], JobRequest]) -> dict[str, Any]:
        """Put all runs into the queue, or none. Raises `UserError` with everything that is wrong
        with any of them."""
        found = self._drafts(draft)
        if any(self._live.look(own, patience=0.0).working for _, own in found):
            return {"state": "failed", "text": self._text("sweep.working")}
        tag = tag_of(prepare(draft, self._context.workspace).name)
        requests: list[JobRequest] = []
        wrong: dict[str, tuple[Problem, ...]] = {}
        for variant, own in found:
            try:
                request = request_of(own)
            except UserError as error:
                wrong[variant.name] = error.problems
            else:
                wrong[variant.name] = ()
                requests.append(request.model_copy(update={"name": variant.name, "tags": (tag,)}))
        if problems := told_together(wrong):
            raise UserError.of(problems)
        self._context.queue.add(requests)
        return {
            "state": "swept",
            "tag": tag,
            "text": self._text("sweep.queued", n=len(requests), tag=tag),
        }

    def _drafts(self, draft: Draft) -> list[tuple[Variant, Draft]]:
        """Return each run with the form it would have. Raises `UserError`."""
        axes, problems = read_axes(self._job_type, draft.lists)
        if problems:
            raise UserError.of(problems)
        if not axes:
            raise UserError(self._text("sweep.empty"))
        found = variants(prepare(draft, self._context.workspace).name, axes)
        return [(variant, self._with(draft, variant)) for variant in found]

    def _with(self, draft: Draft, variant: Variant) -> Draft:
        raw = raw_of_values(self._job_type, variant.changes)
        changed = {**full_raw(draft), **{name: raw[name] for name in variant.changes}}
        return replace(draft, values=only_changed(self._job_type, changed))

    def _changes(self, variant: Variant) -> list[dict[str, str]]:
        job = self._job_type.name
        return [
            {"label": option_label(job, name, self._text), "value": value_shown(value, self._text)}
            for name, value in variant.changes.items()
            if name != "output_name"
        ]

    def _rows(self, error: UserError, draft: Draft) -> list[dict[str, Any]]:
        raw = full_raw(draft)
        return [problem_row(problem, raw) for problem in error.problems]

    def _cost(self, insights: Sequence[Insight]) -> dict[str, Any] | None:
        """Return time and disk of all runs together, once all is known of each."""
        loads = [load for one in insights if (load := workload_of(one)) is not None]
        if len(loads) < len(insights):
            return None
        machine = look_at_machine()
        store, job = self._context.store, self._job_type.name
        earlier = {
            family: earlier_steps(store, job, family) for family in {load.family for load in loads}
        }
        costs: list[Cost] = [
            cost_of(load, machine, str(one.prepared.values[MODEL]), earlier[load.family])
            for one, load in zip(insights, loads, strict=True)
        ]
        free = shutil.disk_usage(nearest_folder(self._context.workspace.runs)).free
        disk = sum(one.disk for one in costs)
        return {
            "seconds": [sum(one.seconds[at] for one in costs) for at in (0, 1)],
            "steps": sum(load.steps for load in loads),
            "measured": all(one.measured for one in costs),
            "disk": disk,
            "free": free,
            "fits": disk + RESERVE_BYTES <= free,
        }
