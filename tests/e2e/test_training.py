"""Whole runs: files, names, events, metadata, stops, and runs that go wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

from sd_scripts.data.batch import Batch
from sd_scripts.runs.control import request
from sd_scripts.runs.events import (
    SampleEvent,
    SaveEvent,
    StartEvent,
    StepEvent,
    WarningEvent,
    read_events,
)
from sd_scripts.runs.folder import RunFolder
from sd_scripts.train import loop
from sd_scripts.train.session import Session
from tests.support.jobs import TinyJob, equal
from tests.support.patience import START_SECONDS, eventually
from tests.support.tiny_models import FAMILY_NAMES, make_tiny_checkpoint


def test_a_run_writes_what_it_says(job: TinyJob) -> None:
    prompts = job.place / "prompts.txt"
    prompts.write_text(
        "a cat --w 64 --h 64 --s 2 --d 5\nein Hündchen 犬 --w 64 --h 64 --s 1 --l 1\n"
    )
    changes = {
        "sample_prompts": str(prompts),
        "sample_every_n_epochs": 1,
        "sample_at_first": True,
        "save_every_n_epochs": 1,
        "save_every_n_steps": 3,
        "logging_dir": str(job.place / "logs"),
    }
    assert job.run(**changes) == 0
    names = sorted(path.name for path in (job.place / "output").iterdir())
    assert names == [
        "cat-000001.safetensors",
        "cat-step00000003.safetensors",
        "cat-step00000006.safetensors",
        "cat.safetensors",
    ]
    events = job.events()
    start = next(e for e in events if isinstance(e, StartEvent))
    assert (start.total_steps, start.num_epochs, start.num_images) == (8, 2, 8)
    assert start.family == "sd1"
    assert [e.step for e in events if isinstance(e, StepEvent)] == list(range(1, 9))
    samples = [e for e in events if isinstance(e, SampleEvent)]
    assert [(e.step, e.index, e.seed) for e in samples if e.index == 0] == [
        (0, 0, 5),
        (4, 0, 5),
        (8, 0, 5),
    ]
    with Image.open(samples[1].path) as picture:
        assert picture.size == (64, 64)
        assert "ein Hündchen 犬" in picture.text["parameters"]  # type: ignore[attr-defined]
    assert job.end().status == "finished"
    assert list((job.place / "logs").rglob("events.out.tfevents.*"))
    assert "step 8/8" in (job.place / "run" / "train.log").read_text(encoding="utf-8")


def test_the_file_tells_how_it_was_made(job: TinyJob) -> None:
    assert job.run(training_comment="a test", network_args=["conv_dim=3", "conv_alpha=1"]) == 0
    with safe_open(job.place / "output" / "cat.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["ss_training_comment"] == "a test"
    assert metadata["ss_network_dim"] == "2"
    assert metadata["ss_steps"] == "8"
    assert metadata["ss_base_model_version"] == "sd_v1"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert json.loads(metadata["ss_tag_frequency"])["2_cat"]["red"] == 4
    assert json.loads(metadata["ss_network_args"])["conv_dim"] in (3, "3")
    assert len(metadata["sshs_model_hash"]) == 64
    assert len(metadata["ss_new_sd_model_hash"]) == 64


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_family_learns_and_repeats(tmp_path: Path, job: TinyJob, family: str) -> None:
    model = make_tiny_checkpoint(family, tmp_path / f"{family}.safetensors")  # type: ignore[arg-type]
    job.model = model
    job.options |= {"max_train_epochs": 1, "mixed_precision": "bf16", "clip_skip": None}
    assert job.run("one", output_name="one") == 0
    assert job.run("two", output_name="two", max_data_loader_n_workers=0) == 0
    assert equal(job.tensors("one"), job.tensors("two"))
    ups = {name: tensor for name, tensor in job.tensors("one").items() if "lora_up" in name}
    idle = {
        name.partition("_self_attn")[0].partition("_mlp")[0] for name in ups if not ups[name].any()
    }
    # SDXL reads its first text encoder before the last layer, which therefore cannot learn.
    assert len(idle) == (1 if family == "sdxl" else 0)
    assert all(name.startswith("lora_te1_text_model_encoder_layers_") for name in idle)


@pytest.mark.parametrize("changes", [
    {"cache_latents": False},
    {"cache_latents": False, "random_crop": True, "flip_aug": True},
    {"mem_eff_attn": True, "save_model_as": "ckpt"},
    {"cache_text_encoder_outputs": True, "network_train_unet_only": True},
    {"network_train_text_encoder_only": True},
    {"loss_type": "huber", "huber_schedule": "snr", "min_snr_gamma": 5,
     "max_token_length": 150, "clip_skip": 2},
    {"full_bf16": True, "mixed_precision": "bf16", "save_precision": "bf16"},
])  # fmt: skip
def test_options_together(job: TinyJob, changes: dict[str, object]) -> None:
    assert job.run(**changes, max_train_epochs=1) == 0
    losses = job.losses()
    assert len(losses) == 4
    suffix = changes.get("save_model_as", "safetensors")
    assert (job.place / "output" / f"cat.{suffix}").stat().st_size > 1000


def test_checkpointing_changes_no_result(job: TinyJob) -> None:
    job.options |= {"max_train_epochs": 1, "network_dropout": 0.5}
    assert job.run("plain", output_name="plain") == 0
    assert job.run("saving", output_name="saving", gradient_checkpointing=True) == 0
    plain, saving = job.tensors("plain"), job.tensors("saving")
    assert all((plain[name] - saving[name]).abs().max() < 1e-5 for name in plain)


def test_last_n_are_kept_and_foreign_files_are_not_touched(job: TinyJob) -> None:
    output = job.place / "output"
    output.mkdir(parents=True)
    foreign = {"cat.safetensors": b"old result", "cat-000001.safetensors": b"old epoch"}
    for name, content in foreign.items():
        (output / name).write_bytes(content)
    changes = {"save_every_n_epochs": 1, "save_last_n_epochs": 1, "save_state": True}
    assert job.run(**changes, max_train_epochs=4) == 0
    names = {path.name for path in output.iterdir()}
    assert {"cat.safetensors", "cat-000003.safetensors"} <= names
    assert "cat-000002.safetensors" not in names
    kept = [path.read_bytes() for path in output.iterdir() if ".before-" in path.name]
    assert sorted(kept) == sorted(foreign.values())
    states = sorted(path.name for path in (job.place / "run" / "state").iterdir())
    assert states == ["cat-000003-state", "cat-state"]


def test_steps_that_end_within_an_epoch_end_it(job: TinyJob) -> None:
    """The last epoch counts as done: it gets its previews, and the file tells of it."""
    prompts = job.place / "prompts.txt"
    prompts.write_text("a cat --w 64 --h 64 --s 1\n")
    changes = {"sample_prompts": str(prompts), "sample_every_n_epochs": 1}
    assert job.run(**changes, max_train_epochs=None, max_train_steps=5) == 0
    samples = [e for e in job.events() if isinstance(e, SampleEvent)]
    assert [(sample.step, "_e00000" in sample.path) for sample in samples] == [(4, True), (5, True)]
    with safe_open(job.place / "output" / "cat.safetensors", "pt") as file:
        told = file.metadata()
    assert (told["ss_epoch"], told["ss_steps"], told["ss_num_epochs"]) == ("2", "5", "2")


def test_previews_change_no_result(job: TinyJob) -> None:
    prompts = job.place / "prompts.txt"
    prompts.write_text("a cat --w 64 --h 64 --s 2\n")
    job.options |= {"max_train_epochs": 1, "network_dropout": 0.5}
    assert job.run("plain", output_name="plain") == 0
    changes = {"sample_prompts": str(prompts), "sample_every_n_steps": 1, "sample_at_first": True}
    assert job.run("shown", output_name="shown", **changes) == 0
    assert equal(job.tensors("plain"), job.tensors("shown"))


def test_stop_saves_and_can_be_resumed(job: TinyJob, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = loop.optimize
    run = RunFolder(job.place / "run")

    def optimize(session: object, batches: object) -> float:
        loss = whole(session, batches)  # type: ignore[arg-type]
        request(run, "stop")
        time.sleep(0.25)
        return loss

    monkeypatch.setattr(loop, "optimize", optimize)
    assert job.run() == 0
    assert job.end().status == "stopped"
    assert (job.place / "output" / "cat-step00000001.safetensors").exists()
    assert not (run.control / "stop").exists()
    monkeypatch.undo()
    assert job.run("rest", resume=str(run.path)) == 0
    assert job.run("whole", output_name="whole") == 0
    assert equal(job.tensors("cat"), job.tensors("whole"))


@pytest.mark.launch
def test_sigterm_saves_and_exits_with_0(job: TinyJob) -> None:
    arguments = [*job.arguments(max_train_epochs=500), "--run_dir", str(job.place / "run")]
    command = [sys.executable, "-m", "sd_scripts.train_network", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        events = job.place / "run" / "events.jsonl"

        def trains() -> bool:
            assert process.poll() is None
            return any(isinstance(e, StepEvent) for e in read_events(events)[0])

        assert eventually(trains, START_SECONDS)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    saves = [e for e in job.events() if isinstance(e, SaveEvent)]
    assert {e.kind for e in saves} == {"weights", "state"}
    assert all(Path(e.path).exists() for e in saves)
    assert job.end().status == "stopped"


def test_stop_before_the_first_step(job: TinyJob) -> None:
    run = RunFolder(job.place / "run")
    run.path.mkdir()
    request(run, "stop")
    assert job.run() == 0
    assert job.end().status == "stopped"
    assert not list((job.place / "output").glob("*.safetensors"))


def test_an_invalid_loss_stops_the_run_and_keeps_the_last_save(job: TinyJob) -> None:
    job.options |= {"learning_rate": 1000.0, "optimizer_type": "Lion", "save_every_n_steps": 1}
    job.options |= {"network_alpha": 1e5, "max_grad_norm": 0, "max_train_epochs": 20}
    assert job.run() == 2
    end = job.end()
    assert end.status == "failed"
    assert "not a number" in end.reason
    assert end.problems[0].option == "learning_rate"
    saved = [Path(e.path) for e in job.events() if isinstance(e, SaveEvent)]
    assert saved
    assert all(path.exists() for path in saved)
    assert not (job.place / "output" / "cat.safetensors").exists()


def test_broken_weights_are_not_saved(job: TinyJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a limit on gradients a step can break the weights while its loss was a number."""
    whole = loop.optimize

    def optimize(session: Session, batches: list[Batch]) -> float:
        loss = whole(session, batches)
        if session.position.step == 2:
            session.trainable[0].data[0] = float("inf")
        return loss

    monkeypatch.setattr(loop, "optimize", optimize)
    assert job.run(max_grad_norm=0, save_every_n_steps=1, save_state=True) == 2
    assert job.end().problems[0].option == "learning_rate, max_grad_norm"
    names = {path.name for path in (job.place / "output").iterdir()}
    assert names == {"cat-step00000001.safetensors", "cat-step00000002.safetensors"}
    assert len(list((job.place / "run" / "state").iterdir())) == 2


def test_save_and_sample_on_request(job: TinyJob, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = loop.optimize
    run = RunFolder(job.place / "run")
    asked: list[str] = []

    def optimize(session: object, batches: object) -> float:
        if not asked:
            asked.extend(("save", "sample"))
            for name in asked:
                request(run, name)
            time.sleep(0.25)
        return whole(session, batches)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "optimize", optimize)
    prompts = job.place / "prompts.txt"
    prompts.write_text("a cat --w 64 --h 64 --s 1 --d 5\n")
    assert job.run(sample_prompts=str(prompts), max_train_epochs=1) == 0
    names = {path.name for path in (job.place / "output").iterdir()}
    assert "cat-step00000001.safetensors" in names
    assert [e.step for e in job.events() if isinstance(e, SampleEvent)] == [1]
    assert not list(run.control.iterdir())


def test_a_preview_on_request_without_prompts_is_answered(
    job: TinyJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = loop.optimize
    run = RunFolder(job.place / "run")

    def optimize(session: Session, batches: list[Batch]) -> float:
        if session.position.step == 0:
            request(run, "sample")
            time.sleep(0.25)
        return whole(session, batches)

    monkeypatch.setattr(loop, "optimize", optimize)
    assert job.run(max_train_epochs=1) == 0
    told = [event for event in job.events() if isinstance(event, WarningEvent)]
    assert [event.option for event in told if "preview" in event.text] == ["sample_prompts"]
    assert not list(run.control.iterdir())
