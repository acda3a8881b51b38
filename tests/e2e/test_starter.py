"""What trainers teach the starter is seen by the judge, not only by a loss that is a number."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sd_scripts.families.base import LoadedModel
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.toml_file import job_from_toml
from tests.support.jobs import TinyJob
from tools.starter import trial
from tools.starter.generate import load_model
from tools.starter.judge_model import Judge

STARTER = Path(__file__).resolve().parents[2] / "presets" / "starter"
SUBJECT = "robot"
TRIGGER = "zwx robot"
KIND = "object"
ASKED = trial.Trial(SUBJECT, with_trigger=TRIGGER, without_trigger=KIND, count=12)
LORA: dict[str, object] = {
    "resolution": 128,
    "max_train_epochs": None,
    "train_batch_size": 8,
    "network_dim": 16,
    "network_alpha": 16,
    "conv_dim": 8,
    "conv_alpha": 8,
    "learning_rate": 1.2e-3,
    "text_encoder_lr": 2e-4,
    "lr_scheduler": "cosine",
    "min_snr_gamma": 5,
    "seed": 42,
    "max_train_steps": 200,
}


@pytest.fixture(autouse=True, scope="module")
def both_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.load(STARTER / "judge")


@pytest.fixture
def base() -> LoadedModel:
    return load_model(STARTER / "model")


def lora_job(job: TinyJob, name: str = "run") -> TrainNetworkJob:
    made = job_from_toml(TrainNetworkJob, (job.place / name / "config.toml").read_text("utf-8"))
    assert isinstance(made, TrainNetworkJob)
    return made


def same(first: list[Image.Image], second: list[Image.Image]) -> bool:
    return all(
        np.array_equal(np.asarray(one), np.asarray(other))
        for one, other in zip(first, second, strict=True)
    )


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> TinyJob:
    """A LoRA of the robot, trained in this process."""
    place = tmp_path_factory.mktemp("lora")
    for name, source in ((f"pictures/1_{TRIGGER}", SUBJECT), ("class/1_thing", "class_all")):
        shutil.copytree(STARTER / "pictures" / source, place / name)
    folders = {"train_data_dir": str(place / "pictures"), "reg_data_dir": str(place / "class")}
    job = TinyJob(place, STARTER / "model", LORA | folders)
    assert job.run(save_every_n_steps=100, save_state=True) == 0
    return job


def test_a_lora_learns_the_subject_and_keeps_most_of_the_rest(
    learned: TinyJob, base: LoadedModel, judge: Judge
) -> None:
    file = learned.place / "output" / "cat.safetensors"
    with trial.trained_network(lora_job(learned), file, base) as method:
        scores = trial.score(base, method.multiplied, judge, ASKED)
    assert scores.with_trigger >= 0.7, scores
    assert scores.without_trigger <= 0.1, scores
    assert scores.lost <= 0.25, scores


def test_a_lora_of_strength_zero_is_the_base(learned: TinyJob, base: LoadedModel) -> None:
    scenes = trial.scenes_of(TRIGGER, 3)
    before = trial.pictures_of(base, scenes)
    file = learned.place / "output" / "cat.safetensors"
    with trial.trained_network(lora_job(learned), file, base) as method:
        with method.multiplied(0.0):
            assert same(trial.pictures_of(base, scenes), before)
        with method.multiplied(1.0):
            assert not same(trial.pictures_of(base, scenes), before)
    assert same(trial.pictures_of(base, scenes), before)


def test_a_resumed_run_paints_the_same_picture(learned: TinyJob, base: LoadedModel) -> None:
    state = learned.place / "run" / "state" / "cat-step00000100-state"
    assert learned.run("resumed", resume=str(state), output_name="resumed") == 0
    scenes, painted = trial.scenes_of(TRIGGER, 2), []
    for name in ("cat", "resumed"):
        file = learned.place / "output" / f"{name}.safetensors"
        with trial.trained_network(lora_job(learned), file, base):
            painted.append(trial.pictures_of(base, scenes))
    assert same(*painted)
