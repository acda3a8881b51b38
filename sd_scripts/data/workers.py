"""Worker processes that decode pictures ahead of the training.

Each has its own pair of pipes and one batch in the making or waiting. No fork (other threads'
locks would be copied), no pickling, no shared memory (small in containers), no torch in the
workers: they start in a moment, cost little memory, and can't outlive the training process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterable
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

import sd_scripts
from sd_scripts.data.pixels import Cutout, Pixels
from sd_scripts.data.worker import read_answer, write_request
from sd_scripts.errors import UserError

_NO_WINDOW: Final = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # there on Windows only


class WorkerPool:
    """Up to `num_workers` processes.

    With `persistent` they live from one `run` to the next, otherwise they end with it.
    """

    def __init__(self, num_workers: int, *, persistent: bool) -> None:
        assert num_workers > 0
        self._num_workers = num_workers
        self._persistent = persistent
        self._workers: list[_Worker] = []

    def run(self, batches: Iterable[list[Cutout]]) -> Generator[Pixels]:
        """Yield the pixels of `batches` in their order; one batch a worker is taken ahead.

        Raises `PictureProblem` where a picture can't be decoded, `UserError` if a worker dies.
        """
        waiting = iter(batches)
        asked: deque[_Worker] = deque()
        finished = False
        try:
            for number, cutouts in enumerate(islice(waiting, self._num_workers)):
                if number == len(self._workers):
                    self._workers.append(_Worker())
                self._workers[number].ask(cutouts)
                asked.append(self._workers[number])
            while asked:
                worker = asked.popleft()
                pixels = worker.answer()
                for cutouts in islice(waiting, 1):
                    worker.ask(cutouts)
                    asked.append(worker)
                yield pixels
            finished = True
        finally:
            # Workers of a run that ended early still have answers under way.
            if not (finished and self._persistent):
                self.close()

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.close()
        self._workers = []


class _Worker:
    """One process, which answers one request at a time."""

    def __init__(self) -> None:
        package_root = str(Path(sd_scripts.__file__).resolve().parents[1])
        search = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sd_scripts.data.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(search),
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
            },
            creationflags=_NO_WINDOW,
        )

    def ask(self, cutouts: list[Cutout]) -> None:
        """Send a request; the answer to the one before must have been read."""
        try:
            write_request(self._requests, cutouts)
        except BrokenPipeError:
            raise self._death() from None

    def answer(self) -> Pixels:
        """Wait for the answer."""
        pixels = read_answer(self._answers)
        if pixels is None:
            raise self._death()
        return pixels

    def close(self) -> None:
        """End the process at once: nobody waits for what it does."""
        self._process.kill()
        self._process.wait()
        self._answers.close()
        try:
            self._requests.close()
        except BrokenPipeError:
            return  # a request that it had not read yet

    @property
    def _requests(self) -> BinaryIO:
        assert self._process.stdin is not None
        return self._process.stdin  # type: ignore[return-value]

    @property
    def _answers(self) -> BinaryIO:
        assert self._process.stdout is not None
        return self._process.stdout  # type: ignore[return-value]

    def _death(self) -> UserError:
        return UserError(
            f"a process that prepares pictures has ended (exit code {self._process.wait()})",
            option="max_data_loader_n_workers",
            hint="probably memory ran out: set it to a smaller number, or to 0",
        )
