"""A job that a page has put into the queue: what it waits for, and the run that becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kohya_gui.context import Context
from kohya_gui.jobs import stop
from kohya_gui.jobs.queue import QueuedJob
from kohya_gui.jobs.store import RunSummary


def look_queued(context: Context, queue_id: str) -> dict[str, Any]:
    """Return the `run` of a queued job, what it waits for (`waits`), or that it is `gone`.

    Raises `UserError` when the queue cannot be read.
    """
    # Read before the runs: a job leaves the list only after its run is there.
    content = context.queue.content()
    runs = context.store.list()
    run = _run_of(runs, queue_id)
    if run is not None:
        return {"run": run.id}
    place = next((n for n, job in enumerate(content.jobs) if job.id == queue_id), None)
    if place is None:
        return {"gone": context.text("queue.gone")}
    job = content.jobs[place]
    return {
        "name": job.request.name,
        "waits": job.problem or _words(context, job, content.jobs[:place], runs),
        "problem": job.problem is not None,
        "paused": content.paused,
    }


def leave_queue(context: Context, queue_id: str) -> None:
    """Take a job out of the queue; one that was started meanwhile is stopped."""
    if context.queue.remove(queue_id):
        return
    run = _run_of(context.store.list(), queue_id)
    if run is not None:
        stop.stop(run.folder)


def next_queued(context: Context, job_name: str) -> str | None:
    """Return the first waiting job of a kind that can be started, or None."""
    jobs = (one for one in context.queue.items() if one.problem is None)
    return next((one.id for one in jobs if one.request.job_name == job_name), None)


def _run_of(runs: Sequence[RunSummary], queue_id: str) -> RunSummary | None:
    """Return the newest run of a queued job; an earlier one was left by a start that failed."""
    return next((one for one in runs if queue_id and one.queue_id == queue_id), None)


def _words(
    context: Context, job: QueuedJob, before: Sequence[QueuedJob], runs: Sequence[RunSummary]
) -> str:
    """Return which run a job waits for if it is next on its device, else its place."""
    lanes, name = context.queue.lanes(), job.request.name
    wanted = lanes.wanted(job.request)
    waiting = [one for one in before if one.problem is None]
    place = 1 + sum(bool(lanes.wanted(one.request) & wanted) for one in waiting)
    busy = next((one for one in runs if one.busy and lanes.held(one.device) & wanted), None)
    if place == 1 and busy is not None:
        return context.text("queue.waits_for", name=name, other=busy.name)
    return context.text("form.queued", name=name, place=place)
