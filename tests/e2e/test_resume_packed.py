"""Packed frozen weights, from start to end: a run that goes on in another process, bit for bit."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sd_scripts.runs.control import request
from sd_scripts.runs.folder import RunFolder
from sd_scripts.train import loop
from tests.support.jobs import TinyJob, draw_pictures, equal

PACKED = {
    "pack_frozen_weights": "on",
    "network_args": ["conv_dim=2", "dora_wd=True"],
    "network_dropout": 0.3,
    "shuffle_caption": True,
    "noise_offset": 0.05,
}


@pytest.mark.launch
def test_a_stopped_run_goes_on_elsewhere(job: TinyJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of two and of one, of two sizes: no bit may depend on which of them came first, and
    the resumed run begins with another one than the whole run."""
    draw_pictures(job.place / "pictures" / "1_dog", 3, (64, 128))
    job.options |= PACKED | {"enable_bucket": True, "max_train_epochs": 1}
    assert job.run("whole", output_name="whole") == 0
    assert max(job.losses("whole")) == 6
    stopped = RunFolder(job.place / "stopped")
    optimize = loop.optimize

    def stopping(session: object, batches: object) -> float:
        request(stopped, "stop")
        return optimize(session, batches)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop, "optimize", stopping)
        assert job.run("stopped", output_name="part") == 0
    assert job.end("stopped").status == "stopped"
    assert sorted(job.losses("stopped")) == [1]
    rest = [*job.arguments(output_name="part"), "--run_dir", str(job.place / "rest")]
    command = [sys.executable, "-m", "sd_scripts.train_network", *rest]
    told = (job.place / "whole" / "train.log").read_text("utf-8")
    subprocess.run([*command, "--resume", str(stopped.path)], check=True, capture_output=True)
    assert "packed for the processor" in told
    assert {**job.losses("stopped"), **job.losses("rest")} == job.losses("whole")
    assert equal(job.tensors("whole"), job.tensors("part"))
