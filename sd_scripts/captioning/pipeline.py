"""Pictures through a model: decoding and writing go on beside it, a bounded way ahead."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from PIL import Image

from sd_scripts.captioning.pictures import Picture
from sd_scripts.data.prefetch import prefetched
from sd_scripts.dataset.buckets import Size
from sd_scripts.dataset.large_pictures import open_scaled, open_sized
from sd_scripts.dataset.pictures import PictureProblem

Item = TypeVar("Item")
Opener = Callable[[Path], tuple[Image.Image, Size]]
"""Decodes a picture to RGB; returns it with its size in the file. Raises `PictureProblem`."""
OPENERS: Final[Mapping[str, Opener]] = {"refuse": open_sized, "scale": open_scaled}
"""By the option `large_pictures`."""

_BATCHES_AHEAD: Final = 2
_BATCHES_BEHIND: Final = 64


class Engine(Protocol):
    """A model that says something about pictures.

    `batch_size` is how many it takes at a time. `prepare` makes what it needs of one picture (RGB)
    and `collate` a batch of that; both run in other threads, several at a time. `infer` returns one
    outcome for each picture; `text` puts an outcome into words, in yet another thread. `close`
    frees the memory.
    """

    batch_size: int

    def prepare(self, picture: Image.Image) -> Any:
        """Prepare one picture."""

    def collate(self, prepared: Sequence[Any]) -> Any:
        """Put prepared pictures together."""

    def infer(self, batch: Any) -> Sequence[Any]:
        """Run the model."""

    def text(self, outcome: Any) -> str:
        """Say what was found in one picture."""

    def close(self) -> None:
        """Free the model's memory."""


@dataclass(frozen=True)
class Entry:
    """A picture of a batch with its size (width, height) as seen."""

    picture: Picture
    size: tuple[int, int]


@dataclass(frozen=True)
class Batch:
    """What goes into the model at a time, and the pictures on the way that could not be read.

    `inputs` is None when none of them could.
    """

    entries: tuple[Entry, ...]
    inputs: Any
    broken: tuple[PictureProblem, ...]


@dataclass(frozen=True)
class Reading:
    """How pictures are read: in how many threads (0: when they are asked for), and by what."""

    num_threads: int
    opener: Opener = open_sized


def load(picture: Picture, engine: Engine, opener: Opener) -> tuple[Entry, Any] | PictureProblem:
    """Read and prepare one picture; one that cannot be read is returned as what is wrong."""
    try:
        image, size = opener(picture.path)
    except PictureProblem as problem:
        return problem
    return Entry(picture, size), engine.prepare(image)


def _in_order(
    engine: Engine, pictures: Sequence[Picture], reading: Reading
) -> Generator[tuple[Entry, Any] | PictureProblem, None, None]:
    """Yield prepared pictures in order, made in threads, at most two batches ahead."""
    num_threads, opener = reading.num_threads, reading.opener
    if num_threads == 0:
        yield from (load(picture, engine, opener) for picture in pictures)
        return
    ahead = max(num_threads + 1, _BATCHES_AHEAD * engine.batch_size)
    waiting: deque[Future[tuple[Entry, Any] | PictureProblem]] = deque()
    with ThreadPoolExecutor(num_threads, thread_name_prefix="prepare") as pool:
        try:
            for picture in pictures:
                waiting.append(pool.submit(load, picture, engine, opener))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _batches(
    engine: Engine, pictures: Sequence[Picture], reading: Reading
) -> Generator[Batch, None, None]:
    entries: list[Entry] = []
    prepared: list[Any] = []
    broken: list[PictureProblem] = []
    with closing(_in_order(engine, pictures, reading)) as found:
        for one in found:
            if isinstance(one, PictureProblem):
                broken.append(one)
                continue
            entries.append(one[0])
            prepared.append(one[1])
            if len(entries) == engine.batch_size:
                yield Batch(tuple(entries), engine.collate(prepared), tuple(broken))
                entries, prepared, broken = [], [], []
    if entries or broken:
        inputs = engine.collate(prepared) if entries else None
        yield Batch(tuple(entries), inputs, tuple(broken))


def batches_of(
    engine: Engine, pictures: Sequence[Picture], reading: Reading
) -> Generator[Batch, None, None]:
    """Yield batches in the pictures' order; the next ones are made meanwhile in threads.

    Closing the iterator ends the threads.
    """
    batches = _batches(engine, pictures, reading)
    return prefetched(batches) if reading.num_threads else batches


class Background(Generic[Item]):
    """Hands items to a function in one thread, in order: all that wait, at once.

    So what costs the same for one as for many, such as waiting for the disk, is paid once, and a
    slow disk does not hold the work up. What goes wrong there is raised by the next `put`, or by
    `finish`.
    """

    def __init__(self, function: Callable[[Sequence[Item]], None]) -> None:
        self._function = function
        self._items: queue.Queue[tuple[Item] | None] = queue.Queue(_BATCHES_BEHIND)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        ended = False
        while not ended:
            waiting = [self._items.get()]
            with contextlib.suppress(queue.Empty):
                while waiting[-1] is not None:
                    waiting.append(self._items.get_nowait())
            ended = waiting[-1] is None
            items = [item[0] for item in waiting if item is not None]
            if self._error is None and items:
                try:
                    self._function(items)
                except BaseException as error:  # noqa: BLE001  (raised again by `put`, `finish`)
                    self._error = error

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def put(self, item: Item) -> None:
        """Hand over an item; waits while several are waiting."""
        self._raise()
        self._items.put((item,))

    def finish(self) -> None:
        """Wait until everything is done."""
        self._items.put(None)
        self._thread.join()
        self._raise()
