"""A stop is heeded in every phase: what was done is kept, and no half of anything is left."""

from __future__ import annotations

import time

import pytest

from sd_scripts.options.jobs import TrainDbJob
from sd_scripts.runs.control import request
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from tests.support.jobs import TinyJob

CAPTIONS = {"cache_text_encoder_outputs": True, "network_train_unet_only": True}
HELD = {"validation_split": 0.5, "validation_seed": 1, "validate_every_n_steps": 1}
PAINTED = {"network_dim": None, "class_prompt": "an animal", "num_class_images": 2}
PHASES: dict[str, tuple[bool, dict[str, object]]] = {
    "Encoding pictures": (False, {}),
    "Encoding captions": (False, CAPTIONS),
    "painting pictures of the class": (False, PAINTED),
    "validation": (True, HELD),
    "previews": (True, {"sample_every_n_steps": 1}),
}
"""Phases: whether steps come before them, and the options that lead to them."""


@pytest.mark.parametrize("phase", PHASES)
def test_a_stop_in_a_phase(job: TinyJob, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    run = RunFolder(job.place / "run")
    trained, options = PHASES[phase]
    if "class_prompt" in options:
        job.job_type = TrainDbJob
    if phase == "previews":
        prompts = job.place / "prompts.txt"
        prompts.write_text("a cat --w 64 --h 64 --s 3\na dog --w 64 --h 64 --s 3\n")
        options = {**options, "sample_prompts": str(prompts)}
    told, asked = Reporter.phase, []

    def stopping(self: Reporter, name: str, done: int, total: int, text: str = "") -> None:
        told(self, name, done, total, text)
        if name.startswith(phase) and not asked:
            asked.append(done)
            request(run, "stop")
            time.sleep(0.25)

    monkeypatch.setattr(Reporter, "phase", stopping)
    assert job.run(**options) == 0
    assert asked == [0]
    end = job.end()
    assert end.status == "stopped"
    assert len(job.losses()) == int(trained)
    saved = {path.name for path in (job.place / "output").glob("*")}
    assert saved == ({"cat-step00000001.safetensors"} if trained else set())
    assert not list(job.place.rglob("*.part"))
    monkeypatch.undo()
    again = {"resume": str(run.path)} if trained else {}
    assert job.run("again", **options, **again) == 0
    assert job.end("again").status == "finished"
