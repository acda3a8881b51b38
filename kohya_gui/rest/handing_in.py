"""Jobs that programs hand in as TOML: looked at only, checked by the trainer, started or queued."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kohya_gui.context import Context
from kohya_gui.jobs.launch import JobRequest
from kohya_gui.jobs.queue import Queued, Refused, Submitted
from kohya_gui.jobs.submitting import Given, given_jobs, requests_of, several_told
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
        jobs = await self._given(request)
        device = request.query_params.get("device", "")
        return await run_in_threadpool(self._do, way, jobs, device)

    def _do(self, way: str, jobs: Sequence[Given], device: str) -> Response:
        lane = self._context.queue.lanes().device(device)
        requests = requests_of(jobs, self._context.settings(), lane)
        if len(jobs) > 1:
            return self._do_several(way, jobs, requests)
        (given,) = jobs
        told = {"name": given.name, "problems": problems_told(given.warnings)}
        if way == "check":
            return JSONResponse({"state": "good", **told})
        match self._context.queue.submit(requests[0], "queue" if way == "queue" else "refuse"):
            case Submitted(run=run, text=text):
                return JSONResponse({"state": "started", "run": run.id, "text": text, **told}, 201)
            case Queued(id=job, position=place, text=text):
                row = {"state": "queued", "id": job, "position": place, "text": text}
                return JSONResponse({**row, **told}, 202)
            case Refused(text=text):
                raise refusal(409, text, hint="do=queue lets it wait for its turn.")
        raise AssertionError("submit knows three answers")

    def _do_several(
        self, way: str, jobs: Sequence[Given], requests: Sequence[JobRequest]
    ) -> Response:
        """Let the runs that lists of values make wait in the queue, all or none."""
        if way == "check":
            return JSONResponse({"state": "good", **several_told(jobs)})
        if way == "start":
            text = f"Lists of values make {len(jobs)} runs of this job; they start in their turn."
            raise refusal(400, text, option="do", hint="do=queue lets them wait.")
        queued = self._context.queue.add(requests)
        told = several_told(jobs, [one.id for one in queued])
        return JSONResponse({"state": "queued", **told}, 202)

    async def start_check(self, request: Request) -> Response:
        """Let the trainer itself check a job's TOML, without training."""
        jobs = await self._given(request)
        if len(jobs) > 1:
            text = f"Lists of values make {len(jobs)} runs of this job; one at a time is checked."
            raise refusal(400, text, hint="POST /jobs?do=check looks at the values of all.")
        (given,) = jobs
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

    async def _given(self, request: Request) -> tuple[Given, ...]:
        query = request.query_params
        text = await text_body(request)
        name = query.get("name", "")
        if len(name) > 200:
            raise refusal(400, "The name is longer than 200 characters.", option="name")
        job = query.get("job", "train_network")
        return await run_in_threadpool(given_jobs, job, text, self._context.workspace.path, name)
