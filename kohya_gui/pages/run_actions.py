"""What the scripts of lists and run views can ask the server: looks, requests, the queue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from kohya_gui.context import Context
from kohya_gui.jobs import stop
from kohya_gui.jobs.launch import JOB_PAGES
from kohya_gui.locales.speaking import told
from kohya_gui.reasons import failure, reason
from kohya_gui.run_view import run_row
from sd_scripts.errors import UserError
from sd_scripts.runs.folder import RunFolder

Function = Callable[[object], Any]
MAX_ROWS: Final = 8
"""So many runs are shown at the start; the page of runs has them all."""


def run_functions(context: Context) -> list[Function]:
    """Return the functions; each takes one mapping from the script and returns plain data."""
    actions = RunActions(context)
    return [
        actions.overview,
        actions.look_run,
        actions.ask_run,
        actions.queue_action,
    ]


class RunActions:
    """The functions, bound to what pages share. Mistakes come back as words under `problem`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._asks: dict[str, Callable[[RunFolder], object]] = {
            "stop": stop.stop,
            "save": stop.save_now,
            "sample": stop.sample_now,
            "pause": stop.pause,
            "go_on": stop.go_on,
            "kill": stop.kill,
        }

    def overview(self, request: object = None) -> dict[str, Any]:
        """Return those at work, the newest others and the queue; only `{"same": True}` when that
        is what the page with this `mark` shows already."""
        text = self._context.text
        queue, problem = self.queue_rows()
        summaries = self._context.store.list()
        active = [run for run in summaries if run.status.active]
        others = [run for run in summaries if not run.status.active][:MAX_ROWS]
        runs = [run_row(summary, text) for summary in (*active, *others)]
        found = {"runs": runs, "queue": queue, "problem": problem}
        digest = hashlib.blake2b(json.dumps(found).encode("utf-8", "replace"), digest_size=8)
        mark = digest.hexdigest()
        return {"same": True} if mark == given(request, "mark") else {**found, "mark": mark}

    def queue_rows(self) -> tuple[dict[str, Any], str | None]:
        """Return the queue for the page, and what is wrong with its file."""
        try:
            content = self._context.queue.content()
        except (UserError, OSError) as error:
            return {"jobs": [], "paused": False, "lanes": []}, failure(error)
        jobs = [
            {
                "id": job.id,
                "name": job.request.name,
                "job": self._context.text.optional(f"job_name.{job.request.job_name}", ""),
                "page": JOB_PAGES.get(job.request.job_name),
                "problem": told(job.problem),
                "device": job.request.device,
            }
            for job in content.jobs
        ]
        lanes = self._context.queue.lanes().names if jobs else ()
        queue = {"jobs": jobs, "paused": content.paused, "lanes": list(lanes)}
        return queue, self._stuck() if jobs else None

    def _stuck(self) -> str | None:
        """Return what keeps the queue from moving on, None if nothing does."""
        trouble = self._context.queue.trouble
        if trouble is None:
            return None
        return self._context.text("queue.stuck", reason=reason(trouble))

    def look_run(self, request: object = None) -> dict[str, Any]:
        """Return how a run stands and what is new since the last look."""
        return self._context.views.look(request)

    def ask_run(self, request: object = None) -> dict[str, Any]:
        """Ask a run to stop, save, make previews, pause or go on, or end it by force."""
        run = self._context.store.get(given(request, "run"))
        ask = self._asks.get(given(request, "what"))
        if run is None or ask is None:
            return {"problem": self._context.text("run.unknown")}
        try:
            ask(run)
        except OSError as error:
            return {"problem": failure(error)}
        return {}

    def queue_action(self, request: object = None) -> dict[str, Any]:
        """Change the order of the queue, take a job off it, let one try again, pause it all."""
        job_id, queue = given(request, "id"), self._context.queue
        try:
            match given(request, "what"):
                case "remove":
                    there = queue.remove(job_id)
                case "retry":
                    there = queue.retry(job_id)
                case "up":
                    there = queue.shift(job_id, -1)
                case "down":
                    there = queue.shift(job_id, 1)
                case "move":
                    there = queue.move(job_id, int(given(request, "position") or "1"))
                case "give":
                    there = queue.give(job_id, given(request, "device"))
                case "pause" | "go_on" as what:
                    queue.pause(what == "pause")
                    there = True
                case _:
                    there = False
        except (UserError, OSError, ValueError) as error:
            return {"problem": failure(error)}
        return {} if there else {"problem": self._context.text("queue.gone")}


def given(request: object, name: str) -> str:
    """Return a text that a script sent, "" where there is none."""
    return str(request.get(name) or "") if isinstance(request, Mapping) else ""
