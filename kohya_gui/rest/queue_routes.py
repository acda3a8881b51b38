"""What programs can do with the queue: look, pause, take off, try again, move."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kohya_gui.context import Context
from kohya_gui.jobs.told import queue_told
from kohya_gui.rest.answers import number_given, refusal


class QueueRoutes:
    """Answers the routes of the queue. Each tells the queue as it is afterwards."""

    def __init__(self, context: Context) -> None:
        self._queue = context.queue

    def list(self, request: Request) -> Response:
        """List the jobs that wait, next first."""
        return self._told(request)

    def pause(self, request: Request) -> Response:
        """Let no waiting job start by itself; what is at work goes on."""
        self._queue.pause(True)
        return self._told(request)

    def go_on(self, request: Request) -> Response:
        """Let the queue move on again."""
        self._queue.pause(False)
        return self._told(request)

    def remove(self, request: Request) -> Response:
        """Take a waiting job off the list."""
        self._there(self._queue.remove(request.path_params["job"]))
        return self._told(request)

    def retry(self, request: Request) -> Response:
        """Let a job that could not be started try again."""
        self._there(self._queue.retry(request.path_params["job"]))
        return self._told(request)

    def give(self, request: Request) -> Response:
        """Let a waiting job run on `device`: a card, as cuda:1, or default for the first free."""
        device = request.query_params.get("device", "")
        self._there(self._queue.give(request.path_params["job"], device))
        return self._told(request)

    def move(self, request: Request) -> Response:
        """Put a waiting job at `position` (1 is next)."""
        position = max(1, number_given(request, "position", 1))
        self._there(self._queue.move(request.path_params["job"], position))
        return self._told(request)

    def _told(self, _: Request) -> Response:
        return JSONResponse(queue_told(self._queue.content()))

    @staticmethod
    def _there(found: bool) -> None:
        if not found:
            raise refusal(404, "This job does not wait (any more).", hint="GET …/queue lists them.")
