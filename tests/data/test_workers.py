"""Worker processes: right pixels in the right order, clear failures, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from sd_scripts.data.pixels import Crop, Cutout, load_batch
from sd_scripts.data.prefetch import prefetched
from sd_scripts.data.workers import WorkerPool
from sd_scripts.dataset.pictures import PictureProblem
from sd_scripts.errors import UserError
from tests.data.helpers import make_folder


@pytest.fixture
def batches(tmp_path: Path) -> list[list[Cutout]]:
    folder = make_folder(tmp_path / "ä 図 '\"", [(90 + number, 70) for number in range(5)])
    paths = sorted(folder.glob("*.png"))
    return [
        [Cutout(str(path), (80, 70), None, Crop(number, 2, number == 1), (64, 64))] * (1 + number)
        for number, path in enumerate(paths)
    ]


def children() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if "sd_scripts.data.worker" in child.cmdline()
    ]


@pytest.mark.parametrize("num_workers", [1, 2, 7])
def test_results_come_in_order(batches: list[list[Cutout]], num_workers: int) -> None:
    pool = WorkerPool(num_workers, persistent=False)
    got = list(pool.run(iter(batches)))
    assert [len(pixels) for pixels in got] == [1, 2, 3, 4, 5]
    for pixels, cutouts in zip(got, batches, strict=True):
        assert np.array_equal(pixels, load_batch(cutouts))
    assert not children()


def test_persistent_workers_stay_until_closed(batches: list[list[Cutout]]) -> None:
    pool = WorkerPool(2, persistent=True)
    list(pool.run(batches))
    first = {child.pid for child in children()}
    list(pool.run(batches))
    assert {child.pid for child in children()} == first
    assert len(first) == 2
    pool.close()
    assert not children()


def test_a_run_left_halfway_leaves_no_stale_answers(batches: list[list[Cutout]]) -> None:
    pool = WorkerPool(2, persistent=True)
    begun = pool.run(batches)
    next(begun)
    begun.close()
    assert not children()
    got = list(pool.run(batches[2:]))
    assert np.array_equal(got[0], load_batch(batches[2]))
    pool.close()


def test_batches_are_taken_one_a_worker_ahead(batches: list[list[Cutout]]) -> None:
    taken: list[int] = []

    def taking() -> object:
        for number, cutouts in enumerate(batches):
            taken.append(number)
            yield cutouts

    run = WorkerPool(2, persistent=False).run(taking())  # type: ignore[arg-type]
    next(run)
    assert taken == [0, 1, 2]
    run.close()


def test_a_picture_that_cannot_be_decoded_is_named(batches: list[list[Cutout]]) -> None:
    Path(batches[3][0].path).write_bytes(b"nothing")
    run = WorkerPool(2, persistent=False).run(batches)
    for _ in range(3):
        next(run)
    with pytest.raises(PictureProblem, match=r"003\.png") as caught:
        next(run)
    assert caught.value.hint
    assert not children()


def test_a_worker_that_dies_is_told(batches: list[list[Cutout]]) -> None:
    run = WorkerPool(1, persistent=False).run(batches)
    next(run)
    children()[0].kill()
    with pytest.raises(UserError) as caught:
        list(run)
    assert caught.value.problems[0].option == "max_data_loader_n_workers"


def test_workers_ignore_what_is_meant_for_the_training_process(
    batches: list[list[Cutout]],
) -> None:
    run = WorkerPool(1, persistent=False).run(batches)
    next(run)
    for name in (signal.SIGINT, signal.SIGTERM):
        children()[0].send_signal(name)
    assert len(list(run)) == 4


def test_workers_end_when_the_training_process_is_killed(batches: list[list[Cutout]]) -> None:
    script = textwrap.dedent("""
        import json, sys, time
        from sd_scripts.data.pixels import Crop, Cutout
        from sd_scripts.data.workers import WorkerPool
        batches = [[Cutout(c[0], tuple(c[1]), c[2], Crop(*c[3]), tuple(c[4])) for c in batch]
                   for batch in json.loads(sys.argv[1])]
        run = WorkerPool(2, persistent=True).run(batches)
        next(run)
        print("working", flush=True)
        time.sleep(600)
    """)
    import json

    with subprocess.Popen(
        [sys.executable, "-c", script, json.dumps(batches)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "working"
        workers = children()
        assert len(workers) == 2
        os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive


def test_workers_do_without_torch() -> None:
    script = "import sys, sd_scripts.data.worker; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_prefetching_keeps_the_order_and_works_ahead_by_little() -> None:
    made: list[int] = []

    def making() -> object:
        for number in range(20):
            made.append(number)
            yield number

    items = prefetched(making())  # type: ignore[arg-type]
    assert next(items) == 0
    time.sleep(0.3)
    assert len(made) <= 4
    assert list(items) == list(range(1, 20))


def test_prefetching_raises_where_the_item_would_have_come() -> None:
    def making() -> object:
        yield 1
        raise UserError("broken")

    items = prefetched(making())  # type: ignore[arg-type]
    assert next(items) == 1
    with pytest.raises(UserError, match="broken"):
        next(items)


def test_closing_ends_the_thread_and_the_source() -> None:
    closed: list[bool] = []

    def making() -> object:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    items = prefetched(making())  # type: ignore[arg-type]
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert closed == [True]
