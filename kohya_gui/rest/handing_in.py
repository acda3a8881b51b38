"""Jobs that programs hand in as TOML: looked at only, checked by the trainer, started or queued."""

from __future__ import annotations

from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kohya_gui.context import Context
from kohya_gui.jobs.queue import Queued, Refused, Submitted
from kohya_gui.jobs.submitting import Given, given_job
from kohya_gui.jobs.told import problems_told
from kohya_gui.rest.answers import refusal, text_body
from sd_scripts.options.toml_file import job_to_toml

WAYS: Final = ("queue", "start", "check")


class HandingIn:
    """Answers the routes that take a job."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def hand_in(self, request: Request) -> Response:
        """Take a job's TOML: `do` says whether it is queued, started at once, or only looked at."""
        way = request.query_params.get("do", "queue")
        if way not in WAYS:
            hint = f"One of {', '.join(WAYS)}."
            raise refusal(400, f"do={way} is not known.", option="do", hint=hint)
        given = await self._given(request)
        return await run_in_threadpool(self._do, way, given)

    def _do(self, way: str, given: Given) -> Response:
        told = {"name": given.name, "problems": problems_told(given.warnings)}
        if way == "check":
            return JSONResponse({"state": "good", **told})
        settings = self._context.settings()
        request = given.request(settings.processes, allow_hub=settings.allow_hub)
        match self._context.queue.submit(request, "queue" if way == "queue" else "refuse"):
            case Submitted(run=run, text=text):
                return JSONResponse({"state": "started", "run": run.id, "text": text, **told}, 201)
            case Queued(id=job, position=place, text=text):
                row = {"state": "queued", "id": job, "position": place, "text": text}
                return JSONResponse({**row, **told}, 202)
            case Refused(text=text):
                raise refusal(409, text, hint="do=queue lets it wait for its turn.")
        raise AssertionError("submit knows three answers")

    async def start_check(self, request: Request) -> Response:
        """Let the trainer itself check a job's TOML, without training."""
        given = await self._given(request)
        job = given.job
        check = await run_in_threadpool(self._context.checks.start, job.name, job_to_toml(job))
        row = {"check": check, "problems": problems_told(given.warnings)}
        return JSONResponse(row, 202)

    def look_at_check(self, request: Request) -> Response:
        """Tell how a check stands: working, good, bad or crashed, and its text."""
        found = self._context.checks.look(request.path_params["check"])
        if found["state"] == "gone":
            raise refusal(404, "There is no such check.", hint="Start one with POST /checks.")
        shown = {name: found[name] for name in ("state", "text", "seconds")}
        return JSONResponse(shown)

    async def _given(self, request: Request) -> Given:
        query = request.query_params
        text = await text_body(request)
        name = query.get("name", "")
        if len(name) > 200:
            raise refusal(400, "The name is longer than 200 characters.", option="name")
        job = query.get("job", "train_network")
        return await run_in_threadpool(given_job, job, text, self._context.workspace.path, name)
