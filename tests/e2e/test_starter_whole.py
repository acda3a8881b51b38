"""What Dreambooth and Textual Inversion teach the starter, seen by the judge."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from sd_scripts.families.base import LoadedModel
from sd_scripts.options.jobs import TrainDbJob, TrainTextualInversionJob
from sd_scripts.options.toml_file import job_from_toml
from sd_scripts.options.values import replace_values
from sd_scripts.shipped import STARTER_MODEL, STARTER_PICTURES
from sd_scripts.train.methods import make_method
from tests.e2e.starter_trial import (
    ASKED,
    KIND,
    SUBJECT,
    judge,
    picture_folders,
    score,
    starter_model,
)
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


def dreambooth(place: Path, **options: object) -> LoadedModel:
    """Teach the whole model the robot from 6 of its pictures a step; return it."""
    all_options = COMMON | {"max_train_steps": 60, "learning_rate": 3e-4} | options
    all_options |= {"stop_text_encoder_training": -1, "min_timestep": 200}
    all_options |= {"save_model_as": "diffusers_safetensors"}
    job = TinyJob(place, STARTER_MODEL, all_options, TrainDbJob)
    assert job.run() == 0
    return load_model(place / "output" / "cat")


def test_dreambooth_learns_and_forgets_less_with_prior_preservation(tmp_path: Path) -> None:
    folders = picture_folders(tmp_path)
    both = dreambooth(tmp_path / "with", **folders, train_batch_size=12)
    with_prior = score(trial.painter(both))
    assert with_prior.with_trigger >= 0.5, with_prior
    assert with_prior.without_trigger <= 0.1, with_prior
    assert with_prior.others_after >= 0.8, with_prior
    del folders["reg_data_dir"]
    alone = dreambooth(tmp_path / "without", **folders, train_batch_size=6)
    without = trial.others_known(trial.painter(alone), judge(), ASKED.count)
    assert without + 0.1 < with_prior.others_after, (without, with_prior)


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
