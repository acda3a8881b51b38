"""Doing the next work while this one is used: in a thread, or in worker processes.

Both give the results in the order of the tasks, so that they change when things are done, never
what comes out.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

_DEPTH: Final = 2
_POLL_SECONDS: Final = 0.1


class _End:
    """The last item of a thread's queue, with the error that ended it, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def in_thread(work: Callable[[_Task], _Result], tasks: Sequence[_Task]) -> Iterator[_Result]:
    """Yield `work(task)` for every task, up to two being done ahead in one thread.

    An error of `work` is raised where its result would have come. Closing the iterator ends the
    thread.
    """
    results: queue.Queue[_Result | _End] = queue.Queue(_DEPTH)
    closed = threading.Event()

    def put(item: _Result | _End) -> bool:
        while not closed.is_set():
            try:
                results.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def run() -> None:
        try:
            for task in tasks:
                if not put(work(task)):
                    return
        except BaseException as error:  # noqa: BLE001  (raised again in the reader's thread)
            put(_End(error))
        else:
            put(_End())

    thread = threading.Thread(target=run, name="prefetch", daemon=True)
    thread.start()
    try:
        while not isinstance(item := results.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        closed.set()
        thread.join()


class _Work(Dataset[Any], Generic[_Task, _Result]):
    """A function in the clothes of a dataset; its "indices" are tasks."""

    def __init__(self, work: Callable[[_Task], _Result]) -> None:
        self._work = work

    def __getitem__(self, task: _Task) -> _Result:
        return self._work(task)


class _Tasks(Sampler[Any]):
    """The tasks of the next round; the list is replaced between rounds."""

    def __init__(self) -> None:
        self.tasks: Sequence[Any] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)


class ProcessPool(Generic[_Task, _Result]):
    """Worker processes that do tasks in rounds (one round an epoch).

    With `persistent`, they live from the first round to `close`; otherwise for one round. Results
    should be numpy arrays rather than tensors: they then travel through pipes, not through shared
    memory, which is small in containers.
    """

    def __init__(
        self, work: Callable[[_Task], _Result], num_workers: int, *, persistent: bool
    ) -> None:
        assert num_workers > 0
        self._tasks = _Tasks()
        self._loader: DataLoader[Any] | None = DataLoader(
            _Work(work),
            batch_size=None,
            sampler=self._tasks,
            num_workers=num_workers,
            collate_fn=_as_it_is,
            persistent_workers=persistent,
            prefetch_factor=_DEPTH,
            worker_init_fn=_ignore_signals,
            generator=torch.Generator(),  # else it draws from the global one
        )

    def run(self, tasks: Sequence[_Task]) -> Iterator[_Result]:
        """Yield the results of `tasks` in their order."""
        assert self._loader is not None, "closed"
        self._tasks.tasks = tasks
        yield from self._loader

    def close(self) -> None:
        """End the processes."""
        self._loader = None


def _as_it_is(result: _Result) -> _Result:
    return result


def _ignore_signals(worker: int) -> None:
    """Let only the training process decide what Ctrl+C and a termination request mean.

    They reach the whole process group; workers end when the training process ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
