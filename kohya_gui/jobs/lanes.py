"""Which graphics cards jobs get: one job at a time on each; without several cards, one lane.

A lane is a card by the number that the driver's tool gives it, `cuda:0`. Jobs that wait for no card
have a device of another name, and there wait for each other alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Final

from kohya_gui.jobs.launch import JobRequest
from kohya_gui.jobs.machine import card_numbers
from kohya_gui.jobs.processes import Processes
from sd_scripts.errors import UserError

ANY: Final = "default"
"""The device of a job that takes the first free card, and of all runs where there is one lane."""
CARD: Final = "cuda:"
"""What stands before a card's number in the name of its lane."""


@dataclass(frozen=True)
class Lanes:
    """The cards of this machine that jobs may use, as `CUDA_VISIBLE_DEVICES` names them."""

    cards: tuple[str, ...] = ()

    @classmethod
    def here(cls, variables: Mapping[str, str] = os.environ) -> Lanes:
        """Look at this machine; cards that are hidden from this program stay hidden."""
        visible = variables.get("CUDA_VISIBLE_DEVICES")
        if visible is None:
            return cls(card_numbers())
        named = [card.strip() for card in visible.split(",")]
        return cls(tuple(card for card in named if card and card != "-1"))

    @property
    def names(self) -> tuple[str, ...]:
        """The lanes that a job can be given to, if there are several."""
        return tuple(CARD + card for card in self.cards) if len(self.cards) > 1 else ()

    def among(self, processes: Processes) -> tuple[str, ...]:
        """Return the lanes of the cards that are named there; all where none is."""
        named = {CARD + card for card in processes.gpu_ids.split(",") if card}
        return tuple(name for name in self.names if not named or name in named)

    def device(self, text: str) -> str:
        """Read the device that somebody wants for a job, "" for any. Raises `UserError`."""
        if text in ("", ANY):
            return ANY
        known = [CARD + card for card in self.cards]
        if text in known:
            return text
        raise UserError(
            f"There is no graphics card {text!r} on this machine.",
            option="device",
            hint=f"Known: {', '.join((ANY, *known))}.",
        )

    def held(self, device: str) -> frozenset[str]:
        """Return the lanes that a run with this `device` in its record holds.

        One of an older version, or begun where cards could not be seen, may be on any card.
        """
        if device != ANY and not device.startswith(CARD):
            return frozenset((device,))
        return frozenset(device.split(",")) if self.names and device != ANY else self._all

    def wanted(self, request: JobRequest) -> frozenset[str]:
        """Return the lanes that a job could use."""
        if request.device != ANY or not self.names:
            return self.held(request.device)
        return frozenset(CARD + card for card in _named(request)) or self._all

    def check(self, request: JobRequest) -> None:
        """Raise `UserError` for a job that can never be placed on this machine."""
        if request.device.startswith(CARD):
            self.device(request.device)
        if not self.names or not (request.device == ANY or request.device.startswith(CARD)):
            return  # one lane takes what it gets, and other devices are no cards
        missing = [card for card in _named(request) if card not in self.cards]
        if missing:
            raise UserError(
                f"There is no graphics card {', '.join(missing)} on this machine.",
                option="gpu_ids",
                hint=f"Change it in Settings; known are {', '.join(self.cards)}.",
            )
        number, usable = request.processes.per_machine, len(self.wanted(request))
        if number > usable:
            raise UserError(
                f"{number} processes need as many graphics cards, and {usable} can be used.",
                option="num_processes",
                hint="Change it in Settings, or let the job have any card.",
            )

    def place(self, request: JobRequest, busy: Set[str]) -> JobRequest | None:
        """Return a job with the cards it gets; None if it has to wait for them.

        A training in several processes gets as many cards, all at once. Raises as `check`.
        """
        self.check(request)
        wanted = self.wanted(request)
        if not wanted & frozenset(self.names):
            return None if wanted & busy else request
        number = request.processes.per_machine
        free = [name for name in self.names if name in wanted and name not in busy][:number]
        if len(free) < number:
            return None
        cards = ",".join(name.removeprefix(CARD) for name in free)
        processes = request.processes.model_copy(update={"gpu_ids": cards})
        return request.model_copy(update={"device": ",".join(free), "processes": processes})

    def claimed(self, request: JobRequest, busy: Set[str]) -> frozenset[str]:
        """Return the lanes that a waiting job keeps from those behind it: the ones it gets now,
        or all it could use, so that a training on several cards has its turn some time."""
        try:
            placed = self.place(request, busy)
        except UserError:
            return frozenset()  # it is told when its turn comes, and holds nobody up
        return self.held(placed.device) if placed else self.wanted(request)

    @property
    def _all(self) -> frozenset[str]:
        return frozenset(self.names or (ANY,))


def _named(request: JobRequest) -> list[str]:
    return [card for card in request.processes.gpu_ids.split(",") if card]
