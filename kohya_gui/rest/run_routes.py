"""What programs can ask of runs: how they stand, what they told, their files; and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from kohya_gui.context import Context
from kohya_gui.jobs import stop
from kohya_gui.jobs.log_tail import LogTail
from kohya_gui.jobs.store import RunSummary
from kohya_gui.jobs.told import (
    events_told,
    file_of_run,
    files_told,
    run_told,
    samples_told,
    status_told,
)
from kohya_gui.rest.answers import number_given, refusal
from sd_scripts.runs.folder import RunFolder

MAX_RUNS: Final = 1000
REQUESTS: Final[dict[str, Callable[[RunFolder], object]]] = {
    "stop": stop.stop,
    "kill": stop.kill,
    "save": stop.save_now,
    "sample": stop.sample_now,
    "pause": stop.pause,
    "continue": stop.go_on,
}
"""What a run can be asked for, by the last word of the address."""


class RunRoutes:
    """Answers the routes of runs."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, request: Request) -> Response:
        """List runs, newest first: `limit` of them (100) after the first `offset`."""
        limit = number_given(request, "limit", 100, MAX_RUNS)
        offset = number_given(request, "offset", 0)
        runs = self._context.store.list()
        if request.query_params.get("active") == "1":
            runs = [run for run in runs if run.status.active]
        rows = [run_told(run) for run in runs[offset : offset + limit]]
        return JSONResponse({"runs": rows, "total": len(runs)})

    def status(self, request: Request) -> Response:
        """Tell how a run stands."""
        return JSONResponse(status_told(self._summary(request)))

    def delete(self, request: Request) -> Response:
        """Delete a run's folder and all in it; a run at work is refused."""
        summary = self._summary(request)
        if summary.busy:
            raise refusal(409, f"The run {summary.id} is still at work.", hint="Stop it first.")
        size = self._context.store.delete(summary.id)
        return JSONResponse({"bytes": size.num_bytes, "files": size.num_files})

    def config(self, request: Request) -> Response:
        """Send the run's job as TOML."""
        path = self._run(request).config
        if not path.is_file():
            raise refusal(404, "This run has no config.toml.")
        return PlainTextResponse(path.read_text("utf-8", "replace"))

    def events(self, request: Request) -> Response:
        """Tell the run's events from byte `offset` on, and the offset to go on from."""
        run = self._run(request)
        return JSONResponse(events_told(run.events, number_given(request, "offset", 0)))

    def log(self, request: Request) -> Response:
        """Tell the last `lines` (200) lines of the run's log, as a terminal would show them."""
        tail = LogTail(self._run(request).log)
        tail.poll()
        view = tail.view()
        lines = view.lines[-number_given(request, "lines", 200) or len(view.lines) :]
        first = view.first_number + len(view.lines) - len(lines)
        return JSONResponse({"lines": list(lines), "first": first, "note": view.note})

    def samples(self, request: Request) -> Response:
        """List the run's preview pictures."""
        return JSONResponse({"samples": samples_told(self._run(request))})

    def files(self, request: Request) -> Response:
        """List the files in the run's folder."""
        return JSONResponse(files_told(self._run(request)))

    def file(self, request: Request) -> Response:
        """Send one file of the run's folder."""
        path = file_of_run(self._run(request), request.path_params["file"])
        if path is None:
            raise refusal(404, "There is no such file in this run.", hint="GET …/files lists them.")
        # As a download: a page that lies in a run folder must not act as a page of ours.
        return FileResponse(path, filename=path.name)

    def ask(self, request: Request) -> Response:
        """Ask a run at work: stop, kill, save, sample, pause or continue."""
        what = request.path_params["request"]
        action = REQUESTS.get(what)
        if action is None:
            hint = f"One of {', '.join(REQUESTS)}."
            raise refusal(404, f"A run cannot be asked for {what!r}.", hint=hint)
        summary = self._summary(request)
        if not summary.busy:
            raise refusal(409, "This run is over.", hint="Only a run at work can be asked.")
        action(summary.folder)
        return JSONResponse(status_told(self._summary(request)), 202)

    def _run(self, request: Request) -> RunFolder:
        return self._summary(request).folder

    def _summary(self, request: Request) -> RunSummary:
        summary = self._context.store.summary(request.path_params["run"])
        if summary is None:
            raise refusal(404, "There is no such run.", hint="GET …/runs lists them.")
        return summary
