"""Which of the processes of a job this one is, known before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


@dataclass(frozen=True)
class Seat:
    """A process's number among all of a job, how many there are, and its number on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Seat:
        """Read what accelerate and torchrun tell the processes that they start.

        https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables
        """
        told = [variables.get(name, "") for name in _NAMES]
        if not all(text.isdecimal() for text in told):
            return cls()
        rank, size, local_rank = map(int, told)
        return cls(rank, size, local_rank) if rank < size else cls()

    @property
    def leads(self) -> bool:
        """Whether this process decides, writes and reports."""
        return self.rank == 0

    @property
    def speaks(self) -> bool:
        """Whether this process tells on its terminal what is wrong: one on each machine does."""
        return self.local_rank == 0
