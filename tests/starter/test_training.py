"""The starter's training loop: what is taken up again ends where it would have ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from tools.starter import training
from tools.starter.training import Average, falling_rate, seed_step, set_rate, train

STEPS = 9


class Interruption(Exception):
    """Stands for a machine that goes away."""


def run(folder: Path, stop_at: int | None = None) -> dict[str, torch.Tensor]:
    """Train a small network with batch norm on seeded noise; maybe fail at a step."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 1))
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    average = Average(module, 0.9)

    def take_step(step: int) -> Mapping[str, float]:
        if step == stop_at:
            raise Interruption
        set_rate(optimizer, falling_rate(step, STEPS, 2))
        given = torch.randn(8, 4, generator=seed_step(5, step))
        loss = (module(given) - given.sum(1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        average.update(module)
        return {"loss": loss.item()}

    train("it", folder, STEPS, take_step, _kept(module, optimizer, average))
    state = {f"now.{key}": value.clone() for key, value in module.state_dict().items()}
    average.copy_to(module)
    return state | {f"mean.{key}": value for key, value in module.state_dict().items()}


def _kept(
    module: nn.Module, optimizer: torch.optim.Optimizer, average: Average
) -> Mapping[str, training.Stateful]:
    return {"module": module, "optimizer": optimizer, "average": average}


@pytest.mark.parametrize("stop_at", [1, 4, STEPS - 1])
def test_a_resumed_training_equals_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    """Every step's state is kept here, so that nothing is done twice."""
    whole = run(tmp_path / "whole")
    monkeypatch.setattr(training, "KEEP_EVERY_SECONDS", 0.0)
    with pytest.raises(Interruption):
        run(tmp_path / "parts", stop_at)
    resumed = run(tmp_path / "parts")
    assert whole.keys() == resumed.keys()
    for key, value in whole.items():
        assert torch.equal(value, resumed[key]), key


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    """What is finished is read; a step would raise."""
    first = run(tmp_path)
    again = run(tmp_path, stop_at=0)
    assert all(torch.equal(value, again[key]) for key, value in first.items())


def test_the_rate_climbs_and_falls_to_zero() -> None:
    """Linear up, cosine down."""
    rates = [falling_rate(step, 100, 10) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0, abs=1e-12)


def test_the_full_rate_survives_scaling() -> None:
    """Shares are of the full rate, not of the last one."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    steps: list[Callable[[], None]] = [lambda: set_rate(optimizer, 0.5)] * 3
    for step in steps:
        step()
    assert optimizer.param_groups[0]["lr"] == 1.0
