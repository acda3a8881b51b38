"""Each optimizer and each schedule is built from options, steps, and follows its formula."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch

from sd_scripts.errors import UserError
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.optimizer_table import OptimizerName
from sd_scripts.options.scheduler_table import SCHEDULERS, SchedulerName
from sd_scripts.options.values import job_from_values
from sd_scripts.train import optimizers
from sd_scripts.train.optimizers import (
    BUILDERS,
    build_optimizer,
    describe_optimizer,
    learning_rates,
)
from sd_scripts.train.schedulers import build_scheduler, steps_of

RATE = 0.1
TOTAL = 20
NEEDED: dict[str, dict[str, Any]] = {
    "cosine_with_min_lr": {"lr_scheduler_min_lr_ratio": 0.1},
    "warmup_stable_decay": {"lr_decay_steps": 5},
    "piecewise_constant": {"lr_scheduler_args": ["step_rules=1:10,0.1:15,0.01"]},
    "adafactor": {"optimizer_type": "Adafactor"},
}


def job_of(**values: Any) -> TrainNetworkJob:
    base = {
        "pretrained_model_name_or_path": "m.safetensors",
        "train_data_dir": "d",
        "output_dir": "o",
        "learning_rate": RATE,
    }
    return job_from_values(TrainNetworkJob, {**base, **values})


def groups() -> list[dict[str, Any]]:
    torch.manual_seed(0)
    return [
        {"params": [torch.nn.Parameter(torch.randn(8, 8))], "lr": RATE, "name": "unet"},
        {"params": [torch.nn.Parameter(torch.randn(8))], "lr": RATE, "name": "text_encoder"},
    ]


def train(optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    """Shrink the parameters towards zero; returns the loss of each step."""
    losses = []
    for _ in range(steps):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        loss = torch.stack([p.square().mean() for p in parameters]).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def test_tables_agree() -> None:
    assert set(BUILDERS) == set(get_args(OptimizerName))


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_every_optimizer_learns(name: str) -> None:
    rate = 1.0 if name == "Prodigy" else RATE
    job = job_of(optimizer_type=name, learning_rate=rate)
    optimizer = build_optimizer(job, [{**group, "lr": rate} for group in groups()])
    losses = train(optimizer, 30)
    assert losses[-1] < losses[0]
    assert set(learning_rates(optimizer)) == {"unet", "text_encoder"}
    assert describe_optimizer(optimizer, job).endswith(name)


def test_arguments_reach_the_optimizer() -> None:
    job = job_of(optimizer_args=["weight_decay=0.5", "betas=.8,.9"])
    optimizer = build_optimizer(job, groups())
    assert optimizer.defaults["weight_decay"] == 0.5
    assert optimizer.defaults["betas"] == (0.8, 0.9)
    told = describe_optimizer(optimizer, job)
    assert told == "torch.optim.adamw.AdamW(weight_decay=0.5,betas=(0.8, 0.9))"


def test_fused_adamw_is_adamw() -> None:
    """The fused kernel is what we choose; its result is the plain one's."""
    fused = build_optimizer(job_of(), groups())
    plain = build_optimizer(job_of(optimizer_args=["foreach=False"]), groups())
    assert fused.defaults["fused"]
    assert not plain.defaults["fused"]
    train(fused, 5)
    train(plain, 5)
    for one, other in zip(fused.param_groups, plain.param_groups, strict=True):
        torch.testing.assert_close(one["params"], other["params"])


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(optimizers.importlib, "import_module", missing)
    with pytest.raises(UserError, match="bitsandbytes") as error:
        build_optimizer(job_of(optimizer_type="AdamW8bit"), groups())
    assert error.value.problems[0].option == "optimizer_type"


def rates_of(name: str, **values: Any) -> list[float]:
    """Return the rate used in each of the steps of a schedule."""
    job = job_of(lr_scheduler=name, **{**NEEDED.get(name, {}), **values})
    optimizer = build_optimizer(job, groups())
    scheduler = build_scheduler(job, optimizer, TOTAL)
    rates = []
    for _ in range(TOTAL):
        rates.append(learning_rates(optimizer)["unet"])
        train(optimizer, 1)
        scheduler.step()
    return rates


@pytest.mark.parametrize("name", get_args(SchedulerName))
def test_every_schedule_runs(name: SchedulerName) -> None:
    values = {"lr_warmup_steps": 4} if "lr_warmup_steps" in SCHEDULERS[name].reads else {}
    rates = rates_of(name, **values)
    assert all(math.isfinite(rate) and rate >= 0 for rate in rates)
    if values:
        assert rates[:4] == pytest.approx([0, RATE / 4, RATE / 2, RATE * 3 / 4])


@pytest.mark.parametrize(
    ("name", "values", "formula"),
    [
        ("constant", {}, lambda t: 1.0),
        ("linear", {}, lambda t: 1 - t / TOTAL),
        ("cosine", {}, lambda t: (1 + math.cos(math.pi * t / TOTAL)) / 2),
        (
            "cosine_with_restarts",
            {"lr_scheduler_num_cycles": 2},
            lambda t: (1 + math.cos(math.pi * ((2 * t / TOTAL) % 1))) / 2,
        ),
        (
            "cosine_with_min_lr",
            {},
            lambda t: 0.1 + 0.9 * (1 + math.cos(math.pi * t / TOTAL)) / 2,
        ),
        (
            "polynomial",
            {"lr_scheduler_power": 2},
            lambda t: (1 - 1e-7 / RATE) * (1 - t / TOTAL) ** 2 + 1e-7 / RATE,
        ),
        ("piecewise_constant", {}, lambda t: 1 if t < 10 else 0.1 if t < 15 else 0.01),
        (
            "warmup_stable_decay",
            {},
            lambda t: 1 if t < 15 else (1 + math.cos(math.pi * (t - 15) / 5)) / 2,
        ),
    ],
)
def test_schedules_follow_their_formulas(name: str, values: dict[str, Any], formula: Any) -> None:
    expected = [RATE * formula(step) for step in range(TOTAL)]
    assert rates_of(name, **values) == pytest.approx(expected, abs=1e-9)


def test_warm_up_as_a_share() -> None:
    by_steps = rates_of("cosine", lr_warmup_steps=5)
    assert rates_of("cosine", lr_warmup_steps=0.25) == by_steps
    assert rates_of("cosine", lr_warmup_steps="25%") == by_steps
    assert (steps_of(0.5, 10), steps_of(3, 10), steps_of(0, 10)) == (5, 3, 0)
