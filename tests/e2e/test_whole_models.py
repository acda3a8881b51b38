"""Dreambooth and fine-tune from the command line: what learns, what is saved, how they go on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from sd_scripts.families.detect import FamilyName
from sd_scripts.options.jobs import FineTuneJob, TrainDbJob
from sd_scripts.runs.events import PhaseEvent, SaveEvent, WarningEvent
from sd_scripts.weights.files import read_metadata
from tests.support.jobs import TinyJob, draw_pictures, equal
from tests.support.tiny_models import FAMILY_NAMES, make_tiny_checkpoint, make_tiny_folder

UNET = "model.diffusion_model."
TEXT = {
    "sd1": ("cond_stage_model.",),
    "sd2": ("cond_stage_model.",),
    "sdxl": ("conditioner.embedders.0.", "conditioner.embedders.1."),
}
STATES = {"save_every_n_steps": 1, "save_state": True}


@pytest.fixture
def db(job: TinyJob) -> TinyJob:
    """A Dreambooth job of two steps an epoch."""
    job.job_type = TrainDbJob
    job.options = {"network_dim": None, "max_train_epochs": 1, "learning_rate": 1e-4}
    return job


def changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    """Return the names of tensors that differ."""
    assert before.keys() == after.keys()
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


def parts_of(family: FamilyName, names: set[str]) -> set[str]:
    """Return the parts of a checkpoint that these tensors belong to."""
    prefixes = (UNET, *TEXT[family], "first_stage_model.")
    return {prefix for prefix in prefixes for name in names if name.startswith(prefix)}


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_whole_model_learns(db: TinyJob, family: FamilyName, tmp_path: Path) -> None:
    db.model = make_tiny_checkpoint(family, tmp_path / "base.safetensors")
    assert db.run() == 0
    learned = changed(load_file(db.model), db.tensors())
    assert parts_of(family, learned) == {UNET, *TEXT[family]}
    if family == "sdxl":  # read before its last layer, which so stays as it is
        first = {name for name in learned if name.startswith(TEXT[family][0])}
        assert not any("layers.2." in name or "final_layer_norm" in name for name in first)
        assert any("layers.1." in name for name in first)
    told = read_metadata(db.place / "output" / "cat.safetensors")
    assert told["modelspec.architecture"].startswith("stable-diffusion-")
    assert "lora" not in told["modelspec.architecture"]
    assert told["ss_steps"] == "4"


def test_fine_tune_leaves_the_text_encoder(db: TinyJob) -> None:
    db.job_type = FineTuneJob
    assert db.run(cache_text_encoder_outputs=True) == 0
    assert parts_of("sd1", changed(load_file(db.model), db.tensors())) == {UNET}


def test_rates_choose_what_learns_on_sdxl(db: TinyJob, tmp_path: Path) -> None:
    db.model = make_tiny_checkpoint("sdxl", tmp_path / "base.safetensors")
    rates = ["0"] * 23
    rates[5] = rates[22] = "1e-4"
    assert db.run(block_lr=",".join(rates), learning_rate_te1=0, learning_rate_te2=1e-5) == 0
    learned = changed(load_file(db.model), db.tensors())
    assert parts_of("sdxl", learned) == {UNET, TEXT["sdxl"][1]}
    unet = {name.removeprefix(UNET) for name in learned if name.startswith(UNET)}
    assert all(name.startswith(("input_blocks.4.", "out.")) for name in unet)
    assert any(name.startswith("out.") for name in unet)


FORMATS = {
    "bf16": {"mixed_precision": "bf16", "full_bf16": True, "use_ema": True},
    "fused": {
        "mixed_precision": "bf16",
        "full_bf16": True,
        "fused_backward_pass": True,
        "optimizer_type": "AdamW8bit",
    },
    "groups": {"fused_optimizer_groups": 5, "optimizer_type": "Lion", "use_ema": True},
}


@pytest.mark.parametrize("options", FORMATS.values(), ids=list(FORMATS))
def test_resume_equals_uninterrupted(db: TinyJob, options: dict[str, object]) -> None:
    """Four steps with a break after the first and third, the encoder stopping after the second."""
    db.options |= options | {"stop_text_encoder_training": 2, "learning_rate": 1e-3}
    assert db.run("whole", **STATES, output_name="whole") == 0
    for number, step in enumerate((1, 3)):
        state = db.place / "whole" / "state" / f"whole-step{step:08d}-state"
        assert db.run(f"part{number}", **STATES, output_name="part", resume=str(state)) == 0
        assert equal(db.tensors("whole"), db.tensors("part"))
        later = {n: loss for n, loss in db.losses("whole").items() if n > step}
        assert db.losses(f"part{number}") == later
    at_two, at_four = db.tensors("whole-step00000002"), db.tensors("whole")
    if "use_ema" not in options:  # the average still moves towards the frozen encoder
        assert parts_of("sd1", changed(at_two, at_four)) == {UNET}
    assert parts_of("sd1", changed(load_file(db.model), at_two)) == {UNET, *TEXT["sd1"]}


def test_a_fused_pass_learns_the_same(db: TinyJob) -> None:
    """Without a limit on gradients there is nothing that it does otherwise."""
    db.options |= {"max_grad_norm": 0, "stop_text_encoder_training": 2}
    assert db.run("whole", output_name="whole") == 0
    assert db.run("fused", output_name="fused", fused_backward_pass=True) == 0
    assert equal(db.tensors("whole"), db.tensors("fused"))


def test_what_is_saved_is_the_average(db: TinyJob) -> None:
    assert db.run("plain", output_name="plain") == 0
    assert db.run("average", output_name="average", use_ema=True, ema_device="cpu") == 0
    assert db.losses("plain") == db.losses("average")
    base, plain, average = load_file(db.model), db.tensors("plain"), db.tensors("average")
    name = f"{UNET}out.2.weight"
    assert not torch.equal(plain[name], average[name])
    moved = (plain[name] - base[name]).norm()
    assert 0 < (average[name] - base[name]).norm() < moved
    told = read_metadata(db.place / "output" / "average.safetensors")
    assert (told["ss_use_ema"], told["ss_ema_decay"]) == ("True", "0.999")


def test_folders_are_saved_pruned_and_kept(db: TinyJob, tmp_path: Path) -> None:
    """A model folder gives a model folder; of those in between, the last ones stay."""
    db.model = make_tiny_folder("sd1", tmp_path / "base")
    db.options |= {"save_every_n_steps": 1, "save_last_n_steps": 1}
    assert db.run() == 0
    output = db.place / "output"
    names = {f"cat-step{step:08d}" for step in (3, 4)} | {"cat"}
    assert {path.name for path in output.iterdir()} == names
    saved = [event for event in db.events() if isinstance(event, SaveEvent)]
    assert len(saved) == 5
    first = load_file(output / "cat" / "unet" / "diffusion_pytorch_model.safetensors")
    assert db.run("again", seed=2, save_every_n_steps=None, save_last_n_steps=None) == 0
    aside = [path for path in output.iterdir() if ".before-" in path.name]
    assert len(aside) == 1
    kept = load_file(aside[0] / "unet" / "diffusion_pytorch_model.safetensors")
    assert equal(first, kept)


def test_class_pictures_count_with_their_weight(db: TinyJob) -> None:
    draw_pictures(db.place / "class" / "1_animal", count=2)
    regular = {"reg_data_dir": str(db.place / "class")}
    assert db.run("none", output_name="none", **regular, prior_loss_weight=0) == 0
    assert db.run("full", output_name="full", **regular) == 0
    assert len(db.losses("full")) == 8  # as many steps on them as on one's own
    assert changed(db.tensors("none"), db.tensors("full"))


def test_class_pictures_are_painted_once(db: TinyJob) -> None:
    """Those that lack are painted, in the cache folder; a second run finds them."""
    draw_pictures(db.place / "class" / "1_animal", count=2)
    before = sorted((db.place / "class").rglob("*"))
    painting = {
        "reg_data_dir": str(db.place / "class"),
        "class_prompt": "a photo of an animal",
        "num_class_images": 4,
    }
    assert db.run("first", output_name="first", **painting) == 0
    assert sorted((db.place / "class").rglob("*")) == before
    painted = sorted((db.place / "cache").rglob("class-*.png"))
    assert [path.name for path in painted] == ["class-00000.png", "class-00001.png"]
    stamps = [path.stat().st_mtime_ns for path in painted]
    phases = [e for e in db.events("first") if isinstance(e, PhaseEvent)]
    assert any(event.name == "painting pictures of the class" for event in phases)
    assert len(db.losses("first")) == 8
    painted[1].unlink()
    assert db.run("second", output_name="second", **painting) == 0
    again = sorted((db.place / "cache").rglob("class-*.png"))
    assert [path.name for path in again] == [path.name for path in painted]
    assert again[0].stat().st_mtime_ns == stamps[0]
    assert equal(db.tensors("first"), db.tensors("second"))


def test_a_check_tells_what_would_be_painted(
    db: TinyJob, capsys: pytest.CaptureFixture[str]
) -> None:
    painting = {"class_prompt": "an animal", "num_class_images": 3}
    assert db.run("check", "--check_only", **painting, learning_rate_te2=1e-5) == 0
    told = capsys.readouterr()
    assert "3 pictures of the class" in told.out
    assert "no SDXL model" in told.err
    assert not list((db.place / "cache").rglob("*.png"))


def test_another_start_of_the_average_is_told(db: TinyJob) -> None:
    assert db.run("first", **STATES) == 0
    state = db.place / "first" / "state" / "cat-step00000002-state"
    assert db.run("second", resume=str(state), use_ema=True) == 0
    warnings = [e for e in db.events("second") if isinstance(e, WarningEvent)]
    assert any("no average" in event.text for event in warnings)
