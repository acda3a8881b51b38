"""What the scripts of lists and run views can ask the server: looks, requests, queue, deleting."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from kohya_gui.context import Context
from kohya_gui.jobs import stop
from kohya_gui.run_view import run_row
from sd_scripts.errors import UserError
from sd_scripts.runs.folder import RunFolder

Function = Callable[[object], Any]
MAX_ROWS: Final = 300
"""So many runs are listed; older ones stay in the workspace's folder."""


def run_functions(context: Context) -> list[Function]:
    """Return the functions; each takes one mapping from the script and returns plain data."""
    actions = RunActions(context)
    return [
        actions.overview,
        actions.look_run,
        actions.ask_run,
        actions.queue_action,
        actions.run_size,
        actions.delete_run,
    ]


class RunActions:
    """The functions, bound to what pages share. Mistakes come back as words under `problem`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._asks: dict[str, Callable[[RunFolder], object]] = {
            "stop": stop.stop,
            "save": stop.save_now,
            "sample": stop.sample_now,
            "kill": stop.kill,
        }

    def overview(self, request: object = None) -> dict[str, Any]:
        """Return the runs, newest first, and the jobs that wait; only `{"same": True}` when that
        is what the page with this `mark` shows already."""
        text, problem, waiting = self._context.text, None, []
        try:
            waiting = [
                {"id": job.id, "name": job.request.name, "problem": job.problem}
                for job in self._context.queue.items()
            ]
        except UserError as error:
            problem = str(error)
        summaries = self._context.store.list()
        runs = [run_row(summary, text) for summary in summaries[:MAX_ROWS]]
        more = len(summaries) - len(runs)
        found = {"runs": runs, "waiting": waiting, "problem": problem, "more": more}
        digest = hashlib.blake2b(json.dumps(found).encode("utf-8", "replace"), digest_size=8)
        mark = digest.hexdigest()
        return {"same": True} if mark == _given(request, "mark") else {**found, "mark": mark}

    def look_run(self, request: object = None) -> dict[str, Any]:
        """Return how a run stands and what is new since the last look."""
        return self._context.views.look(request)

    def ask_run(self, request: object = None) -> dict[str, Any]:
        """Ask a run to stop, save or make previews, or end it by force."""
        run = self._context.store.get(_given(request, "run"))
        ask = self._asks.get(_given(request, "what"))
        if run is None or ask is None:
            return {"problem": self._context.text("run.unknown")}
        try:
            ask(run)
        except OSError as error:
            return {"problem": error.strerror or str(error)}
        return {}

    def queue_action(self, request: object = None) -> dict[str, Any]:
        """Move a waiting job up, take it off the list, or let it try again."""
        job_id, queue = _given(request, "id"), self._context.queue
        try:
            match _given(request, "what"):
                case "remove":
                    queue.remove(job_id)
                case "retry":
                    queue.retry(job_id)
                case "up":
                    ids = [job.id for job in queue.items()]
                    if job_id in ids:
                        queue.move(job_id, max(1, ids.index(job_id)))
        except (UserError, OSError) as error:
            return {"problem": str(error)}
        return {}

    def run_size(self, request: object = None) -> dict[str, Any]:
        """Return what deleting a run would free."""
        try:
            size = self._context.store.size(_given(request, "run"))
        except UserError as error:
            return {"problem": str(error), "bytes": None, "files": 0}
        return {"bytes": size.num_bytes, "files": size.num_files}

    def delete_run(self, request: object = None) -> dict[str, Any]:
        """Delete a run's folder."""
        try:
            self._context.store.delete(_given(request, "run"))
        except UserError as error:
            return {"problem": str(error)}
        return {}


def _given(request: object, name: str) -> str:
    return str(request.get(name) or "") if isinstance(request, Mapping) else ""
