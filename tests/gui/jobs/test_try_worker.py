"""The painting process of a workspace: shared, not bound to a GUI, gone when not needed."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kohya_gui.jobs import try_worker
from kohya_gui.jobs.lanes import Lanes
from kohya_gui.jobs.launch import JobRequest
from kohya_gui.jobs.processes import Processes
from kohya_gui.jobs.store import RunStore
from kohya_gui.jobs.try_worker import DeviceInUse, OrderView, Placed, TryWorker, work_of
from kohya_gui.workspace import Workspace, open_workspace
from sd_scripts.errors import UserError
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import read_record, write_record
from sd_scripts.runs.status import derive_status
from tests.support.pages import make_run
from tests.support.painting import order, picture, use, write_lora
from tests.support.patience import eventually
from tests.support.tiny_models import make_tiny_folder

LONG = 1000
"""Steps of a picture that is never finished in a test."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder("sd1", tmp_path_factory.mktemp("models") / "model")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return open_workspace(tmp_path_factory.mktemp("place") / "work space")


def another(workspace: Workspace) -> TryWorker:
    """A GUI that was just started on the workspace."""
    return TryWorker(workspace, RunStore(workspace))


@pytest.fixture
def trying(workspace: Workspace) -> Iterator[TryWorker]:
    yield another(workspace)
    end_all(workspace)


def end_all(workspace: Workspace) -> None:
    """End what a test has left at work."""
    store = RunStore(workspace)
    for run in store.list():
        record = read_record(run.folder)
        if record is not None and record.job == "try_prompts" and run.status.alive and record.pid:
            os.kill(record.pid, signal.SIGKILL)
    assert eventually(lambda: not any(run.status.alive for run in store.list() if run.busy))


def seen(trying: TryWorker, placed: Placed) -> OrderView:
    view = trying.look(placed)
    assert view is not None
    return view


def pid_of(workspace: Workspace, run_id: str) -> int:
    record = read_record(RunStore(workspace).get(run_id))
    assert record is not None
    assert record.pid
    return record.pid


def test_the_life_of_a_worker(
    trying: TryWorker, workspace: Workspace, model: Path, tmp_path: Path
) -> None:
    """Started once, shared by two GUIs, cancelled, killed, started anew, stopped as it paints."""
    assert trying.worker() is None
    assert not trying.unload()
    lora = write_lora(tmp_path / "lora.safetensors", model, "sd1")
    asked = order(model, picture(), picture(networks=(use(lora),)), title="two")
    first = trying.submit(asked)
    other = another(workspace)
    second = other.submit(order(model, picture(sample_steps=LONG)))
    assert first.run_id == second.run_id
    assert eventually(lambda: seen(trying, first).over)
    view = seen(trying, first)
    assert (view.state, view.fraction, len(view.painted)) == ("done", 1.0, 2)
    assert all(Path(one.path).is_file() and one.seconds for one in view.painted)
    pace = trying.pace(str(model))
    assert pace == pytest.approx(
        sum(one.seconds or 0 for one in view.painted) / sum(work_of(asked, n) for n in (0, 1))
    )

    assert eventually(lambda: 0 < seen(other, second).fraction < 1)
    worker = trying.worker()
    assert worker is not None
    assert (worker.busy, worker.base) == (True, str(model))
    third = trying.submit(order(model, picture(sample_steps=LONG)))
    assert seen(trying, third).before == 1
    other.cancel(second)
    assert eventually(lambda: seen(trying, second).state == "cancelled")
    assert eventually(lambda: seen(trying, third).state == "painting")

    os.kill(pid_of(workspace, third.run_id), signal.SIGKILL)
    assert eventually(lambda: seen(trying, third).state == "unfinished")
    assert trying.worker() is None
    again = another(workspace).submit(order(model, picture()))
    assert again.run_id != first.run_id
    assert [one.order_id for one in trying.history()] == [
        placed.order_id for placed in (again, third, second, first)
    ]
    assert eventually(lambda: seen(trying, again).state == "done")

    left = trying.submit(order(model, picture(sample_steps=LONG), picture()))
    waiting = trying.submit(order(model, picture()))
    assert left.run_id == again.run_id
    assert eventually(lambda: seen(trying, left).fraction > 0)
    process = psutil.Process(pid_of(workspace, again.run_id))
    assert trying.unload()
    assert eventually(lambda: not process.is_running() or process.status() == "zombie")
    run = RunStore(workspace).get(again.run_id)
    assert run is not None
    assert eventually(lambda: not derive_status(run).alive)
    assert derive_status(run).state == "stopped"
    states = [seen(trying, one).state for one in (again, left, waiting)]
    assert states == ["done", "unfinished", "unfinished"]
    assert seen(trying, left).painted == ()


def test_it_ends_by_itself_and_makes_room_for_a_training(
    trying: TryWorker, workspace: Workspace, model: Path
) -> None:
    """What comes after its end is painted by the next; trainings are left alone unless told so."""
    first = trying.submit(order(model, picture()), options={"idle_minutes": 0.001})
    run = RunStore(workspace).get(first.run_id)
    assert run is not None
    assert eventually(lambda: derive_status(run).state == "finished")
    training = make_run(workspace.path, "portrait")
    try:
        with pytest.raises(DeviceInUse, match="“portrait” is at work") as refused:
            trying.submit(order(model, picture()))
        assert [run.name for run in refused.value.running] == ["portrait"]
        assert trying.worker() is None
        second = trying.submit(order(model, picture()), beside_others=True)
        assert second.run_id != first.run_id
        assert eventually(lambda: seen(trying, second).state == "done")
        assert eventually(trying.make_room)
        assert trying.worker() is None
        assert not trying.make_room()
    finally:
        # It would count as at work for as long as this process lives.
        shutil.rmtree(training.path)


def test_a_process_that_cannot_paint_says_why(trying: TryWorker, model: Path) -> None:
    options = {"device": "cpu", "precision": "fp16"}
    placed = trying.submit(order(model, picture()), options=options)
    assert eventually(lambda: seen(trying, placed).state == "unfinished")
    (problem,) = seen(trying, placed).problems
    assert problem.option == "precision"
    assert problem.hint


def test_wrong_options_start_nothing(trying: TryWorker, model: Path) -> None:
    with pytest.raises(UserError, match="idle_minutes"):
        trying.submit(order(model, picture()), options={"idle_minutes": -1})
    assert trying.worker() is None


def test_orders_that_are_gone(trying: TryWorker) -> None:
    for placed in (Placed("none", "20250101-120000-001-abcdef"), Placed("none", "../..")):
        assert trying.look(placed) is None
        with pytest.raises(UserError, match="are gone"):
            trying.cancel(placed)


def test_of_several_cards_one_that_is_free_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_workspace(tmp_path / "cards")
    trying = TryWorker(place, RunStore(place), lambda: Lanes(("0", "1", "2")))
    made: list[JobRequest] = []

    def start(workspace: Workspace, request: JobRequest) -> RunFolder:
        made.append(request)
        run = make_run(workspace.path, request.name, device=request.device)
        record = read_record(run)
        assert record is not None
        write_record(run, record.model_copy(update={"job": request.job_name}))
        return run

    monkeypatch.setattr(try_worker, "start_request", start)
    asked = order(tmp_path / "model", picture())
    make_run(place.path, "training", device="cuda:2")
    # Only what Settings name is taken; where nothing of it is free, it is as with one card.
    with pytest.raises(DeviceInUse):
        trying.submit(asked, processes=Processes(gpu_ids="2"))
    assert made == []
    trying.submit(asked)
    assert (made[0].device, made[0].processes.gpu_ids) == ("try it cuda:1", "1")
    assert trying.in_the_way() == ()
    # What begins on its card wants it to make room; what begins elsewhere does not.
    make_run(place.path, "elsewhere", device="cuda:0")
    assert trying.in_the_way() == ()
    beside = make_run(place.path, "beside", device="cuda:1")
    assert [run.id for run in trying.in_the_way()] == [beside.id]
    # As CUDA_VISIBLE_DEVICES may name them.
    other = open_workspace(tmp_path / "named")
    TryWorker(other, RunStore(other), lambda: Lanes(("GPU-ab", "GPU-cd"))).submit(asked)
    assert made[-1].processes.gpu_ids == "GPU-cd"
