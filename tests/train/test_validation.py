"""Validation in real (tiny) jobs: fixed pictures, fixed noise, and no trace in the training."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sd_scripts.options.groups.validation import ValidationOptions
from sd_scripts.options.jobs import (
    FineTuneJob,
    TrainDbJob,
    TrainingJob,
    TrainTextualInversionJob,
)
from sd_scripts.runs.events import ValidationEvent
from sd_scripts.train.loop import Step
from sd_scripts.train.measure import fixed_timesteps
from sd_scripts.train.team import Team
from sd_scripts.train.validation import Validator
from tests.support.jobs import TinyJob, draw_pictures, equal
from tests.support.tiny_models import make_tiny_checkpoint

HELD = {"validation_split": 0.5, "validation_seed": 3}
CHANCE = {
    "flip_aug": True,
    "shuffle_caption": True,
    "caption_dropout_rate": 0.3,
    "network_dropout": 0.3,
    "noise_offset": 0.05,
    "min_snr_gamma": 5,
}


@pytest.fixture
def job(tmp_path: Path) -> TinyJob:
    draw_pictures(tmp_path / "pictures", count=4, size=(64, 64))
    model = make_tiny_checkpoint("sd1", tmp_path / "model.safetensors")
    return TinyJob(tmp_path, model, {"train_batch_size": 1, **CHANCE})


def measured(job: TinyJob, name: str = "run") -> dict[int, dict[str, float]]:
    events = [event for event in job.events(name) if isinstance(event, ValidationEvent)]
    assert all(
        event.loss == pytest.approx(sum(event.losses.values()) / len(event.losses))
        for event in events
    )
    return {event.step: event.losses for event in events}


def test_the_timesteps_part_the_range_evenly() -> None:
    assert fixed_timesteps((0, 1000)) == (200, 400, 600, 800)
    assert fixed_timesteps((500, 1000)) == (600, 700, 800, 900)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {4, 8, 10}),
        ({"validate_every_n_epochs": 2}, {8, 10}),
        ({"validate_every_n_steps": 3}, {3, 6, 9, 10}),
        ({"validate_every_n_steps": 5, "validate_every_n_epochs": 1}, {4, 5, 8, 10}),
    ],
)
def test_when_it_is_due(options: dict[str, int], expected: set[int]) -> None:
    given = ValidationOptions.model_validate({"validation_split": 0.1} | options)
    nothing: Any = SimpleNamespace()
    validator = Validator(given, nothing, nothing, (1,), Team())
    steps = [Step(n, (n - 1) // 4 + 1, 0.0, n % 4 == 0) for n in range(1, 11)]
    assert {step.number for step in steps if validator.due(step, 10)} == expected


def test_held_out_pictures_are_measured_and_leave_no_trace(job: TinyJob) -> None:
    """The same training with and without measuring; the split is noted and the same again."""
    assert job.run("often", **HELD, validate_every_n_steps=1, output_name="often") == 0
    assert job.run("rarely", **HELD, output_name="rarely") == 0
    often, rarely = measured(job, "often"), measured(job, "rarely")
    assert sorted(often) == list(range(1, 5))
    assert sorted(rarely) == [2, 4]
    assert {step: often[step] for step in rarely} == rarely
    assert equal(job.tensors("often"), job.tensors("rarely"))
    assert set(often[1]) == {"timestep 200", "timestep 400", "timestep 600", "timestep 800"}
    assert len({losses["timestep 200"] for losses in often.values()}) > 1
    noted = [(job.place / name / "validation.json").read_text() for name in ("often", "rarely")]
    assert noted[0] == noted[1]
    facts = json.loads(noted[0])
    assert facts["timesteps"] == [200, 400, 600, 800]
    assert len(facts["pictures"]) == 2
    assert all(Path(picture["path"]).is_file() for picture in facts["pictures"])


def test_a_resumed_run_measures_the_same(job: TinyJob) -> None:
    state = {"save_every_n_steps": 2, "save_state": True, "validate_every_n_steps": 1}
    assert job.run("whole", **HELD, **state, output_name="whole") == 0
    folder = job.place / "whole" / "state" / "whole-step00000002-state"
    assert job.run("part", **HELD, **state, resume=str(folder), output_name="part") == 0
    whole, part = measured(job, "whole"), measured(job, "part")
    assert part == {step: losses for step, losses in whole.items() if step > 2}


def test_measuring_from_pixels_is_measuring_from_the_cache(job: TinyJob) -> None:
    changes = {**HELD, "train_batch_size": 2, "max_train_epochs": 1}
    assert job.run("cached", **changes) == 0
    assert job.run("pixels", **changes, cache_latents=None, max_data_loader_n_workers=0) == 0
    for cached, pixels in zip(
        measured(job, "cached").values(), measured(job, "pixels").values(), strict=True
    ):
        assert pixels == pytest.approx(cached, rel=1e-4)


def test_fewer_batches_and_cached_captions(job: TinyJob) -> None:
    """One batch only is another mean; captions that are cached are cached for these as well."""
    changes: dict[str, object] = {**HELD, "max_train_epochs": 1}
    assert job.run("all", **changes) == 0
    assert job.run("one", **changes, max_validation_steps=1) == 0
    assert measured(job, "all") != measured(job, "one")
    still = {"shuffle_caption": None, "caption_dropout_rate": None}
    cached = {"cache_text_encoder_outputs": True, "network_train_unet_only": True}
    assert job.run("text", **changes, **still, **cached) == 0
    assert len(measured(job, "text")) == 1


@pytest.mark.parametrize("kind", [TrainDbJob, FineTuneJob, TrainTextualInversionJob])
def test_every_trainer_measures(job: TinyJob, kind: type[TrainingJob]) -> None:
    """The same pictures at the same timesteps, before and after what it learns."""
    job.job_type = kind
    job.options |= {"network_dim": None, "network_dropout": None, "learning_rate": 1e-2}
    if kind is FineTuneJob:
        captions = {f"picture {number}.png": {"caption": "a cat"} for number in range(4)}
        file = job.place / "captions.json"
        file.write_text(json.dumps(captions), encoding="utf-8")
        job.options["in_json"] = str(file)
    if kind is TrainTextualInversionJob:
        job.options |= {"token_string": "mycat7", "use_object_template": True}
    often = {"validate_every_n_steps": 1, "max_train_epochs": 1}
    assert job.run(**HELD, **often) == 0
    found = measured(job)
    assert list(found) == [1, 2]
    assert set(found[1]) == {"timestep 200", "timestep 400", "timestep 600", "timestep 800"}
    assert found[1] != found[2]
