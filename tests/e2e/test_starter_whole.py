"""What Dreambooth and Textual Inversion teach the starter, seen by the judge."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from sd_scripts.options.jobs import TrainDbJob, TrainTextualInversionJob
from sd_scripts.options.toml_file import job_from_toml
from sd_scripts.options.values import replace_values
from sd_scripts.shipped import STARTER_MODEL, STARTER_PICTURES
from sd_scripts.train.methods import make_method
from tests.e2e.starter_trial import KIND, SUBJECT, judge, picture_folders, score, starter_model
from tests.support.jobs import TinyJob
from tools.starter import trial
from tools.starter.generate import load_model

COMMON: dict[str, object] = {
    "resolution": 128,
    "max_train_epochs": None,
    "network_dim": None,
    "cache_latents": True,
    "lr_scheduler": "cosine",
    "min_snr_gamma": 5,
    "seed": 42,
}


@cache
def dreambooth(root: Path, *, prior: bool) -> trial.Scores:
    """Teach the whole model the robot, with or without class pictures; return what it can."""
    place = root / ("with" if prior else "without")
    folders = picture_folders(place)
    if not prior:
        del folders["reg_data_dir"]
    options = COMMON | folders | {"train_batch_size": 12, "max_train_steps": 100}
    options |= {"learning_rate": 2e-4, "stop_text_encoder_training": -1, "min_timestep": 200}
    options["save_model_as"] = "diffusers_safetensors"
    job = TinyJob(place, STARTER_MODEL, options, TrainDbJob)
    assert job.run() == 0
    return score(trial.painter(load_model(place / "output" / "cat")))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both trainings of Dreambooth are; the first test that needs one does it."""
    return tmp_path_factory.mktemp("dreambooth")


def test_dreambooth_learns_with_prior_preservation(root: Path) -> None:
    with_prior = dreambooth(root, prior=True)
    assert with_prior.with_trigger >= 0.6, with_prior
    assert with_prior.without_trigger <= 0.1, with_prior


def test_dreambooth_forgets_more_without_prior_preservation(root: Path) -> None:
    with_prior, without = dreambooth(root, prior=True), dreambooth(root, prior=False)
    assert with_prior.lost + 0.1 < without.lost, (with_prior, without)


def test_textual_inversion_moves_towards_the_subject(tmp_path: Path) -> None:
    """No word makes the base paint a robot, but the new one comes nearer than where it began."""
    options = COMMON | {
        "train_data_dir": str(STARTER_PICTURES / SUBJECT),
        "train_batch_size": 8,
        "token_string": "zwx",
        "init_word": KIND,
        "num_vectors_per_token": 2,
        "learning_rate": 2e-2,
        "max_train_steps": 100,
    }
    job = TinyJob(tmp_path, STARTER_MODEL, options, TrainTextualInversionJob)
    assert job.run() == 0
    robots = [Image.open(path) for path in sorted((STARTER_PICTURES / SUBJECT).glob("*.png"))]
    made = job_from_toml(
        TrainTextualInversionJob, (tmp_path / "run" / "config.toml").read_text("utf-8")
    )
    found = []
    for weights in (None, str(tmp_path / "output" / "cat.safetensors")):
        model = starter_model()
        make_method(replace_values(made, {"weights": weights}), model)
        scenes = trial.scenes_of("zwx", 20)
        found.append(trial.likeness(judge(), trial.pictures_of(model, scenes), robots))
    assert found[1] > found[0], found
