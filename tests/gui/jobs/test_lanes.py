"""Lanes: each job gets a card of its own, in order, and nothing changes where there is one lane.

No card is needed: lanes are given, and the driver's tool is played.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kohya_gui.jobs import machine, stop
from kohya_gui.jobs.lanes import ANY, Lanes
from kohya_gui.jobs.launch import JobRequest, environment_for
from kohya_gui.jobs.processes import Processes
from kohya_gui.jobs.queue import JobQueue, Queued, Submitted
from kohya_gui.workspace import Workspace
from sd_scripts.errors import UserError
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import RunRecord, read_record, write_record
from tests.gui.jobs.conftest import fake_request, wait_for_state

LONG = 100_000
ONE, TWO, THREE = Lanes(("0",)), Lanes(("0", "1")), Lanes(("0", "1", "2"))


def job(device: str = ANY, num_processes: int = 1, gpu_ids: str = "") -> JobRequest:
    processes = Processes(num_processes=num_processes, gpu_ids=gpu_ids)
    request = fake_request(device, steps=LONG)
    return request.model_copy(update={"device": device, "processes": processes})


def placed(lanes: Lanes, request: JobRequest, *busy: str) -> tuple[str, str] | None:
    found = lanes.place(request, frozenset(busy))
    return (found.device, found.processes.gpu_ids) if found else None


@pytest.mark.parametrize("lanes", [Lanes(), ONE])
def test_without_several_cards_there_is_one_lane_and_jobs_stay_as_they_are(lanes: Lanes) -> None:
    for request in (job(), job(num_processes=2), job(gpu_ids="0")):
        assert lanes.place(request, frozenset()) == request
        assert lanes.place(request, lanes.held("default")) is None
        assert lanes.place(request, lanes.held("cuda:0,cuda:1")) is None
        assert lanes.place(request, lanes.held("pictures")) == request
    assert lanes.names == ()


def test_a_job_gets_the_first_free_card_or_the_one_that_is_wished() -> None:
    assert placed(TWO, job()) == ("cuda:0", "0")
    assert placed(TWO, job(), "cuda:0") == ("cuda:1", "1")
    assert placed(TWO, job(), "cuda:0", "cuda:1") is None
    assert placed(TWO, job("cuda:1")) == ("cuda:1", "1")
    assert placed(TWO, job("cuda:1"), "cuda:1") is None
    assert placed(THREE, job(gpu_ids="1,2"), "cuda:1") == ("cuda:2", "2")
    assert placed(TWO, job("pictures"), "cuda:0", "cuda:1") == ("pictures", "")
    assert placed(TWO, job("pictures"), "pictures") is None


def test_a_card_that_is_not_there_is_told_and_does_not_mean_the_processor() -> None:
    with pytest.raises(UserError, match="no graphics card 2 on this machine"):
        TWO.place(job(gpu_ids="2"), frozenset(["cuda:0"]))


def test_several_processes_get_as_many_cards_at_once() -> None:
    assert placed(THREE, job(num_processes=2)) == ("cuda:0,cuda:1", "0,1")
    assert placed(THREE, job(num_processes=2), "cuda:1") == ("cuda:0,cuda:2", "0,2")
    assert placed(THREE, job(num_processes=2), "cuda:0", "cuda:1") is None
    assert placed(THREE, job(num_processes=2, gpu_ids="1,2"), "cuda:0") == (
        "cuda:1,cuda:2",
        "1,2",
    )
    assert THREE.held("cuda:0,cuda:2") == {"cuda:0", "cuda:2"}


def test_a_run_whose_card_is_not_known_may_be_on_any() -> None:
    assert TWO.held("default") == {"cuda:0", "cuda:1"}


@pytest.mark.parametrize(
    ("request_", "option"),
    [
        (job("cuda:7"), "device"),
        (job(gpu_ids="0,7"), "gpu_ids"),
        (job(num_processes=3), "num_processes"),
        (job("cuda:1", num_processes=2), "num_processes"),
    ],
)
def test_what_can_never_start_is_told(
    workspace: Workspace, request_: JobRequest, option: str
) -> None:
    queue = JobQueue(workspace, lanes=lambda: TWO)
    for hand_in in (queue.submit, lambda one: queue.add([one])):
        with pytest.raises(UserError) as error:
            hand_in(request_)
        assert error.value.problems[0].option == option
    assert queue.items() == []


def test_a_wished_device_is_read() -> None:
    assert [TWO.device(text) for text in ("", "default", "cuda:1")] == [ANY, ANY, "cuda:1"]
    for lanes, text in ((TWO, "cuda:2"), (TWO, "pictures"), (Lanes(), "cuda:0"), (TWO, "0")):
        with pytest.raises(UserError):
            lanes.device(text)


def test_jobs_run_beside_each_other_one_on_each_card(workspace: Workspace) -> None:
    queue = JobQueue(workspace, lanes=lambda: TWO)
    first, second = queue.submit(job()), queue.submit(job())
    assert isinstance(first, Submitted)
    assert isinstance(second, Submitted)
    assert not queue.is_free(job())
    third = queue.submit(job())
    assert isinstance(third, Queued)
    assert third.position == 1
    assert queue.advance() == []
    stop.kill(second.run)
    wait_for_state(second.run, "lost", "failed", "stopped")
    [run] = queue.advance()
    assert device_of(run) == "cuda:1"
    assert device_of(first.run) == "cuda:0"


def device_of(run: RunFolder) -> str:
    record = read_record(run)
    assert record is not None
    return record.device


def test_a_job_on_several_cards_is_not_overtaken_for_ever(workspace: Workspace) -> None:
    queue = JobQueue(workspace, lanes=lambda: TWO)
    at_work = queue.submit(job("cuda:0"))
    assert isinstance(at_work, Submitted)
    assert isinstance(queue.submit(job(num_processes=2)), Queued)
    assert isinstance(queue.submit(job()), Queued)
    assert queue.advance() == []
    assert len(queue.items()) == 2


def test_a_waiting_job_is_given_another_card(workspace: Workspace) -> None:
    queue = JobQueue(workspace, lanes=lambda: TWO)
    queue.pause(True)
    [waiting] = queue.add([job("cuda:0")])
    assert queue.give(waiting.id, "cuda:1")
    assert queue.items()[0].request.device == "cuda:1"
    assert queue.give(waiting.id, "")
    assert queue.items()[0].request.device == ANY
    with pytest.raises(UserError):
        queue.give(waiting.id, "cuda:5")
    assert not queue.give("nobody", "cuda:1")


def test_a_process_sees_its_card_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    request = TWO.place(job(), frozenset(("cuda:0",)))
    assert request is not None
    variables = environment_for(RunFolder(tmp_path), request)
    assert variables["CUDA_VISIBLE_DEVICES"] == "1"
    assert variables["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    alone = environment_for(RunFolder(tmp_path), job())
    assert not {"CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"} & set(alone)


def test_cards_are_those_that_this_program_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    def tool(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert "--query-gpu=index" in command
        return subprocess.CompletedProcess(command, 0, "0\n1\n", "")

    machine._numbers_at.cache_clear()
    monkeypatch.setattr(machine, "_tool", lambda: "nvidia-smi")
    monkeypatch.setattr(subprocess, "run", tool)
    assert Lanes.here({}) == TWO
    assert Lanes.here({"CUDA_VISIBLE_DEVICES": "2, 3"}) == Lanes(("2", "3"))
    assert Lanes.here({"CUDA_VISIBLE_DEVICES": ""}) == Lanes()
    assert Lanes.here({"CUDA_VISIBLE_DEVICES": "-1"}) == Lanes()
    machine._numbers_at.cache_clear()


def test_a_driver_that_does_not_answer_has_its_cards_still(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["0\n1\n", "", "0\n1\n2\n"]

    def tool(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        answer = answers.pop(0)
        return subprocess.CompletedProcess(command, 0 if answer else 9, answer, "")

    monkeypatch.setattr(machine, "_tool", lambda: "a driver's tool")
    monkeypatch.setattr(subprocess, "run", tool)
    found = []
    for minute in range(3):
        machine._numbers_at.cache_clear()
        found.append(machine._numbers_at(minute))
    machine._numbers_at.cache_clear()
    assert found == [("0", "1"), ("0", "1"), ("0", "1", "2")]


def test_a_start_that_is_not_proven_yet_is_not_made_again_on_another_card(
    workspace: Workspace,
) -> None:
    """A program died between the run folder and the process; the folder holds one card only."""
    queue = JobQueue(workspace, lanes=lambda: TWO)
    queue.pause(True)
    first, second = queue.add([job(), job()])
    half = RunFolder.create(workspace.runs, "half", "")
    write_record(half, RunRecord(name="half", queue_id=first.id, device="cuda:0"))
    queue.pause(False)
    [started] = queue.advance()
    try:
        assert read_record(started).queue_id == second.id
        assert [one.id for one in queue.items()] == [first.id], "it waits, and is not lost"
    finally:
        stop.kill(started)
