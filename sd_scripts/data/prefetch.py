"""Doing the next work in a thread while this one is used; the order never changes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Final, TypeVar

_Item = TypeVar("_Item")

_DEPTH: Final = 2
_POLL_SECONDS: Final = 0.1


class _End:
    """The last item of the thread's queue, with the error that ended it, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetched(items: Iterable[_Item]) -> Generator[_Item, None, None]:
    """Yield `items`, up to two of them being made ahead in one thread.

    An error is raised where its item would have come. Closing this iterator ends the thread, and
    closes `items` if it is a generator.
    """
    results: queue.Queue[_Item | _End] = queue.Queue(_DEPTH)
    closed = threading.Event()

    def put(item: _Item | _End) -> bool:
        while not closed.is_set():
            try:
                results.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def run() -> None:
        making = iter(items)
        try:
            for item in making:
                if not put(item):
                    break
        except BaseException as error:  # noqa: BLE001  (raised again in the reader's thread)
            put(_End(error))
        else:
            put(_End())
        finally:
            if isinstance(making, Generator):
                making.close()

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
