"""What all processes of a job do alike in each step: average gradients, heed what was asked."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from sd_scripts.dataset.order import stream_seed
from sd_scripts.runs.requests import Requests
from sd_scripts.train.team import Team

_ASKED: Final = ("save", "sample")


class Course:
    """The course of a training, the same in every process.

    Requests come as files, signals and at any time; so the leader looks once a step, and what it
    sees holds for all until the next one. A single process looks at that moment too, and again
    afterwards. So what was asked before the end of a step is heeded after it, be it ever so short.
    """

    def __init__(self, team: Team, requests: Requests) -> None:
        self._team = team
        self._requests = requests
        self._asked: frozenset[str] = frozenset()

    def stop(self) -> bool:
        """Tell whether the job shall save and end."""
        return self._requests.stop() if self._team.size == 1 else "stop" in self._asked

    def due(self, name: str) -> bool:
        """Tell whether `save` or `sample` was asked for."""
        return self._requests.due(name) if self._team.size == 1 else name in self._asked

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
        unused = set[int].intersection(*(set(one["idle"]) for one in letters))
        used = [one for number, one in enumerate(learning) if number not in unused]
        self._team.average_gradients(used)
        return self._team.mean(loss)

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
