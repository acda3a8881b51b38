"""Runs side by side: only what differs, previews by prompt and seed, losses by what was seen."""

from __future__ import annotations

import pytest

from kohya_gui.jobs.comparing import Comparison, compare
from kohya_gui.jobs.store import RunStore
from kohya_gui.workspace import Workspace
from sd_scripts.errors import UserError
from sd_scripts.runs.events import EventWriter, SampleEvent, StepEvent, ValidationEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import RunRecord, write_record


def made(workspace: Workspace, name: str, toml: str, *argv: str) -> RunFolder:
    run = RunFolder.create(workspace.runs, name, toml)
    record = RunRecord(name=name, job="train_network", argv=argv, pid=4_000_000, create_time=1.0)
    write_record(run, record)
    with EventWriter(run.events) as events:
        for step in (1, 2):
            events.emit(StepEvent(step=step, epoch=1, loss=0.5))
        events.emit(ValidationEvent(step=2, epoch=1, loss=0.25))
        for prompt, seed in (("a cat", 1), ("a cat", 2), (name, 1)):
            events.emit(SampleEvent(path="a.png", prompt=prompt, seed=seed, step=2))
    return run


@pytest.fixture
def compared(workspace: Workspace) -> Comparison:
    one = made(workspace, "one", "network_dim = 8\noutput_dir = '/a'\nunet_lr = 1\n")
    other = made(
        workspace,
        "other",
        "network_dim = 16\noutput_dir = '/b'\nunet_lr = 1.0\n"
        "train_batch_size = 4\ngradient_accumulation_steps = 2\n",
        "-m",
        "launch",
        "--num_processes",
        "3",
    )
    return compare(RunStore(workspace), [one.id, other.id, one.id, "gone"])


def test_only_what_differs_is_told_and_defaults_are_known(compared: Comparison) -> None:
    found = {one.option: one.values for one in compared.differences}
    assert found == {
        "network_dim": (8, 16),
        "train_batch_size": (1, 4),
        "gradient_accumulation_steps": (1, 2),
    }
    assert compared.missing == ("gone",)


def test_losses_can_be_drawn_by_pictures_seen(compared: Comparison) -> None:
    assert [run.pictures_per_step for run in compared.runs] == [1, 24]
    assert compared.runs[0].chart.validation.values == (0.25,)


def test_previews_are_aligned_by_prompt_and_seed(compared: Comparison) -> None:
    rows = [(row.prompt, row.seed, len(row.cells)) for row in compared.previews]
    assert rows == [("a cat", 1, 2), ("a cat", 2, 2), ("one", 1, 1), ("other", 1, 1)]


@pytest.mark.parametrize("count", [0, 1, 7])
def test_too_few_and_too_many_are_refused(workspace: Workspace, count: int) -> None:
    with pytest.raises(UserError, match="cannot be compared"):
        compare(RunStore(workspace), [f"run {n}" for n in range(count)])


def test_runs_with_settings_nobody_can_read_are_shown_all_the_same(workspace: Workspace) -> None:
    runs = [made(workspace, name, "= no toml") for name in ("a", "b")]
    found = compare(RunStore(workspace), [run.id for run in runs])
    assert found.differences == ()
    assert len(found.runs) == 2
