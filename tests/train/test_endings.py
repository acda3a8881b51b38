"""How a run ends where the machine is the trouble: the right exit code and words."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from sd_scripts.runs.events import EndEvent, EventWriter
from sd_scripts.runs.reporter import Reporter
from sd_scripts.train import run
from tests.support.jobs import TinyJob


def test_an_end_that_cannot_be_written_raises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(EventWriter, "emit", full)
    with Reporter(tmp_path / "events.jsonl") as reporter:
        reporter.end(EndEvent(status="finished", reason="Finished: all is saved"))
    told = capsys.readouterr()
    assert "No space left" in told.err
    assert "all is saved" in told.out


def test_full_main_memory_is_for_the_user_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def allocate(*_: object) -> None:
        torch.empty(2**50)

    monkeypatch.setattr(run, "run_training", allocate)
    job = TinyJob(tmp_path, tmp_path / "model.safetensors")
    assert job.run() == 2
    assert job.end().reason == "The memory is full"
