"""How a model that is shared out gets into files: the leader asks, all others lend their pieces.

Only the leader knows when something is to be saved. So after each step, and whenever else it may
save, it tells the others what it needs until it is done.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import torch

from sd_scripts.train.ema import weights_to_use
from sd_scripts.train.saving import Saver
from sd_scripts.train.state_facts import Position
from sd_scripts.train.states import Resumable, piece_of, save_piece
from sd_scripts.train.team import Team

if TYPE_CHECKING:
    from sd_scripts.train.shards import Shards

Wanted = Literal["weights", "state", "pieces", "done"]
_BLOCK_BYTES: Final = 1 << 24


class Lending:
    """Gathers what is written of `parts`. Only the leader calls anything but `serve`."""

    def __init__(self, team: Team, shards: Shards, parts: Resumable) -> None:
        self._team = team
        self._shards = shards
        self._parts = parts
        parts.lending = self

    @contextmanager
    def weights(self) -> Iterator[None]:
        """Have the whole weights as they are to be used in the leader's modules."""
        self._call("weights")
        with weights_to_use(self._parts.optimizer, self._parts.ema), self._shards.whole():
            yield

    @contextmanager
    def state(self) -> Iterator[None]:
        """Have the whole weights as they are in the leader's modules."""
        self._call("state")
        with self._shards.whole():
            yield

    def pieces(self, folder: Path) -> None:
        """Write every process's memory of optimizer and average, a file each. Raises `OSError`."""
        self._call("pieces")
        sizes = [int(size) for size in self._team.exchange(0)]
        failed: OSError | None = None
        try:
            save_piece(self._parts, folder)
        except OSError as error:
            failed = error
        for rank, size in enumerate(sizes):
            blocks = self._team.receive(rank, size, _BLOCK_BYTES) if rank else iter(())
            try:
                if rank and failed is None:
                    with open(folder / piece_of(rank), "wb") as file:
                        for block in blocks:
                            file.write(block)
            except OSError as error:
                failed = error
            for _ in blocks:
                pass  # the disk is full: what is still on its way is taken all the same
        if failed is not None:
            raise failed

    def done(self) -> None:
        """Let the others go on."""
        self._call("done")

    def serve(self) -> None:
        """Lend what the leader asks for, until it is done: what all others call meanwhile."""
        while (wanted := self._team.exchange()[0]) != "done":
            self._lend(wanted)

    def _lend(self, wanted: Wanted) -> None:
        if wanted == "weights":
            with weights_to_use(self._parts.optimizer, self._parts.ema), self._shards.whole():
                pass
        elif wanted == "state":
            with self._shards.whole():
                pass
        else:
            buffer = io.BytesIO()
            torch.save(self._parts.piece_state(), buffer)
            self._team.exchange(buffer.getbuffer().nbytes)
            self._team.send(buffer.getbuffer(), _BLOCK_BYTES)

    def _call(self, wanted: Wanted) -> None:
        self._team.share(wanted)


class SharedSaver:
    """Stands before the leader's saver; in all other processes it lends (`saver` None)."""

    def __init__(self, lending: Lending, saver: Saver | None) -> None:
        self._lending = lending
        self._saver = saver

    def after_step(self, position: Position) -> bool:
        """Save if that is due after a step; tells the leader whether it was."""
        return bool(self._together(lambda saver: saver.after_step(position)))

    def after_epoch(self, position: Position) -> bool:
        """Save if that is due after an epoch; tells the leader whether it was."""
        return bool(self._together(lambda saver: saver.after_epoch(position)))

    def on_request(self, position: Position) -> None:
        """Save since it was asked for."""
        self._together(lambda saver: saver.on_request(position))

    def stopped(self, position: Position) -> None:
        """Save at a stop."""
        self._together(lambda saver: saver.stopped(position))

    def finish(self, position: Position) -> None:
        """Save at the end."""
        self._together(lambda saver: saver.finish(position))

    def _together(self, save: Callable[[Saver], Any]) -> Any:
        if self._saver is None:
            self._lending.serve()
            return None
        result = save(self._saver)
        self._lending.done()
        return result
