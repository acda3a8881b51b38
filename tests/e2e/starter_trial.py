"""What the judged tests share: the starter, its pictures, its judge, and what the base knows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from kohya_gui.forms.starter import REPEATS
from sd_scripts.families.base import LoadedModel
from sd_scripts.methods.network import NetworkMethod
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.values import replace_values
from sd_scripts.shipped import STARTER_JUDGE, STARTER_MODEL, STARTER_PICTURES
from tools.starter import trial
from tools.starter.generate import load_model
from tools.starter.judge_model import Judge

SUBJECT = "robot"
TRIGGER = "zwx robot"
KIND = "object"
ASKED = trial.Trial(SUBJECT, with_trigger=TRIGGER, without_trigger=KIND, count=12)


def picture_folders(place: Path) -> dict[str, object]:
    """Copy the subject's and the class pictures; returns the options that name them."""
    for name, source in (
        (f"pictures/{REPEATS}_{TRIGGER}", SUBJECT),
        ("class/1_thing", "class_all"),
    ):
        shutil.copytree(STARTER_PICTURES / source, place / name)
    return {"train_data_dir": str(place / "pictures"), "reg_data_dir": str(place / "class")}


def starter_model() -> LoadedModel:
    """Load the starter's base model."""
    return load_model(STARTER_MODEL)


@cache
def judge() -> Judge:
    """Return the judge."""
    return Judge.load(STARTER_JUDGE)


def score(paint: trial.Painter) -> trial.Scores:
    """Judge what a trained model paints, as if its base knew every subject: it is not painted."""
    return trial.score(paint, judge(), ASKED, others_before=1.0)


@contextmanager
def trained_network(
    job: TrainNetworkJob, file: Path, model: LoadedModel
) -> Iterator[NetworkMethod]:
    """Attach a LoRA that a job has trained, for as long as the context is open."""
    again = replace_values(job, {"network_weights": str(file), "resume": None})
    method = NetworkMethod(again, model)
    try:
        yield method
    finally:
        method.detach()
