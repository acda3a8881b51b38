"""Requests: asked once or twice, seen by the trainer, gone when cleared."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sd_scripts.runs import control
from sd_scripts.runs.control import ControlBox
from sd_scripts.runs.folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "job", "")


def test_a_request_is_seen_until_it_is_cleared(run: RunFolder) -> None:
    box = ControlBox(run)
    assert box.poll() == frozenset()
    control.request(run, "save")
    control.request(run, "stop")
    control.request(run, "save")
    assert box.poll() == {"save", "stop"}
    box.clear("save")
    box.clear("save")
    assert box.poll() == {"stop"}
    assert control.is_requested(run, "stop")
    assert not control.is_requested(run, "save")


def test_a_pause_ends_when_it_is_withdrawn(run: RunFolder) -> None:
    control.request(run, "pause")
    assert ControlBox(run).poll() == {"pause"}
    control.withdraw(run, "pause")
    assert ControlBox(run).poll() == frozenset()


def test_other_files_are_no_requests(run: RunFolder) -> None:
    (run.control / "readme.txt").touch()
    (run.control / control.KILL_MARK).touch()
    assert ControlBox(run).poll() == frozenset()


def test_a_missing_folder_has_no_requests_and_is_made_for_one(run: RunFolder) -> None:
    shutil.rmtree(run.control)
    box = ControlBox(run)
    assert box.poll() == frozenset()
    control.request(run, "sample")
    assert box.poll() == {"sample"}


def test_an_unknown_request_is_a_fault_of_ours(run: RunFolder) -> None:
    with pytest.raises(AssertionError):
        control.request(run, "../config.toml")


def test_a_deleted_run_does_not_come_back(run: RunFolder) -> None:
    shutil.rmtree(run.path)
    with pytest.raises(FileNotFoundError):
        control.request(run, "stop")
    assert not run.path.exists()
