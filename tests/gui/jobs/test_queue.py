"""The queue: order, one job at a time, nothing lost and nothing started twice."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kohya_gui.jobs import launch, stop
from kohya_gui.jobs import queue as queue_module
from kohya_gui.jobs.launch import JobRequest, start_request
from kohya_gui.jobs.lock import file_lock
from kohya_gui.jobs.queue import JobQueue, Queued, Refused, Submitted
from kohya_gui.workspace import Workspace
from sd_scripts.errors import UserError
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import RunRecord, read_record, write_record
from tests.gui.jobs.conftest import fake_request, wait_for, wait_for_state

LONG = 100_000


def started(answer: object) -> RunFolder:
    assert isinstance(answer, Submitted)
    return answer.run


def names(queue: JobQueue) -> list[str]:
    return [job.request.name for job in queue.items()]


def test_a_free_device_starts_at_once(workspace: Workspace) -> None:
    queue = JobQueue(workspace)
    run = started(queue.submit(fake_request("first", steps=1)))
    wait_for_state(run, "finished")
    assert queue.items() == []


def test_a_second_start_waits_and_says_for_what(workspace: Workspace) -> None:
    queue = JobQueue(workspace)
    run = started(queue.submit(fake_request("first", steps=LONG)))
    wait_for_state(run, "running")
    second = queue.submit(fake_request("second", steps=1))
    third = queue.submit(fake_request("third", steps=1))
    assert isinstance(second, Queued)
    assert isinstance(third, Queued)
    assert (second.position, third.position) == (1, 2)
    assert "“first” is still at work (running" in second.text
    assert names(queue) == ["second", "third"]
    assert queue.advance() == []
    assert names(queue) == ["second", "third"]


def test_a_second_start_can_be_refused(workspace: Workspace) -> None:
    queue = JobQueue(workspace)
    run = started(queue.submit(fake_request("first", steps=LONG)))
    answer = queue.submit(fake_request("second"), when_busy="refuse")
    assert isinstance(answer, Refused)
    assert answer.running == (run.id,)
    assert "Stop it" in answer.text
    assert queue.items() == []


def test_jobs_start_in_order_each_after_the_end_of_the_one_before(workspace: Workspace) -> None:
    queue = JobQueue(workspace)
    run = started(queue.submit(fake_request("a", steps=LONG)))
    for name in ("b", "c"):
        queue.submit(fake_request(name, steps=5))
    stop.stop(run)
    order = []
    while queue.items():
        for new in queue.advance():
            assert not queue.advance(), "two jobs at once on one device"
            record = read_record(new)
            assert record is not None
            order.append(record.name)
            wait_for_state(new, "finished")
    assert order == ["b", "c"]
    assert len(queue.store.list()) == 3


def test_a_failed_job_does_not_hold_up_the_next(workspace: Workspace) -> None:
    queue = JobQueue(workspace)
    run = started(queue.submit(fake_request("crash", mode="crash")))
    queue.submit(fake_request("next", steps=1))
    wait_for_state(run, "failed")
    [new] = queue.advance()
    wait_for_state(new, "finished")


def test_the_queue_survives_a_restart(workspace: Workspace) -> None:
    first = JobQueue(workspace)
    run = started(first.submit(fake_request("a", steps=LONG)))
    first.submit(fake_request("ü 猫", steps=2))
    again = JobQueue(Workspace(workspace.path))
    assert names(again) == ["ü 猫"]
    assert again.advance() == []
    stop.kill(run)
    [new] = again.advance()
    wait_for_state(new, "finished")
    assert first.items() == again.items() == []


def test_a_waiting_job_goes_before_a_new_one(workspace: Workspace) -> None:
    queue = JobQueue(workspace)
    run = started(queue.submit(fake_request("a", steps=1)))
    queue.submit(fake_request("b", steps=1))
    wait_for_state(run, "finished")
    late = queue.submit(fake_request("late", steps=1))
    assert isinstance(late, Queued)
    assert late.position == 2
    assert "1 job is waiting" in late.text


def waiting(workspace: Workspace, *jobs: JobRequest) -> JobQueue:
    """Return a queue in which these jobs wait for a run that is at work."""
    queue = JobQueue(workspace)
    started(queue.submit(fake_request("at work", steps=LONG)))
    for job in jobs:
        queue.submit(job)
    return queue


def test_jobs_can_be_moved_and_taken_off(workspace: Workspace) -> None:
    queue = waiting(workspace, *(fake_request(name) for name in "abcd"))
    ids = {job.request.name: job.id for job in queue.items()}
    assert queue.move(ids["d"], 1)
    assert names(queue) == ["d", "a", "b", "c"]
    assert queue.move(ids["d"], 99)
    assert queue.move(ids["c"], 2)
    assert names(queue) == ["a", "c", "b", "d"]
    assert queue.remove(ids["c"])
    assert names(queue) == ["a", "b", "d"]
    assert not queue.remove(ids["c"])
    assert not queue.move(ids["c"], 1)
    assert not queue.retry(ids["c"])


def test_a_job_that_cannot_be_started_is_marked_and_passed_over(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = fake_request("bad").model_copy(update={"job_name": "unknown"})
    queue = waiting(workspace, bad, fake_request("good", steps=1))
    [at_work] = queue.store.running()
    stop.kill(at_work.folder)
    [good] = queue.advance()
    wait_for_state(good, "finished")
    assert queue.advance() == []
    [job] = queue.items()
    assert job.request.name == "bad"
    assert job.problem is not None
    assert "no job 'unknown'" in job.problem
    monkeypatch.setitem(launch.JOB_MODULES, "unknown", "tests.support.fake_trainer")
    assert queue.retry(job.id)
    [new] = queue.advance()
    wait_for_state(new, "finished")
    assert queue.items() == []


def test_a_start_that_cannot_be_is_not_kept(workspace: Workspace) -> None:
    queue = JobQueue(workspace)
    with pytest.raises(UserError, match="no job"):
        queue.submit(fake_request().model_copy(update={"job_name": "unknown"}))
    assert queue.items() == []


def test_a_program_that_died_after_a_start_makes_no_second_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = waiting(workspace, fake_request("once", steps=1))
    [at_work] = queue.store.running()
    stop.kill(at_work.folder)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(queue, "_write", dies)
        with pytest.raises(KeyboardInterrupt):
            queue.advance()
    assert names(queue) == ["once"]
    run = next(run for run in queue.store.list() if run.name == "once").folder
    wait_for_state(run, "finished")
    assert JobQueue(workspace).advance() == []
    assert names(queue) == []


def test_a_start_that_never_came_to_a_process_is_made_again(workspace: Workspace) -> None:
    queue = waiting(workspace, fake_request("again", steps=1))
    [at_work] = queue.store.running()
    stop.kill(at_work.folder)
    [job] = queue.items()
    half = RunFolder.create(workspace.runs, "again", "")
    write_record(half, RunRecord(name="again", queue_id=job.id, started=5.0))
    [new] = queue.advance()
    assert new != half
    wait_for_state(new, "finished")


def test_a_start_that_is_younger_is_waited_for_and_not_lost(workspace: Workspace) -> None:
    """A program that died between the run folder and the process has started nothing yet."""
    queue = waiting(workspace, fake_request("later", steps=1))
    [at_work] = queue.store.running()
    stop.kill(at_work.folder)
    [job] = queue.items()
    half = RunFolder.create(workspace.runs, "later", "")
    write_record(half, RunRecord(name="later", queue_id=job.id))
    assert queue.advance() == []
    assert names(queue) == ["later"], "no process was made, so the job must stay"
    write_record(half, RunRecord(name="later", queue_id=job.id, started=5.0))
    [new] = queue.advance()
    wait_for_state(new, "finished")
    assert names(queue) == []


def test_a_start_whose_record_names_no_process_is_found_by_the_process(
    workspace: Workspace,
) -> None:
    queue = waiting(workspace, fake_request("once", steps=LONG))
    [at_work] = queue.store.running()
    stop.kill(at_work.folder)
    [job] = queue.items()
    run = start_request(workspace, job.request, queue_id=job.id)
    wait_for_state(run, "running")
    record = read_record(run)
    assert record is not None
    unfinished = {"pid": None, "create_time": None, "started": 5.0, "launcher": None}
    write_record(run, record.model_copy(update=unfinished))
    assert queue.advance() == []
    assert names(queue) == []


def test_a_paused_queue_starts_nothing_by_itself_until_it_goes_on(workspace: Workspace) -> None:
    queue = waiting(workspace, fake_request("later", steps=1))
    queue.pause(True)
    assert JobQueue(workspace).content().paused, "it survives a restart"
    [at_work] = queue.store.running()
    stop.kill(at_work.folder)
    assert queue.advance() == []
    by_hand = started(queue.submit(fake_request("by hand", steps=1)))
    wait_for_state(by_hand, "finished")
    assert names(queue) == ["later"]
    queue.pause(False)
    [new] = queue.advance()
    wait_for_state(new, "finished")


def test_jobs_are_added_in_one_step_and_shifted(workspace: Workspace) -> None:
    queue = JobQueue(workspace)
    queue.pause(True)
    added = queue.add([fake_request(name) for name in "abc"])
    assert [job.id for job in queue.items()] == [job.id for job in added]
    assert queue.shift(added[0].id, 1)
    assert names(queue) == ["b", "a", "c"]
    assert queue.shift(added[2].id, -1)
    assert queue.shift(added[1].id, -1)
    assert names(queue) == ["b", "c", "a"]
    assert queue.shift(added[0].id, 5)
    assert names(queue) == ["b", "c", "a"]
    assert not queue.shift("gone", 1)


def test_a_changed_job_keeps_its_place_and_the_later_of_two_is_told(workspace: Workspace) -> None:
    queue = JobQueue(workspace)
    queue.pause(True)
    first, second = queue.add([fake_request("a"), fake_request("b")])
    assert queue.replace(first.id, fake_request("a2", steps=7), first.version) == "saved"
    assert names(queue) == ["a2", "b"]
    assert queue.replace(first.id, fake_request("a3"), first.version) == "changed"
    assert names(queue) == ["a2", "b"]
    queue.remove(second.id)
    assert queue.replace(second.id, fake_request("b2"), second.version) == "gone"
    assert names(queue) == ["a2"]
    now = queue.find(first.id)
    assert now is not None
    assert queue.replace(first.id, fake_request("a4"), now.version) == "saved"


def test_a_job_that_was_just_started_is_not_changed_any_more(workspace: Workspace) -> None:
    queue = JobQueue(workspace)
    queue.pause(True)
    [job] = queue.add([fake_request("a", steps=1)])
    run = start_request(workspace, job.request, queue_id=job.id)
    assert queue.replace(job.id, fake_request("a2"), job.version) == "gone"
    wait_for_state(run, "finished")


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"jobs": [{"id": 1}]}', b"\xff"])
def test_a_damaged_file_is_put_aside_and_told(workspace: Workspace, content: bytes) -> None:
    path = workspace.queue / "queue.json"
    path.write_bytes(content)
    queue = JobQueue(workspace)
    with pytest.raises(UserError, match="damaged"):
        queue.advance()
    assert queue.items() == []
    [aside] = workspace.queue.glob("queue.damaged-*.json")
    assert aside.read_bytes() == content


def test_threads_start_one_job_only(workspace: Workspace) -> None:
    queue = JobQueue(workspace)
    answers: list[object] = []

    def submit(number: int) -> None:
        answers.append(queue.submit(fake_request(f"job {number}", steps=LONG)))

    threads = [threading.Thread(target=submit, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(answer, Submitted) for answer in answers) == 1
    positions = [answer.position for answer in answers if isinstance(answer, Queued)]
    assert sorted(positions) == [1, 2, 3, 4, 5]
    assert len(queue.items()) == 5


OTHER_PROGRAM = """
import sys
from pathlib import Path
from kohya_gui.jobs import launch
from kohya_gui.jobs.queue import JobQueue
from kohya_gui.workspace import Workspace
launch.JOB_MODULES["fake"] = "tests.support.fake_trainer"
queue = JobQueue(Workspace(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
print(len(queue.advance()), flush=True)
"""


def test_two_programs_start_a_waiting_job_once(workspace: Workspace) -> None:
    queue = waiting(workspace, fake_request("once", steps=LONG), fake_request("later", steps=1))
    [at_work] = queue.store.running()
    stop.kill(at_work.folder)
    variables = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    command = [sys.executable, "-c", OTHER_PROGRAM, str(workspace.path)]
    programs = [
        subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline().strip() == b"ready"
    counts = []
    for program in programs:
        assert program.stdin is not None
        program.stdin.write(b"go\n")
        program.stdin.flush()
    for program in programs:
        output, _ = program.communicate()
        counts.append(int(output))
    assert sorted(counts) == [0, 0, 1]
    assert names(queue) == ["later"]
    assert [run.name for run in queue.store.running()] == ["once"]


def test_a_lock_is_let_go_when_its_holder_dies(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys, time; from pathlib import Path; from kohya_gui.jobs.lock import file_lock\n"
        "with file_lock(Path(sys.argv[1])):\n print('held', flush=True); time.sleep(600)\n"
    )
    variables = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        with (
            pytest.raises(UserError, match="Another window"),
            file_lock(path, timeout_seconds=0.05),
        ):
            pass
        holder.kill()
    with file_lock(path):
        pass


def test_a_run_started_by_hand_in_the_workspace_counts(workspace: Workspace) -> None:
    run = start_request(workspace, fake_request("by hand", steps=LONG))
    answer = JobQueue(workspace).submit(fake_request("next"))
    assert isinstance(answer, Queued)
    wait_for(lambda: run.events.exists(), "the first event")


def test_without_waiting_jobs_the_timer_looks_at_no_run(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = JobQueue(workspace)

    def fail(*_: object) -> None:
        raise AssertionError("runs were listed")

    monkeypatch.setattr(queue_module.RunStore, "list", fail)
    assert queue.advance() == []
