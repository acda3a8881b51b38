"""Derived status: each state from the files and the process it comes from."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sd_scripts.errors import Problem
from sd_scripts.runs import control
from sd_scripts.runs.events import (
    BaseEvent,
    ControlEvent,
    EndEvent,
    EventWriter,
    PhaseEvent,
    SaveEvent,
    StartEvent,
    StepEvent,
    WarningEvent,
)
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.process import ProcessIdentity, own_identity
from sd_scripts.runs.record import FORMAT, RunRecord, claim, write_record
from sd_scripts.runs.status import START_GRACE_SECONDS, derive_status, read_facts

START = StartEvent(
    total_steps=100, num_epochs=4, num_images=9, family="sd1", trainable_parameters=5
)
STEP = StepEvent(step=7, epoch=1, loss=0.5, seconds_per_step=2.0, eta_seconds=186.0)
DEAD = ProcessIdentity(pid=4_000_000, create_time=1.0)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "job", "")


def record(run: RunFolder, process: ProcessIdentity | None, **fields: object) -> None:
    made = RunRecord.model_validate({"name": "job", **fields})
    write_record(run, made.with_process(process) if process else made)


def tell(run: RunFolder, *events: BaseEvent) -> None:
    with EventWriter(run.events) as writer:
        for event in events:
            writer.emit(event)


def test_a_living_process_without_a_word_is_starting(run: RunFolder) -> None:
    record(run, own_identity())
    status = derive_status(run)
    assert (status.state, status.active, status.alive) == ("starting", True, True)
    tell(run, PhaseEvent(name="model", done=0, total=1, text="Loading the model"))
    status = derive_status(run)
    assert (status.state, status.detail) == ("starting", "Loading the model")


def test_a_running_one_tells_how_far_it_is(run: RunFolder) -> None:
    record(run, own_identity())
    tell(run, START, STEP)
    status = derive_status(run)
    assert status.state == "running"
    assert (status.step, status.total_steps, status.epoch, status.num_epochs) == (7, 100, 1, 4)
    assert (status.loss, status.seconds_per_step, status.eta_seconds) == (0.5, 2.0, 186.0)
    assert status.fraction == pytest.approx(0.07)
    assert status.family == "sd1"
    assert "7 of 100" in status.detail


def test_long_work_between_steps_is_named_while_it_lasts(run: RunFolder) -> None:
    record(run, own_identity())
    tell(
        run,
        START,
        STEP,
        PhaseEvent(name="preview", text="Drawing previews"),
        WarningEvent(text="w"),
    )
    assert derive_status(run).detail == "Drawing previews"
    tell(run, STEP)
    assert "Drawing" not in derive_status(run).detail


def test_counted_work_without_steps_is_progress(run: RunFolder) -> None:
    record(run, own_identity())
    tell(run, PhaseEvent(name="files", done=3, total=12))
    status = derive_status(run)
    assert (status.phase_done, status.phase_total, status.progress) == (3, 12, 0.25)
    tell(run, PhaseEvent(name="model", done=0, total=1))
    assert derive_status(run).phase_total is None  # one thing to do is no count
    tell(run, START, STEP, PhaseEvent(name="saving", done=1, total=2))
    status = derive_status(run)
    assert (status.phase_total, status.progress) == (2, pytest.approx(0.07))


def test_a_pause_is_told(run: RunFolder) -> None:
    record(run, own_identity())
    tell(run, START, STEP)
    control.request(run, "pause")
    status = derive_status(run)
    assert (status.state, status.detail) == ("running", "Paused after step 7.")
    assert status.paused
    control.withdraw(run, "pause")
    assert not derive_status(run).paused


@pytest.mark.parametrize("seen", [False, True])
def test_stopping_from_the_request_to_the_end(run: RunFolder, seen: bool) -> None:
    record(run, own_identity())
    tell(run, START, STEP)
    if seen:
        tell(run, ControlEvent(request="stop", state="accepted"))
    else:
        control.request(run, "stop")
    status = derive_status(run)
    assert status.state == "stopping"
    assert status.active
    tell(run, EndEvent(status="stopped", reason="Stopped after step 7."))
    status = derive_status(run)
    assert (status.state, status.detail) == ("stopped", "Stopped after step 7.")
    assert not status.active
    assert status.alive  # its process is still there: the device is not free yet


def test_a_stop_before_the_first_step_counts(run: RunFolder) -> None:
    record(run, own_identity())
    control.request(run, "stop")
    assert derive_status(run).state == "stopping"


@pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
def test_an_end_event_is_the_last_word(run: RunFolder, state: str) -> None:
    record(run, DEAD)
    end = EndEvent.model_validate({"status": state, "reason": "Because.", "hint": "Do."})
    tell(run, START, STEP, end)
    status = derive_status(run)
    assert (status.state, status.detail, status.hint) == (state, "Because.", "Do.")
    assert status.ended == end.time
    assert status.eta_seconds is None


def test_an_end_without_words_gets_some(run: RunFolder) -> None:
    record(run, DEAD)
    tell(run, START, EndEvent(status="failed", reason="torch.OutOfMemoryError: CUDA out of memory"))
    status = derive_status(run)
    assert status.hint is not None
    assert "gradient_checkpointing" in status.hint


def test_problems_of_the_end_are_handed_on(run: RunFolder) -> None:
    problem = Problem("must be above 0", "network_dim", "Set it to 16.")
    record(run, DEAD)
    tell(run, EndEvent(status="failed", reason="1 problem", problems=(problem,)))
    assert derive_status(run).problems == (problem,)


def test_a_run_begun_anew_in_its_folder_is_not_over(run: RunFolder) -> None:
    record(run, own_identity())
    tell(run, START, STEP, EndEvent(status="stopped"))
    again = START.model_copy(update={"resumed_step": 7})
    tell(run, again)
    status = derive_status(run)
    assert (status.state, status.step) == ("running", 7)
    tell(run, EndEvent(status="finished"))
    assert derive_status(run).state == "finished"


def test_a_new_start_is_not_over_before_it_speaks(run: RunFolder) -> None:
    """Between the start of the process and its `start` event, the old end is not its own."""
    mine = own_identity()
    tell(run, START, STEP, EndEvent(status="stopped", time=mine.create_time - 100))
    record(run, mine)
    assert derive_status(run).state == "starting"


def test_a_clock_that_was_put_back_hides_no_end(run: RunFolder) -> None:
    """The end then bears an earlier time than the process that told it."""
    record(run, own_identity(), format=FORMAT)
    yesterday = time.time() - 86400
    tell(run, START, STEP, EndEvent(status="finished", time=yesterday))
    assert derive_status(run).state == "finished"


def test_an_end_of_before_is_known_whatever_the_clock_says(run: RunFolder) -> None:
    tomorrow = time.time() + 86400
    tell(run, START, STEP, EndEvent(status="stopped", time=tomorrow))
    claim(run, job="train_network", name="job", argv=("a",))
    assert derive_status(run).state == "starting"
    tell(run, START, EndEvent(status="finished"))
    assert derive_status(run).state == "finished"


def test_a_dead_start_does_not_look_young_after_the_clock_was_put_back(run: RunFolder) -> None:
    record(run, None, started=time.time() + 3600)
    assert derive_status(run).state == "lost"
    record(run, None, started=time.time() + 3600, launcher=own_identity().model_dump())
    assert derive_status(run).state == "lost"


def test_gone_without_a_word_is_lost(run: RunFolder) -> None:
    record(run, DEAD)
    tell(run, START, STEP)
    run.log.write_text("step 7/100\n")
    status = derive_status(run)
    assert (status.state, status.alive) == ("lost", False)
    assert "kill -9" in status.detail
    assert "memory" in status.detail
    assert status.hint is not None
    assert "no saved state" in status.hint
    assert status.ended == STEP.time


@pytest.mark.parametrize("told", [True, False])
def test_the_hint_names_the_newest_state(run: RunFolder, tmp_path: Path, told: bool) -> None:
    record(run, DEAD)
    newest = (tmp_path / "elsewhere" / "cat-step7-state") if told else (run.state / "step7-state")
    newest.mkdir(parents=True)
    (run.state / ".step9.part").mkdir()
    tell(run, START, STEP)
    if told:
        tell(run, SaveEvent(path=str(newest), step=7, kind="state"))
    status = derive_status(run)
    assert status.resume_from == newest
    assert status.hint is not None
    assert f"Resume from the state {newest.name}." in status.hint


def test_a_state_that_was_deleted_is_not_offered(run: RunFolder, tmp_path: Path) -> None:
    record(run, DEAD)
    tell(run, START, SaveEvent(path=str(tmp_path / "gone"), step=7, kind="state"))
    assert derive_status(run).resume_from is None


def test_a_traceback_in_the_log_is_a_failure_with_its_cause(run: RunFolder) -> None:
    record(run, DEAD)
    run.log.write_text(
        "Traceback (most recent call last):\n  File x\nModuleNotFoundError: No module named 'abc'\n"
    )
    status = derive_status(run)
    assert status.state == "failed"
    assert "abc" in status.detail
    assert status.hint is not None
    assert "setup" in status.hint


def test_an_unknown_traceback_is_quoted(run: RunFolder) -> None:
    record(run, DEAD)
    run.log.write_text("Traceback (most recent call last):\n  File x\nKeyError: 'moon'\n")
    status = derive_status(run)
    assert (status.state, status.detail) == ("failed", "It ended with an error: KeyError: 'moon'")


def test_a_signature_without_a_traceback_is_told_for_a_lost_run(run: RunFolder) -> None:
    record(run, DEAD)
    run.log.write_text("Fatal Python error: Segmentation fault\n\nCurrent thread 0x1\n")
    status = derive_status(run)
    assert status.state == "lost"
    assert "crashed" in status.detail


def test_a_run_ended_by_force_is_stopped(run: RunFolder) -> None:
    record(run, DEAD)
    tell(run, START, STEP)
    control.request(run, control.KILL_MARK)
    status = derive_status(run)
    assert (status.state, status.detail) == ("stopped", "It was ended by force.")


def test_a_reused_number_is_not_the_run(run: RunFolder) -> None:
    mine = own_identity()
    other = mine.model_copy(update={"create_time": mine.create_time - 999, "start_ticks": 1})
    record(run, other)
    tell(run, START, STEP)
    assert derive_status(run).state == "lost"


def test_a_zombie_is_lost(run: RunFolder, zombie: ProcessIdentity) -> None:
    record(run, zombie)
    tell(run, START, STEP)
    assert derive_status(run).state == "lost"


@pytest.fixture
def zombie() -> Iterator[ProcessIdentity]:
    from sd_scripts.runs.process import identity_of

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        identity = identity_of(process.pid)
        assert identity is not None
        process.kill()
        time.sleep(0.2)
        yield identity


def test_a_young_folder_without_a_process_is_starting(run: RunFolder) -> None:
    assert derive_status(run).state == "starting"  # no run.json yet
    record(run, None, launcher=own_identity())
    assert derive_status(run).state == "starting"


def test_an_old_folder_without_a_process_was_never_started(run: RunFolder) -> None:
    record(run, None, started=time.time() - START_GRACE_SECONDS - 1)
    status = derive_status(run)
    assert status.state == "lost"
    assert "never started" in status.detail
    record(run, None, launcher=own_identity(), started=time.time() - 1000)
    assert derive_status(run).state == "lost"


def test_broken_files_are_no_reason_to_fail(run: RunFolder) -> None:
    run.run_json.write_bytes(b"{")
    run.events.write_bytes(b"\x00\xff\n{}\nnull\n" * 10)
    run.log.write_bytes(b"\xff\xfe\x00")
    assert derive_status(run).state == "starting"
    run.events.unlink()
    run.events.mkdir()
    assert derive_status(run).state == "starting"


def test_a_long_file_is_read_at_its_ends(run: RunFolder) -> None:
    record(run, own_identity())
    state = run.state / "s"
    state.mkdir()
    tell(run, START, *(STEP.model_copy(update={"step": n}) for n in range(1, 3000)))
    tell(run, SaveEvent(path=str(state), step=2999, kind="state"))
    assert run.events.stat().st_size > 300_000
    facts = read_facts(run.events)
    assert facts.start == START
    assert facts.step is not None
    assert facts.step.step == 2999
    status = derive_status(run)
    assert (status.step, status.total_steps) == (2999, 100)
    assert status.fraction == 1.0


def test_events_written_by_others_with_another_order_of_keys_count(run: RunFolder) -> None:
    record(run, DEAD)
    start = {"time": 5, **START.model_dump(mode="json", exclude={"time"})}
    foreign = [
        json.dumps(start),
        '{"time": 6.0, "step": 3, "epoch": 1, "loss": 1, "type": "step"}',
        '{"time": 7.0, "type": "moon"}',
        "garbage",
        STEP.model_dump_json(),
        '{"time": 5.0, "status": "finished", "type": "end"}',
    ]
    run.events.write_text("".join(f"{line}\n" for line in foreign[:4]))
    assert derive_status(run).step == 3
    run.events.write_text("".join(f"{line}\n" for line in foreign))
    status = derive_status(run)
    assert (status.state, status.step, status.total_steps) == ("finished", 7, 100)


def test_a_start_behind_a_long_preparation_is_found(run: RunFolder) -> None:
    record(run, own_identity())
    phases = (PhaseEvent(name="latents", done=n, total=2000, text="x" * 100) for n in range(2000))
    tell(run, *phases, START, *(STEP.model_copy(update={"step": n}) for n in range(1, 2000)))
    status = derive_status(run)
    assert (status.state, status.step, status.total_steps) == ("running", 1999, 100)


def test_steps_without_a_start_are_running(run: RunFolder) -> None:
    record(run, own_identity())
    tell(run, STEP)
    status = derive_status(run)
    assert (status.state, status.step, status.total_steps) == ("running", 7, None)


def test_what_a_script_refused_before_it_began_is_told(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    from sd_scripts.script import tell as tell_in_words

    problems = (
        Problem("must be above 0", "network_dim", "Set it to 16."),
        Problem("The model is not there"),
    )
    tell_in_words(problems)
    run.log.write_text(capsys.readouterr().err)
    record(run, DEAD)
    status = derive_status(run)
    assert (status.state, status.problems) == ("failed", problems)
    assert (status.detail, status.hint) == ("must be above 0 (and 1 more)", "Set it to 16.")
