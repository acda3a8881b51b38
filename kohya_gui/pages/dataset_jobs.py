"""Jobs that tabs of the data set page start: their fields from the schema, start, state, stop."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, TypeVar

from kohya_gui.context import Context
from kohya_gui.forms import option_words
from kohya_gui.forms.widgets import choices_of, default_shown, is_tick
from kohya_gui.jobs import stop
from kohya_gui.jobs.feed import RunFeed
from kohya_gui.jobs.launch import JobRequest
from kohya_gui.jobs.queue import Queued, Submitted
from kohya_gui.locales import Texts
from kohya_gui.locales.speaking import told
from kohya_gui.reasons import first_problem, told_row, told_warnings
from kohya_gui.waiting import leave_queue, look_queued
from sd_scripts.errors import UserError
from sd_scripts.options.form_values import from_form
from sd_scripts.options.jobs import Job
from sd_scripts.options.schema import specs_by_name
from sd_scripts.options.toml_file import job_to_toml
from sd_scripts.options.values import job_from_values
from sd_scripts.runs.folder import RunFolder

DEVICE: Final = "pictures"
"""Such jobs need no graphics card: they do not wait for a training, only for each other."""

Answer = dict[str, Any]
_Owner = TypeVar("_Owner")


def in_words(
    function: Callable[[_Owner, Mapping[str, Any]], Answer],
) -> Callable[[_Owner, object], Answer]:
    """Give mistakes back to the script as words: `problems`, each with `message` and `hint`."""

    @functools.wraps(function)
    def call(self: _Owner, request: object = None) -> Answer:
        data = request if isinstance(request, Mapping) else {}
        try:
            return function(self, data)
        except UserError as error:
            return {"problems": [told_row(one) for one in error.problems]}
        except OSError as error:
            return {"problems": [told_row(first_problem(error))]}

    return call


def fields_of(
    job_type: type[Job], names: Iterable[str], text: Texts, first: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Return what the script needs to draw a job's options, in the order of `names`.

    `first` are those that are asked at once; without it, those of the basic tier are.
    """
    specs = specs_by_name(job_type)
    found = []
    for name in names:
        spec = specs[name]
        label, unit = option_words.label(spec, text), option_words.unit(spec, text)
        choice = spec.kind in ("bool", "choice") and not is_tick(spec)
        found.append(
            {
                "name": name,
                "label": f"{label} ({unit})" if unit else label,
                "help": option_words.explanation(spec, text),
                "kind": "tick" if is_tick(spec) else "choice" if choice else "text",
                "choices": choices_of(spec, text) if choice else [],
                "value": default_shown(spec),
                "path": spec.path,
                "basic": name in first if first else spec.tier == "basic",
            }
        )
    return found


def start_job(
    context: Context,
    job_type: type[Job],
    raw: Mapping[str, object],
    fixed: Mapping[str, object],
    name: str,
    device: str = DEVICE,
) -> Answer:
    """Start a job with what stands in the fields; returns `run`, or `queued` if it waits.

    Jobs of one `device` wait for each other. Raises `UserError` with everything that is wrong.
    """
    known = specs_by_name(job_type)
    typed = from_form(job_type, {one: value for one, value in raw.items() if one in known})
    values = {one: value for one, value in typed.items() if value is not None} | dict(fixed)
    job = job_from_values(job_type, values)
    request = JobRequest(
        job_name=job_type.name, config_toml=job_to_toml(job), name=name, device=device
    )
    match context.queue.submit(request, "queue"):
        case Submitted(run=run):
            return {"run": run.id}
        case Queued(id=queue_id):
            return {"queued": queue_id}
        case other:
            raise UserError(other.text)


def job_state(context: Context, data: Mapping[str, Any]) -> Answer:
    """Return how the run that the script names stands; a gone run is told as such.

    A job that is named by `queued` is looked up in the queue, see `look_queued`.
    """
    if queue_id := data.get("queued"):
        return look_queued(context, str(queue_id))
    summary = context.store.summary(str(data.get("run") or ""))
    if summary is None:
        return {"active": False, "state": "gone", "detail": ""}
    status = summary.status
    warned = {}
    if not status.active:
        feed = RunFeed(summary.folder.events)
        feed.poll()
        warned = told_warnings(feed)
    return {
        **warned,
        "active": status.active,
        "state": status.state,
        "detail": told(status.detail),
        "hint": told(status.hint),
        "done": status.phase_done,
        "total": status.phase_total,
        "problems": [told_row(one) for one in status.problems],
    }


def ended_run(context: Context, data: Mapping[str, Any], state: Answer) -> RunFolder | None:
    """Return the run whose `job_state` this is, once it is over; None while it waits or works."""
    if state.get("active", True):
        return None
    return context.store.get(str(data.get("run") or ""))


def stop_job(context: Context, data: Mapping[str, Any]) -> Answer:
    """Ask a run to end after what it is doing; take a job that is `queued` out of the queue."""
    if queue_id := data.get("queued"):
        leave_queue(context, str(queue_id))
        return {}
    run = context.store.get(str(data.get("run") or ""))
    if run is not None:
        stop.stop(run)
    return {}
