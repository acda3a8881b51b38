"""A resumed run equals an uninterrupted one bit for bit: mid-epoch, repeatedly, after kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sd_scripts.options.optimizer_table import OPTIMIZERS as ENTRIES
from sd_scripts.runs.events import SaveEvent, StepEvent, WarningEvent, read_events
from tests.support.jobs import TinyJob, equal
from tests.support.patience import START_SECONDS, eventually

RANDOM = {
    "shuffle_caption": True,
    "caption_dropout_rate": 0.2,
    "caption_tag_dropout_rate": 0.2,
    "token_warmup_step": 5,
    "flip_aug": True,
    "network_dropout": 0.3,
    "noise_offset": 0.05,
    "noise_offset_random_strength": True,
    "multires_noise_iterations": 3,
    "ip_noise_gamma": 0.1,
    "ip_noise_gamma_random_strength": True,
    "lr_scheduler": "cosine",
    "lr_warmup_steps": 2,
}
STATES = {"save_every_n_steps": 3, "save_state": True}


OPTIMIZERS = ["AdamW", "AdamW8bit", "Adafactor", "Lion", "Prodigy", "AdamWScheduleFree"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resume_equals_uninterrupted(job: TinyJob, optimizer: str) -> None:
    """8 steps in one go, against those with a break after 6 (mid-epoch), the first also after 3."""
    pytest.importorskip(ENTRIES[optimizer].package or "torch")
    if optimizer not in ("Adafactor", "AdamWScheduleFree"):
        job.options |= {"lr_scheduler": "cosine", "lr_warmup_steps": 2}
    job.options |= {name: value for name, value in RANDOM.items() if not name.startswith("lr_")}
    job.options |= {"optimizer_type": optimizer, "gradient_accumulation_steps": 1}
    if optimizer == "Prodigy":
        job.options |= {"learning_rate": 1}
    assert job.run("whole", **STATES, output_name="whole") == 0
    steps = (3, 6) if optimizer == OPTIMIZERS[0] else (6,)
    for number, step in enumerate(steps):
        state = job.place / "whole" / "state" / f"whole-step{step:08d}-state"
        assert job.run(f"part{number}", **STATES, output_name="part", resume=str(state)) == 0
        assert min(job.losses(f"part{number}")) == step + 1
        assert equal(job.tensors("whole"), job.tensors("part"))
    later = {n: loss for n, loss in job.losses("whole").items() if n > 6}
    assert job.losses(f"part{len(steps) - 1}") == later


def test_resume_several_times_over_with_accumulation(job: TinyJob) -> None:
    job.options |= RANDOM | {"train_batch_size": 1, "gradient_accumulation_steps": 3}
    assert job.run("whole", output_name="whole") == 0
    assert max(job.losses("whole")) == 6
    assert job.run("a", output_name="part", save_every_n_steps=1, save_state=True) == 0
    state = job.place / "a" / "state" / "part-step00000001-state"
    for number in (2, 4, 6):
        name = f"b{number}"
        assert (
            job.run(
                name,
                output_name="part",
                save_every_n_steps=1,
                save_state=True,
                resume=str(state),
            )
            == 0
        )
        state = job.place / name / "state" / f"part-step{number:08d}-state"
    assert equal(job.tensors("whole"), job.tensors("part"))


def has_state(events: Path, process: subprocess.Popen[bytes]) -> bool:
    """Tell whether a training state is written, of a run that must not have ended by itself."""
    assert process.poll() is None, "the run ended before it was killed"
    found = read_events(events)[0]
    return any(isinstance(event, SaveEvent) and event.kind == "state" for event in found)


@pytest.mark.launch
def test_resume_after_kill_9(job: TinyJob) -> None:
    """A killed process leaves whole states only; going on from its run folder loses nothing."""
    job.options |= RANDOM | {"max_train_epochs": 6, "save_every_n_steps": 2, "save_state": True}
    command = [sys.executable, "-m", "sd_scripts.train_network"]
    arguments = [*job.arguments(output_name="part"), "--run_dir", str(job.place / "killed")]
    with subprocess.Popen(command + arguments, stdout=subprocess.DEVNULL) as process:
        events = job.place / "killed" / "events.jsonl"
        assert eventually(lambda: has_state(events, process), START_SECONDS), "no state was saved"
        os.kill(process.pid, signal.SIGKILL)
    assert not (job.place / "output" / "part.safetensors").exists()
    assert job.run("again", output_name="part", resume=str(job.place / "killed")) == 0
    assert job.run("whole", output_name="whole") == 0
    assert equal(job.tensors("whole"), job.tensors("part"))


def test_changed_rate_and_seed_are_told(job: TinyJob) -> None:
    assert job.run("first", save_every_n_steps=2, save_state=True, max_train_epochs=1) == 0
    changes = {"resume": str(job.place / "first"), "learning_rate": 5e-4, "seed": 9}
    assert job.run("second", **changes) == 0
    told = " ".join(e.text for e in job.events("second") if isinstance(e, WarningEvent))
    assert "learning rates were changed" in told
    assert "seed 1" in told


def test_resume_without_a_seed_takes_the_one_of_the_state(job: TinyJob) -> None:
    assert job.run("first", seed=None, save_state=True, max_train_epochs=1) == 0
    assert job.run("second", seed=None, resume=str(job.place / "first")) == 0
    first, second = ((job.place / name / "config.toml").read_text() for name in ("first", "second"))
    seeds = [line for line in first.splitlines() if line.startswith("seed")]
    assert seeds == [line for line in second.splitlines() if line.startswith("seed")]


def test_resume_with_fewer_pictures_than_the_epoch_had_seen(job: TinyJob) -> None:
    """The state stands after batch 3 of 4; now there is one batch an epoch."""
    assert job.run("first", save_every_n_steps=3, save_state=True, max_train_epochs=1) == 0
    for path in (job.place / "pictures" / "2_cat").glob("picture [123].*"):
        path.unlink()
    state = job.place / "first" / "state" / "cat-step00000003-state"
    changes = {"resume": str(state), "max_train_epochs": None, "max_train_steps": 6}
    assert job.run("second", **changes) == 0
    steps = [event for event in job.events("second") if isinstance(event, StepEvent)]
    assert [(event.step, event.epoch) for event in steps] == [(4, 2), (5, 3), (6, 4)]
    assert any(
        "have changed" in e.text for e in job.events("second") if isinstance(e, WarningEvent)
    )


def test_what_spares_memory_can_be_changed_on_the_way(job: TinyJob) -> None:
    """All that the remedies for full memory say can be gone on with, at once."""
    first = {"cache_latents": None, "resolution": 128, "max_train_epochs": 1}
    assert job.run("first", save_every_n_steps=2, save_state=True, **first) == 0
    lighter = {
        "gradient_checkpointing": True,
        "mixed_precision": "bf16",
        "train_batch_size": 1,
        "gradient_accumulation_steps": 2,
        "max_data_loader_n_workers": 0,
    }
    state = job.place / "first" / "state" / "cat-step00000002-state"
    assert job.run("second", resume=str(state), max_train_epochs=1, **lighter) == 0
    assert sorted(job.losses("second")) == [3, 4]


def test_another_optimizer_is_refused_before_any_work(job: TinyJob) -> None:
    assert job.run("first", save_state=True, max_train_epochs=1) == 0
    assert job.run("second", resume=str(job.place / "first"), optimizer_type="Lion") == 2
    assert [problem.option for problem in job.end("second").problems] == ["resume, optimizer_type"]
    assert not job.losses("second")


def test_another_way_on_from_a_state_replaces_nothing(job: TinyJob) -> None:
    """Two runs that go on from one state keep both their results."""
    first = {"save_every_n_steps": 2, "save_state": True, "max_train_epochs": 1}
    assert job.run("first", **first) == 0
    before = (job.place / "output" / "cat.safetensors").read_bytes()
    state = job.place / "first" / "state" / "cat-step00000002-state"
    assert job.run("second", resume=str(state), learning_rate=5e-3, max_train_epochs=1) == 0
    kept = [path.read_bytes() for path in (job.place / "output").glob("cat.before-*")]
    assert kept == [before]
