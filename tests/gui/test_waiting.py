"""Jobs in the queue as pages follow them: what they wait for, their run, taken out."""

from __future__ import annotations

import pytest

from kohya_gui.context import Context
from kohya_gui.jobs.launch import JobRequest
from kohya_gui.waiting import leave_queue, look_queued, next_queued
from sd_scripts.runs.record import read_record, write_record
from tests.support.pages import make_run


@pytest.fixture
def waiting(context: Context) -> tuple[str, str, str]:
    """Three jobs behind a run at work; the last is of another device, where nothing works."""
    make_run(context.workspace.path, "at work")
    requests = [
        JobRequest(job_name=job, config_toml="", name=name, device=device)
        for job, name, device in (
            ("make_captions", "first", "default"),
            ("make_masks", "second", "default"),
            ("make_masks", "third", "pictures"),
        )
    ]
    first, second, third = (job.id for job in context.queue.add(requests))
    return first, second, third


def test_it_is_told_what_a_job_waits_for(context: Context, waiting: tuple[str, str, str]) -> None:
    told = [str(look_queued(context, one)["waits"]) for one in waiting]
    assert "“first” is next" in told[0]
    assert "“at work” has ended" in told[0]
    assert "“second” is number 2" in told[1]
    assert "“third” is number 1" in told[2]
    assert not look_queued(context, waiting[0])["paused"]
    context.queue.pause(True)
    assert look_queued(context, waiting[0])["paused"]


def test_a_job_leads_to_its_run_even_while_it_is_still_listed(
    context: Context, waiting: tuple[str, str, str]
) -> None:
    run = make_run(context.workspace.path, "first", steps=0)
    record = read_record(run)
    assert record is not None
    write_record(run, record.model_copy(update={"queue_id": waiting[0]}))
    assert look_queued(context, waiting[0]) == {"run": run.id}
    context.queue.remove(waiting[0])
    assert look_queued(context, waiting[0]) == {"run": run.id}
    leave_queue(context, waiting[0])
    assert (run.control / "stop").is_file()


def test_a_job_that_was_taken_out_is_told_as_gone(
    context: Context, waiting: tuple[str, str, str]
) -> None:
    leave_queue(context, waiting[1])
    assert "waits no more" in look_queued(context, waiting[1])["gone"]
    leave_queue(context, waiting[1])
    assert [job.id for job in context.queue.items()] == [waiting[0], waiting[2]]
    assert "gone" in look_queued(context, "")


def test_a_job_that_cannot_be_started_says_so_and_is_passed_over(
    context: Context, waiting: tuple[str, str, str]
) -> None:
    first = context.queue.find(waiting[2])
    assert first is not None
    assert next_queued(context, "make_masks") == waiting[1]
    leave_queue(context, waiting[1])
    assert next_queued(context, "make_masks") == waiting[2]
    broken = first.request.model_copy(update={"job_name": "unknown"})
    assert context.queue.replace(waiting[2], broken, first.version) == "saved"
    context.queue.advance()
    told = look_queued(context, waiting[2])
    assert told["problem"]
    assert "unknown" in told["waits"]
    assert next_queued(context, "unknown") is None
