"""A process among others, as far as it can be seen from one: seats, refusals, who is told what."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sd_scripts.errors import UserError
from sd_scripts.options.jobs import RankLossesJob, TrainDbJob
from sd_scripts.options.values import job_from_values
from sd_scripts.runs.control import request
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests
from sd_scripts.runs.seat import Seat
from sd_scripts.train import environment
from sd_scripts.train.course import Course
from sd_scripts.train.entry import main
from sd_scripts.train.environment import environment_problems
from sd_scripts.train.team import Failure, OtherFailed, Team
from tests.support.jobs import TinyJob

NOTHING: Any = SimpleNamespace(look=lambda: None)


@pytest.fixture
def job(tmp_path: Path) -> TinyJob:
    """A job without a model: it is refused before one is looked for."""
    return TinyJob(tmp_path, tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("variables", "seat"),
    [
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, Seat(3, 4, 1)),
        ({}, Seat()),
        ({"RANK": "0", "WORLD_SIZE": "4"}, Seat()),
        ({"RANK": "4", "WORLD_SIZE": "4", "LOCAL_RANK": "0"}, Seat()),
        ({"RANK": "x", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, Seat()),
    ],
)
def test_a_process_knows_its_seat(variables: dict[str, str], seat: Seat) -> None:
    assert Seat.of(variables) == seat


def test_ways_of_sharing_that_are_unknown_are_refused_in_words(
    job: TinyJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ACCELERATE_USE_MEGATRON_LM", "true")
    assert job.run() == 2
    assert "knows no Megatron-LM" in job.end().reason


def test_a_job_for_one_process_says_so(job: TinyJob, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert main(RankLossesJob, "rank_losses", job.arguments()) == 2
    assert not (job.place / "runs").exists()


def test_weights_that_move_early_cannot_be_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    state = SimpleNamespace(device=torch.device("cpu"), num_processes=2)
    monkeypatch.setattr(environment, "PartialState", lambda: state)
    values = {
        "pretrained_model_name_or_path": "m",
        "train_data_dir": "d",
        "fused_backward_pass": True,
        "optimizer_type": "adafactor",
    }
    problems = environment_problems(job_from_values(TrainDbJob, values))
    assert [problem.option for problem in problems] == ["fused_backward_pass"]


def test_an_error_of_another_process_says_where_it_was() -> None:
    mistake = UserError("too small", option="resolution", hint="Larger.")
    told = OtherFailed(Failure.of(mistake, 2)).in_words()
    assert isinstance(told, UserError)
    [problem] = told.problems
    assert problem.message.startswith("Process 2 on ")
    assert (problem.option, problem.hint) == ("resolution", "Larger.")
    fault = OtherFailed(Failure.of(KeyError("x"), 1)).in_words()
    assert not isinstance(fault, UserError)
    assert "KeyError: 'x'" in str(fault)


def test_one_process_needs_no_others() -> None:
    team = Team()
    error = ValueError("own")
    assert team.agree(error) is error
    assert team.share(5) == 5
    assert team.leader_first(lambda: "done") == "done"
    gradient = torch.nn.Parameter(torch.ones(2))
    loss = Course(team, NOTHING).meet(torch.tensor(2.0), [gradient])
    assert loss.item() == 2
    assert gradient.grad is None


def test_each_process_has_random_numbers_of_its_own_that_follow_from_the_step() -> None:
    def drawn(rank: int, step: int) -> float:
        Course(Team(Seat(rank, 2, rank)), NOTHING).begin(seed=1, step=step)
        return torch.rand(()).item()

    numbers = {drawn(0, 1), drawn(1, 1), drawn(0, 2)}
    assert len(numbers) == 3
    assert drawn(0, 1) in numbers


def test_followers_heed_no_requests_and_leaders_no_echo_of_ctrl_c(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    request(run, "stop")
    reporter = Reporter(run.events, main_process=False)
    follower = Requests(run, reporter, Seat(1, 2, 1))
    assert not follower.stop()
    follower.clear()
    assert (run.control / "stop").exists()
    leader = Requests(run, reporter, Seat(0, 2, 0))
    with leader.listening():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert leader.stop()
