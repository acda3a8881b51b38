"""Saving: what fails is told, nothing good is lost for it, and foreign files stay."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sd_scripts.errors import UserError
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.values import job_from_values
from sd_scripts.runs.events import WarningEvent, read_events
from sd_scripts.runs.reporter import Reporter
from sd_scripts.train.saving import Saver
from sd_scripts.train.state_facts import Position


@dataclass
class Disk:
    """Writes small files in place of weights and states, unless a folder is full."""

    place: Path
    full: set[str] = field(default_factory=set)

    def weights(self, path: Path, step: int, epoch: int, *, final: bool) -> None:
        self._check(path)
        path.write_text(f"step {step}")

    def state(self, path: Path) -> None:
        self._check(path)
        path.mkdir(parents=True)

    def _check(self, path: Path) -> None:
        if path.parent.name in self.full:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    def saver(self, **options: object) -> Saver:
        values = {"pretrained_model_name_or_path": "m", "train_data_dir": "d", "output_name": "x"}
        return Saver(
            job_from_values(TrainNetworkJob, values | options),
            num_epochs=9,
            folders=(self.place / "output", self.place / "state", self.place / "spare"),
            write=(self.weights, self.state),
            is_ours=lambda _: False,
            reporter=Reporter(self.place / "events.jsonl"),
        )

    def names(self, folder: str = "output") -> list[str]:
        there = self.place / folder
        return sorted(path.name for path in there.iterdir()) if there.exists() else []

    def warnings(self) -> list[str]:
        events = read_events(self.place / "events.jsonl")[0]
        return [event.text for event in events if isinstance(event, WarningEvent)]


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_nothing_old_goes_for_what_could_not_be_saved(disk: Disk) -> None:
    saver = disk.saver(save_every_n_steps=1, save_last_n_steps=1, save_state=True)
    for step in (1, 2):
        saver.after_step(Position(step))
    disk.full = {"output", "state"}
    for step in (3, 4, 5):
        saver.after_step(Position(step))
    assert disk.names() == ["x-step00000001.safetensors", "x-step00000002.safetensors"]
    assert disk.names("state") == ["x-step00000001-state", "x-step00000002-state"]
    assert len(disk.warnings()) == 6


def test_a_state_is_saved_where_the_file_cannot_be(disk: Disk) -> None:
    disk.full = {"output"}
    disk.saver(save_every_n_epochs=1, save_state=True).after_epoch(Position(4, 1))
    assert disk.names("state") == ["x-000001-state"]


def test_a_requested_save_that_fails_ends_no_run(disk: Disk) -> None:
    disk.full = {"output", "state", "spare"}
    disk.saver().on_request(Position(3))
    assert len(disk.warnings()) == 2


def test_a_stopped_run_finds_room_somewhere_or_says_so(disk: Disk) -> None:
    disk.full = {"output", "state"}
    with pytest.raises(UserError, match="x-step00000003-state cannot be written"):
        disk.saver().stopped(Position(3))
    assert disk.names("spare") == ["x-step00000003.safetensors"]
    disk.full = {"state"}
    disk.saver().stopped(Position(4))
    assert disk.names() == ["x-step00000004-state", "x-step00000004.safetensors"]


def test_a_finished_result_stands_without_its_state(disk: Disk) -> None:
    disk.full = {"state"}
    disk.saver(save_state=True).finish(Position(8, 2))
    assert disk.names() == ["x.safetensors"]
    assert disk.warnings()


def test_what_another_program_put_in_place_of_ours_is_not_removed(disk: Disk) -> None:
    """Two runs of one name in one folder: neither removes or replaces the other's files."""
    saver = disk.saver(save_every_n_steps=1, save_last_n_steps=1)
    saver.after_step(Position(1))
    ours = disk.place / "output" / "x-step00000001.safetensors"
    other = disk.place / "other"
    other.write_text("of another run")
    other.replace(ours)
    for step in (2, 3):
        saver.after_step(Position(step))
    assert ours.read_text() == "of another run"
