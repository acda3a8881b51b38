"""Ranking of pictures in a real (tiny) job: every own picture once, nothing trained or changed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from sd_scripts.options.jobs import RankLossesJob
from sd_scripts.runs.events import StepEvent
from sd_scripts.train.entry import main
from tests.support.jobs import TinyJob, draw_pictures, reset_accelerate
from tests.support.tiny_models import make_tiny_checkpoint


@pytest.fixture
def job(tmp_path: Path) -> TinyJob:
    draw_pictures(tmp_path / "pictures" / "3_cat", count=3, size=(64, 64))
    draw_pictures(tmp_path / "regular" / "1_cat", count=1, size=(64, 64))
    model = make_tiny_checkpoint("sd1", tmp_path / "model.safetensors")
    chance = {"flip_aug": True, "shuffle_caption": True, "caption_dropout_rate": 0.5}
    return TinyJob(tmp_path, model, {"reg_data_dir": str(tmp_path / "regular"), **chance})


def rank(job: TinyJob, name: str, **changes: object) -> list[dict[str, str]]:
    reset_accelerate()
    arguments = [*job.arguments(**changes), "--run_dir", str(job.place / name)]
    assert main(RankLossesJob, "rank_losses", arguments) == 0
    with open(job.place / name / "output" / "losses.csv", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_every_own_picture_is_ranked_the_same_again(job: TinyJob) -> None:
    changes = {"validation_split": 0.4, "sample_prompts": None}
    found = rank(job, "first", **changes)
    assert [row["rank"] for row in found] == ["1", "2", "3"]
    losses = [float(row["loss"]) for row in found]
    assert losses == sorted(losses, reverse=True)
    for row in found:
        parts = [float(row[f"loss_{time}"]) for time in (200, 400, 600, 800)]
        assert float(row["loss"]) == pytest.approx(sum(parts) / 4)
        assert float(row["caption_gain"]) != 0
    assert {Path(row["path"]).parent.name for row in found} == {"3_cat"}
    assert rank(job, "again", **changes) == found
    noted = json.loads((job.place / "first" / "output" / "losses.json").read_text())
    assert [one["path"] for one in noted] == [row["path"] for row in found]
    assert not any(isinstance(event, StepEvent) for event in job.events("first"))
    assert job.end("first").status == "finished"


def test_a_trained_network_is_measured(job: TinyJob) -> None:
    torch.manual_seed(0)
    assert job.run("train", learning_rate=1.0, max_train_epochs=1) == 0
    before = rank(job, "before")
    after = rank(job, "after", network_weights=str(job.place / "output" / "cat.safetensors"))
    assert {row["path"] for row in before} == {row["path"] for row in after}
    assert [row["loss"] for row in before] != [row["loss"] for row in after]
