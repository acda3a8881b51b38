"""Pictures on their way through a model: in order, a bounded way ahead, whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image

from sd_scripts.captioning.pictures import Picture
from sd_scripts.captioning.pipeline import Background, Reading, batches_of
from tests.support.tiny_captioning import paint


class Fake:
    """Counts what is prepared."""

    def __init__(self, batch_size: int = 2) -> None:
        self.batch_size = batch_size
        self.num_prepared = 0
        self._lock = threading.Lock()

    def prepare(self, picture: Image.Image) -> Any:
        with self._lock:
            self.num_prepared += 1
        return picture.getpixel((0, 0))

    def collate(self, prepared: Sequence[Any]) -> Any:
        return tuple(prepared)

    def infer(self, batch: Any) -> Sequence[Any]:
        return batch

    def text(self, outcome: Any) -> str:
        return str(outcome)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    names = [f"{number:02} {'red' if number % 3 else 'blue'}.png" for number in range(40)]
    folder = paint(tmp_path_factory.mktemp("pictures"), *names, size=(2, 2))
    for broken in ("07 red.png", "39 blue.png"):
        (folder / broken).write_bytes(b"no picture")
    return [Picture(folder / name, (folder / name).with_suffix(".txt")) for name in names]


@pytest.mark.parametrize("threads", [0, 1, 5])
def test_batches_are_the_same_for_any_number_of_threads(
    pictures: list[Picture], threads: int
) -> None:
    batches = list(batches_of(Fake(4), pictures, Reading(threads)))
    names = [entry.picture.path.name for batch in batches for entry in batch.entries]
    good = [picture.path.name for picture in pictures if picture.path.stat().st_size > 20]
    assert names == good
    assert [len(batch.entries) for batch in batches] == [4] * 9 + [2]
    broken = [(n, p.path.name) for n, batch in enumerate(batches) for p in batch.broken]
    assert broken == [(1, "07 red.png"), (9, "39 blue.png")]
    values = [value for batch in batches for value in batch.inputs]
    assert values == [(255, 0, 0) if "red" in name else (0, 0, 255) for name in good]


def test_a_last_batch_of_broken_pictures_is_told(pictures: list[Picture]) -> None:
    (only,) = batches_of(Fake(), pictures[-1:], Reading(1))
    assert only.entries == ()
    assert only.inputs is None
    assert len(only.broken) == 1


def test_it_does_not_run_far_ahead(pictures: list[Picture]) -> None:
    fake = Fake(2)
    batches = batches_of(fake, pictures, Reading(2))
    next(batches)
    batches.close()
    # The batch in hand, two that wait, one in the making, and two batches on their way.
    assert fake.num_prepared <= 2 * 6
    alive = [thread.name for thread in threading.enumerate()]
    assert not [name for name in alive if name.startswith(("prepare", "prefetch"))]


def test_a_fault_in_a_thread_comes_out(pictures: list[Picture]) -> None:
    class Faulty(Fake):
        def prepare(self, picture: Image.Image) -> Any:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(batches_of(Faulty(), pictures, Reading(3)))


def test_what_is_handed_over_is_done_in_order() -> None:
    done: list[int] = []
    background = Background(done.extend)
    for number in range(20):
        background.put(number)
    background.finish()
    assert done == list(range(20))


def test_a_fault_in_the_background_comes_out_and_nothing_is_done_after_it() -> None:
    done: list[int] = []

    def work(numbers: Sequence[int]) -> None:
        done.extend(numbers)
        if 1 in done:
            raise OSError("disk")

    background = Background(work)
    with pytest.raises(OSError, match="disk"):  # noqa: PT012 - by the next `put`, or at the end
        for number in range(300):
            background.put(number)
        background.finish()
    # More waits than there is room for, so some would have come after the fault.
    assert done == list(range(len(done)))
    assert len(done) < 300


def test_what_waits_is_done_at_once() -> None:
    sizes: list[int] = []
    began, may_go_on = threading.Event(), threading.Event()

    def work(numbers: Sequence[int]) -> None:
        sizes.append(len(numbers))
        began.set()
        may_go_on.wait(30)

    background = Background(work)
    background.put(0)
    began.wait(30)
    for number in range(1, 6):
        background.put(number)
    may_go_on.set()
    background.finish()
    assert sizes == [1, 5]
