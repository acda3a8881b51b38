"""What all processes of a job do alike in each step: average gradients, heed what was asked."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from sd_scripts.dataset.order import stream_seed
from sd_scripts.runs.requests import Requests
from sd_scripts.train.team import Team, lost_in_words

if TYPE_CHECKING:  # it imports much that only those need who share out weights
    from sd_scripts.train.shards import Shards

_ASKED: Final = ("save", "sample")


class Course:
    """The course of a training, the same in every process.

    Requests come as files, signals and at any time; so the leader looks once a step, and what it
    sees holds for all until the next one. A single process looks at that moment too, and again
    afterwards. So what was asked before the end of a step is heeded after it, be it ever so short.
    """

    def __init__(self, team: Team, requests: Requests, shards: Shards | None = None) -> None:
        self._team = team
        self._shards = shards
        self._requests = requests
        self._asked: frozenset[str] = frozenset()

    def stop(self) -> bool:
        """Tell whether the job shall save and end."""
        return self._requests.stop() if self._team.size == 1 else "stop" in self._asked

    def due(self, name: str) -> bool:
        """Tell whether `save` or `sample` was asked for."""
        return self._requests.due(name) if self._team.size == 1 else name in self._asked

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """Compute a step in here, once all processes have their pictures for it.

        Where weights are shared out, each waits for the others in the middle of it.
        """
        if self._shards is None:
            yield
            return
        self._team.exchange(limit=self._team.timeout)
        with lost_in_words():
            yield

    def begin(self, seed: int, step: int) -> None:
        """Give each process random numbers of its own for step `step` (from 1), such as dropout's.

        They follow from the step, so a resumed run goes on exactly without keeping them. A single
        process goes on with its one stream.
        """
        if self._team.size == 1:
            return
        drawn = stream_seed(seed, step, self._team.seat.rank, 0, "process")
        torch.manual_seed(drawn)
        random.seed(drawn)
        np.random.seed(drawn % 2**32)

    def meet(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Average a step's gradients over all processes; returns the mean of their losses.

        Raises `OtherFailed` or `Deserted` instead if one of them did not get that far. What no
        process has used in this step stays without a gradient.
        """
        self._requests.look()
        if self._team.size == 1:
            return loss
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        idle = [number for number, one in enumerate(learning) if one.grad is None]
        letter = {"idle": idle, "asked": self._look() if self._team.leads else []}
        letters: list[dict[str, Any]] = self._team.exchange(letter, limit=self._team.timeout)
        self._asked = frozenset(letters[0]["asked"])
        if self._shards is not None:
            self._shards.take_gradients()
            return self._team.mean(loss)
        unused = set[int].intersection(*(set(one["idle"]) for one in letters))
        used = [one for number, one in enumerate(learning) if number not in unused]
        self._team.average_gradients(used)
        return self._team.mean(loss)

    @contextmanager
    def leader_computes(self) -> Iterator[None]:
        """Have all that it takes to compute with the model in the leader; call it in all."""
        with self._shards.gathered() if self._shards is not None else nullcontext():
            yield

    @contextmanager
    def all_compute(self) -> Iterator[None]:
        """Compute without learning in here, in all processes alike.

        Weights may be others than usual meanwhile, so none that are gathered outlast it.
        """
        try:
            yield
        finally:
            if self._shards is not None:
                self._shards.scatter()

    def clip(self, parameters: Sequence[nn.Parameter], limit: float) -> Tensor | None:
        """Limit the norm of shared-out gradients; None if they are not, and nothing is done."""
        return self._shards.limit_norm(parameters, limit) if self._shards is not None else None

    def _look(self) -> list[str]:
        asked = [name for name in _ASKED if self._requests.due(name)]
        return [*asked, "stop"] if self._requests.stop() else asked


class Bystander:
    """Stands for the saver in the processes that follow: it writes nothing."""

    def after_step(self, position: object) -> bool:
        """Do nothing."""
        return False

    def after_epoch(self, position: object) -> bool:
        """Do nothing."""
        return False

    def on_request(self, position: object) -> None:
        """Do nothing."""

    def stopped(self, position: object) -> None:
        """Do nothing."""

    def finish(self, position: object) -> None:
        """Do nothing."""
