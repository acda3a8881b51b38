"""Whole jobs that learn a new word: alone, and beside a LoRA; resumed, they go on exactly."""

from __future__ import annotations

from pathlib import Path

import pytest

from sd_scripts.options.jobs import TrainTextualInversionJob
from sd_scripts.runs.events import SampleEvent, SaveEvent
from sd_scripts.weights.files import read_metadata
from tests.support.jobs import TinyJob, draw_pictures, equal
from tests.support.tiny_models import make_tiny_checkpoint

WORD = {
    "token_string": "mycat7",
    "init_word": "cat",
    "num_vectors_per_token": 2,
    "caption_prefix": "mycat7,",
    "shuffle_caption": True,
    "caption_dropout_rate": 0.2,
    "save_state": True,
}


@pytest.fixture
def inversion(tmp_path: Path) -> TinyJob:
    draw_pictures(tmp_path / "pictures")
    model = make_tiny_checkpoint("sd1", tmp_path / "model.safetensors")
    options = {**WORD, "network_dim": None, "output_name": None}
    return TinyJob(tmp_path, model, options, TrainTextualInversionJob)


def outputs(job: TinyJob) -> set[str]:
    return {path.name for path in (job.place / "output").iterdir()}


def test_a_word_alone(inversion: TinyJob) -> None:
    prompts = inversion.place / "prompts.txt"
    prompts.write_text("a photo of mycat7 --w 64 --h 64 --s 1 --d 1\n", encoding="utf-8")
    preview = {"sample_prompts": str(prompts), "sample_every_n_epochs": 2}
    assert inversion.run("whole", output_name="whole", **preview) == 0
    assert [type(event) for event in inversion.events("whole")].count(SampleEvent) == 1
    assert inversion.run("part0", max_train_epochs=1) == 0
    state = inversion.place / "part0" / "state" / "mycat7-state"
    assert inversion.run("part1", resume=str(state)) == 0
    # The word names the file, and what was written before the state is replaced, not kept aside.
    assert outputs(inversion) == {"whole.safetensors", "mycat7.safetensors"}
    assert equal(inversion.tensors("whole"), inversion.tensors("mycat7"))
    metadata = read_metadata(inversion.place / "output" / "mycat7.safetensors")
    assert all(name.startswith("modelspec.") for name in metadata)
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/textual-inversion"
    assert metadata["modelspec.title"] == "mycat7"


def test_a_state_of_another_number_of_vectors_is_told(inversion: TinyJob) -> None:
    assert inversion.run("first", max_train_epochs=1, max_train_steps=1) == 0
    state = inversion.place / "first" / "state" / "mycat7-state"
    assert inversion.run("second", resume=str(state), num_vectors_per_token=3) == 2
    (problem,) = [p for p in inversion.end("second").problems if p.severity == "error"]
    assert problem.option is not None
    assert "num_vectors_per_token" in problem.option


def test_a_word_beside_a_lora(tmp_path: Path) -> None:
    draw_pictures(tmp_path / "pictures")
    model = make_tiny_checkpoint("sdxl", tmp_path / "model.safetensors")
    saves = {"save_every_n_epochs": 1, "save_last_n_epochs": 1}
    rates = {"embedding_lr": 5e-3, "max_train_epochs": 3}
    job = TinyJob(tmp_path, model, {**WORD, **saves, **rates})
    assert job.run("whole", output_name="whole") == 0
    whole = {"whole.safetensors", "whole_emb.safetensors"}
    kept = {"whole-000002.safetensors", "whole-000002_emb.safetensors"}
    assert outputs(job) == whole | kept
    saved = [Path(event.path).name for event in job.events("whole") if isinstance(event, SaveEvent)]
    assert {"whole-000001.safetensors", "whole-000001_emb.safetensors"} < set(saved)
    assert job.run("part0", output_name="part", max_train_epochs=2) == 0
    state = tmp_path / "part0" / "state" / "part-state"
    assert job.run("part1", output_name="part", resume=str(state)) == 0
    assert not [name for name in outputs(job) if "before" in name]
    for name in ("{}", "{}_emb"):
        assert equal(job.tensors(name.format("whole")), job.tensors(name.format("part")))
    assert set(job.tensors("part_emb")) == {"clip_l", "clip_g"}
    lora = read_metadata(tmp_path / "output" / "part.safetensors")
    assert lora["ss_token_string"] == "mycat7"
    assert lora["modelspec.architecture"].endswith("/lora")
    word = read_metadata(tmp_path / "output" / "part_emb.safetensors")
    assert word["modelspec.architecture"].endswith("/textual-inversion")
    assert not [name for name in word if name.startswith("ss_")]
