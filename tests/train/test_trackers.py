"""What trackers are told, under the names that users of sd-scripts know."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sd_scripts.errors import Problem, UserError
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.train.trackers import Preview, Tracker, build_tracker, tracker_problems
from tests.options.support import job


class FakeWandb(SimpleNamespace):
    """Stands for the package: keeps what it is asked for."""

    def __init__(self, failing: type[Exception] | None = None) -> None:
        error = type("Error", (Exception,), {})
        super().__init__(errors=SimpleNamespace(Error=error), started={}, rows=[], finished=0)
        self.failing = error if failing is Exception else failing

    def init(self, **settings: Any) -> FakeWandb:
        if self.failing is not None:
            raise self.failing("no key")
        self.started = settings
        return self

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self.rows.append((step, dict(numbers)))

    def Image(self, path: str, caption: str) -> tuple[str, str]:
        return path, caption

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)  # type: ignore[arg-type]
    return fake


def tell(tracker: Tracker) -> None:
    tracker.step(1, 0.5, {"unet": 1e-4}, {}, ends_epoch=False)
    tracker.step(2, 0.25, {"unet": 1e-4}, {"max_norm/keys_scaled": 3.0}, ends_epoch=True)
    tracker.validation(2, 0.5, {"timestep 200": 0.4})
    tracker.step(3, 0.75, {"unet": 1e-4}, {}, ends_epoch=True)
    tracker.close()


EXPECTED = [
    (1, {"loss/current": 0.5, "loss/average": 0.5, "lr/unet": 1e-4}),
    (
        2,
        {
            "loss/current": 0.25,
            "loss/average": 0.375,
            "loss/epoch_average": 0.375,
            "lr/unet": 1e-4,
            "max_norm/keys_scaled": 3.0,
        },
    ),
    (
        2,
        {
            "loss/validation/step_average": 0.5,
            "loss/validation/step_divergence": 0.125,
            "loss/validation/timestep_200": 0.4,
        },
    ),
    (  # the run ends within its second epoch
        3,
        {
            "loss/current": 0.75,
            "loss/average": 0.5,
            "loss/epoch_average": 0.75,
            "lr/unet": 1e-4,
        },
    ),
]


def logging_job(place: Path, **options: Any) -> TrainNetworkJob:
    return job(train_data_dir=str(place / "secret place"), network_dim=8, **options)


def tensorboard_values(folder: Path) -> list[tuple[int, dict[str, float]]]:
    (file,) = folder.glob("p*/network_train/events.*")
    read = EventAccumulator(str(file))
    read.Reload()
    return [
        (event.step, {name: pytest.approx(event.value)})
        for name in read.Tags()["scalars"]
        for event in read.Scalars(name)
    ]


def test_both_programs_get_the_same_numbers(tmp_path: Path, wandb: FakeWandb) -> None:
    given = logging_job(tmp_path, logging_dir=str(tmp_path), log_prefix="p", log_with="all")
    tell(build_tracker(given, print, 2))
    assert wandb.rows == EXPECTED
    assert wandb.finished == 1
    expected = [(step, {name: value}) for step, row in EXPECTED for name, value in row.items()]
    found = tensorboard_values(tmp_path)
    assert len(found) == len(expected)
    assert all(row in found for row in expected)


def test_wandb_is_told_names_and_what_the_file_says(tmp_path: Path, wandb: FakeWandb) -> None:
    config = tmp_path / "trackers.toml"
    config.write_text('[wandb]\nentity = "us"\ntags = ["a"]\n')
    names = {"log_tracker_name": "cats", "wandb_run_name": "first"}
    folder = str(tmp_path / "new")
    given = logging_job(
        tmp_path, log_with="wandb", logging_dir=folder, log_tracker_config=str(config), **names
    )
    build_tracker(given, print, 2)
    assert wandb.started == {
        "project": "cats",
        "name": "first",
        "dir": folder,
        "config": {},
        "entity": "us",
        "tags": ["a"],
    }


def test_previews_are_sent_by_the_number_of_their_prompt(tmp_path: Path, wandb: FakeWandb) -> None:
    tracker = build_tracker(
        logging_job(tmp_path, log_with="all", logging_dir=str(tmp_path)), print, 2
    )
    tracker.previews(4, [])
    tracker.previews(5, [Preview(1, tmp_path / "a.png", "a cat")])
    tracker.close()
    assert wandb.rows == [(5, {"sample_1": (str(tmp_path / "a.png"), "a cat")})]


def test_settings_are_told_on_request_and_without_paths(tmp_path: Path, wandb: FakeWandb) -> None:
    build_tracker(logging_job(tmp_path, log_with="wandb", log_config=True), print, 2)
    told = wandb.started["config"]
    assert told["network_dim"] == 8
    assert "secret place" not in str(told)


@pytest.mark.parametrize("kind", [Exception, OSError, TypeError])
def test_a_tracker_that_cannot_begin_is_the_users_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb(kind))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="cannot begin: no key"):
        build_tracker(logging_job(tmp_path, log_with="wandb"), print, 2)


@pytest.mark.parametrize("act", ["log", "finish"])
def test_a_training_goes_on_when_numbers_cannot_be_sent(
    tmp_path: Path, wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    def cut_off(*_: object, **__: object) -> None:
        raise RuntimeError("no network")

    monkeypatch.setattr(wandb, act, cut_off)
    told: list[Problem] = []
    tell(build_tracker(logging_job(tmp_path, log_with="wandb"), told.append, 2))
    assert [problem.severity for problem in told] == ["warning"]
    assert "no network" in told[0].message


@pytest.mark.parametrize(
    ("text", "words"),
    [("[wandb]\nentity = = 1", "cannot be read"), ("[comet]\na = 1", "no tracker reads"),
     ("wandb = 1", "no tracker reads"), (None, "cannot be read")],
)  # fmt: skip
def test_a_settings_file_that_is_of_no_use_is_told_before_training(
    tmp_path: Path, text: str | None, words: str
) -> None:
    path = tmp_path / "t.toml"
    if text is not None:
        path.write_text(text)
    (problem,) = tracker_problems(logging_job(tmp_path, log_tracker_config=str(path)))
    assert words in problem.message
    assert problem.option == "log_tracker_config"


def test_a_missing_package_is_told_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = tracker_problems(logging_job(tmp_path, logging_dir="logs", log_with="all"))
    assert [problem.message.split(" is not")[0] for problem in found] == [
        "TensorBoard",
        "Weights & Biases",
    ]
    assert tracker_problems(logging_job(tmp_path)) == []
