"""What a LoRA teaches the starter is seen by the judge, not only by a loss that is a number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kohya_gui.forms.starter import RECIPE
from sd_scripts.families.base import LoadedModel
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.toml_file import job_from_toml
from sd_scripts.shipped import STARTER_MODEL
from tests.e2e.starter_trial import (
    TRIGGER,
    picture_folders,
    score,
    starter_model,
    trained_network,
)
from tests.support.jobs import TinyJob
from tools.starter import trial

STEPS = 80
SHORTER = {"max_train_steps": STEPS, "learning_rate": 2e-3, "train_batch_size": 8}
"""Learns in a fifth of the time of the trial run, whose own recipe `setup.sh demo` judges."""


@pytest.fixture
def base() -> LoadedModel:
    return starter_model()


def lora_job(job: TinyJob) -> TrainNetworkJob:
    made = job_from_toml(TrainNetworkJob, (job.place / "run" / "config.toml").read_text("utf-8"))
    assert isinstance(made, TrainNetworkJob)
    return made


def lora_file(job: TinyJob, name: str = "cat") -> Path:
    return job.place / "output" / f"{name}.safetensors"


def same(first: list[Image.Image], second: list[Image.Image]) -> bool:
    return all(
        np.array_equal(np.asarray(one), np.asarray(other))
        for one, other in zip(first, second, strict=True)
    )


def starter_job(place: Path, **options: object) -> TinyJob:
    folders = picture_folders(place)
    whole = RECIPE | folders | {"max_train_epochs": None} | SHORTER | options
    return TinyJob(place, STARTER_MODEL, whole)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> TinyJob:
    """A LoRA of the robot, trained in this process."""
    job = starter_job(tmp_path_factory.mktemp("lora"))
    assert job.run(save_every_n_steps=STEPS - 10, save_state=True) == 0
    return job


def test_a_lora_learns_the_subject_and_keeps_the_rest(learned: TinyJob) -> None:
    scores = score(trial.painter(trial.taught_model(lora_file(learned))))
    assert scores.with_trigger >= 0.5, scores
    assert scores.without_trigger <= 0.1, scores
    assert scores.others_after >= 0.75, scores  # without class pictures it was 0.71


def test_a_merged_lora_paints_what_its_layers_paint(learned: TinyJob, base: LoadedModel) -> None:
    scenes = trial.scenes_of(TRIGGER, 2)
    with trained_network(lora_job(learned), lora_file(learned), base) as method:
        for strength in (0.5, 1.0):
            with method.multiplied(strength):
                beside = trial.pictures_of(base, scenes)
            merged = trial.pictures_of(trial.taught_model(lora_file(learned), strength), scenes)
            for one, other in zip(beside, merged, strict=True):
                difference = np.asarray(one, dtype=float) - np.asarray(other, dtype=float)
                assert np.abs(difference).mean() < 2, strength


def test_a_lora_of_strength_zero_is_the_base(learned: TinyJob, base: LoadedModel) -> None:
    scenes = trial.scenes_of(TRIGGER, 3)
    before = trial.pictures_of(base, scenes)
    with trained_network(lora_job(learned), lora_file(learned), base) as method:
        with method.multiplied(0.0):
            assert same(trial.pictures_of(base, scenes), before)
        with method.multiplied(1.0):
            assert not same(trial.pictures_of(base, scenes), before)
    assert same(trial.pictures_of(base, scenes), before)


def test_a_resumed_run_paints_the_same_picture(learned: TinyJob, base: LoadedModel) -> None:
    state = learned.place / "run" / "state" / f"cat-step{STEPS - 10:08d}-state"
    assert learned.run("resumed", resume=str(state), output_name="resumed") == 0
    scenes, painted = trial.scenes_of(TRIGGER, 2), []
    for name in ("cat", "resumed"):
        with trained_network(lora_job(learned), lora_file(learned, name), base):
            painted.append(trial.pictures_of(base, scenes))
    assert same(*painted)


def test_a_lycoris_algorithm_learns_the_subject(tmp_path: Path) -> None:
    job = starter_job(
        tmp_path,
        network_module="lycoris.kohya",
        network_args=["algo=locon", "conv_dim=8", "conv_alpha=8"],
        conv_dim=None,
        conv_alpha=None,
        reg_data_dir=None,
        train_batch_size=6,
        learning_rate=1.5e-3,
    )
    assert job.run() == 0
    paint = trial.painter(trial.taught_model(lora_file(job)))
    scores = score(paint)
    assert scores.with_trigger >= 0.5, scores
    assert scores.without_trigger <= 0.2, scores
    assert scores.others_after >= 0.5, scores  # it has no class pictures
