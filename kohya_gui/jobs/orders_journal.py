"""What a painting process has told of its orders, read on by offset."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from sd_scripts.errors import Problem
from sd_scripts.painting.orders import Order
from sd_scripts.runs.events import (
    OrderEvent,
    PhaseEvent,
    SampleEvent,
    StartEvent,
    read_events,
)

OrderState = Literal["waiting", "painting", "done", "failed", "cancelled", "unfinished"]
_STATES: Final[dict[str, OrderState]] = {
    "accepted": "painting",
    "painting": "painting",
    "done": "done",
    "failed": "failed",
    "cancelled": "cancelled",
    "stopped": "unfinished",
}
_STEPS: Final = "painting"
"""The name of the phase that counts the sampler's steps of an order."""


@dataclass(frozen=True)
class Painted:
    """A picture that is there; `index` is its place in the order."""

    index: int
    path: str
    seconds: float | None


@dataclass(frozen=True)
class Story:
    """What was told of one order."""

    state: OrderState
    painted: tuple[Painted, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass
class _Told:
    started: bool = False
    stories: dict[str, Story] = field(default_factory=dict)
    newest: str | None = None
    phase: PhaseEvent | None = None


class OrderJournal:
    """Follows one `events.jsonl`. Several threads may use it."""

    def __init__(self, events_path: Path) -> None:
        self._path = events_path
        self._lock = threading.Lock()
        self._offset = 0
        self._told = _Told()

    def poll(self) -> None:
        """Read what is new. Raises `OSError`."""
        with self._lock:
            while True:
                before = self._offset
                events, self._offset = read_events(self._path, before)
                if self._offset < before:  # replaced or cut short: begin anew
                    self._told, self._offset = _Told(), 0
                    continue
                for event in events:
                    match event:
                        case StartEvent():
                            self._told.started = True
                        case PhaseEvent():
                            self._told.phase = event
                        case OrderEvent():
                            self._take_order(event)
                        case SampleEvent():
                            self._take_picture(event)
                        case _:
                            pass  # not about orders
                if self._offset == before:
                    return

    def _take_order(self, event: OrderEvent) -> None:
        self._told.newest = event.order
        story = self._told.stories.get(event.order, Story("waiting"))
        told = replace(story, state=_STATES[event.state], problems=event.problems)
        self._told.stories[event.order] = told

    def _take_picture(self, event: SampleEvent) -> None:
        story = self._told.stories.get(event.order)
        if story is not None:
            one = Painted(event.index, event.path, event.seconds)
            self._told.stories[event.order] = replace(story, painted=(*story.painted, one))

    @property
    def started(self) -> bool:
        """Whether the process takes orders."""
        return self._told.started

    @property
    def newest(self) -> str | None:
        """The order that was last worked on."""
        return self._told.newest

    @property
    def busy(self) -> bool:
        """Whether an order is being filled."""
        told = self._told
        return told.newest is not None and told.stories[told.newest].state == "painting"

    @property
    def doing(self) -> str:
        """The name of what goes on now: "loading the model", "painting" …"""
        return self._told.phase.name if self._told.phase else ""

    def of(self, order_id: str) -> Story | None:
        """Return what was told of an order, or None."""
        return self._told.stories.get(order_id)

    def fraction(self, order_id: str, order: Order) -> float:
        """Return how much of an order is painted, from 0 to 1."""
        told = self._told
        story = told.stories.get(order_id)
        if story is None:
            return 0.0
        if story.state == "done":
            return 1.0
        share = len(story.painted) / len(order.pictures)
        phase = told.phase
        if told.newest == order_id and phase is not None and phase.name == _STEPS and phase.total:
            share = max(share, phase.done / phase.total)
        return share
