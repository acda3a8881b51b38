"""The REST routes: a table of addresses, each with the function that answers it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from kohya_gui.arguments import Login
from kohya_gui.context import Context
from kohya_gui.login import Attempts
from kohya_gui.rest.access import Access
from kohya_gui.rest.answers import TELLABLE, answer_for, refusal
from kohya_gui.rest.handing_in import HandingIn
from kohya_gui.rest.queue_routes import QueueRoutes
from kohya_gui.rest.run_routes import RunRoutes

PREFIX: Final = "/api/v1"

_Plain = Callable[[Request], Response]
Answering = Callable[[Request], Response] | Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Address:
    """One route: its method, its path below `PREFIX`, and who answers."""

    method: str
    path: str
    answer: Answering

    @property
    def about(self) -> str:
        """The first sentence of the answering function, as the list of routes tells it."""
        return (inspect.getdoc(self.answer) or "").split("\n")[0]


def addresses(context: Context) -> list[Address]:
    """Return every route, in the order in which docs/rest.md tells of them."""
    jobs, runs, queue = HandingIn(context), RunRoutes(context), QueueRoutes(context)
    table = [
        Address("POST", "/jobs", jobs.hand_in),
        Address("POST", "/checks", jobs.start_check),
        Address("GET", "/checks/{check}", jobs.look_at_check),
        Address("GET", "/runs", runs.list),
        Address("GET", "/runs/{run}", runs.status),
        Address("DELETE", "/runs/{run}", runs.delete),
        Address("GET", "/runs/{run}/config", runs.config),
        Address("GET", "/runs/{run}/events", runs.events),
        Address("GET", "/runs/{run}/log", runs.log),
        Address("GET", "/runs/{run}/samples", runs.samples),
        Address("GET", "/runs/{run}/files", runs.files),
        Address("GET", "/runs/{run}/files/{file:path}", runs.file),
        Address("POST", "/runs/{run}/{request}", runs.ask),
        Address("GET", "/queue", queue.list),
        Address("POST", "/queue/pause", queue.pause),
        Address("POST", "/queue/continue", queue.go_on),
        Address("DELETE", "/queue/{job}", queue.remove),
        Address("POST", "/queue/{job}/retry", queue.retry),
        Address("POST", "/queue/{job}/move", queue.move),
        Address("POST", "/queue/{job}/device", queue.give),
    ]

    def contents(_: Request) -> Response:
        """List the routes."""
        rows = [{"method": a.method, "path": PREFIX + a.path, "about": a.about} for a in table]
        return JSONResponse({"routes": rows})

    return [Address("GET", "", contents), *table]


def rest_routes(context: Context, login: Login | None, attempts: Attempts) -> list[BaseRoute]:
    """Return the routes to serve beside the page, under its login."""
    access = Access(login, attempts)
    routes: list[BaseRoute] = [
        Route(PREFIX + path, _guarded(one.answer, access), methods=[one.method])
        for one in addresses(context)
        for path in ([one.path] if one.path else ["", "/"])
    ]

    def unknown(_: Request) -> Response:
        raise refusal(404, "There is no such route.", hint=f"GET {PREFIX} lists them.")

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    last = Route(PREFIX + "/{rest:path}", _guarded(unknown, access), methods=methods)
    return [*routes, last]


def _guarded(answer: Answering, access: Access) -> Callable[[Request], Awaitable[Response]]:
    """Return the answer with the login before it and every problem told in JSON."""

    async def guarded(request: Request) -> Response:
        try:
            access.check(request)
            if inspect.iscoroutinefunction(answer):
                response: Response = await answer(request)
            else:
                response = await run_in_threadpool(cast("_Plain", answer), request)
        except TELLABLE as error:
            response = answer_for(error)
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return guarded
