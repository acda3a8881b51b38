"""Each optimizer and each schedule is built from options, steps, and follows its formula."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from sd_scripts.errors import UserError
from sd_scripts.options.course import course_of, steps_of
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.optimizer_table import OPTIMIZERS
from sd_scripts.options.scheduler_table import SCHEDULERS, SchedulerName, TorchSchedulerName
from sd_scripts.options.values import job_from_values
from sd_scripts.train import optimizers
from sd_scripts.train.optimizers import (
    averaged_weights,
    build_optimizer,
    describe_optimizer,
    learning_rates,
)
from sd_scripts.train.schedulers import build_scheduler, load_schedule

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
    parameters = parameters_of(optimizer)
    for _ in range(steps):
        loss = torch.stack([p.square().mean() for p in parameters]).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def rate_of(name: str) -> float:
    """A rate that makes the tiny problem fall in a few steps."""
    own = {"RAdamScheduleFree": 0.5, "Rprop": 0.01, "Adadelta": 10.0}
    own |= {"DAdaptation": 0.3, "DAdaptAdamPreprint": 0.3}  # jumps, at 1
    return own.get(name, 1.0 if OPTIMIZERS[name].sets_own_rate else RATE)


def made(name: str, **values: Any) -> tuple[TrainNetworkJob, torch.optim.Optimizer]:
    pytest.importorskip(OPTIMIZERS[name].package or "torch")
    rate = rate_of(name)
    job = job_of(optimizer_type=name, learning_rate=rate, **values)
    return job, build_optimizer(job, [{**group, "lr": rate} for group in groups()])


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns_and_its_state_goes_on_bit_for_bit(
    name: str, tmp_path: Path
) -> None:
    """30 steps fall; 4 steps, a state through a file, and 4 more are 8 in one go."""
    job, optimizer = made(name)
    losses = train(optimizer, 30)
    assert losses[-1] < losses[0]
    assert set(learning_rates(optimizer)) == {"unet", "text_encoder"}
    module, _, kind = OPTIMIZERS[name].target.partition(":")
    told = describe_optimizer(optimizer, job)
    assert told.startswith(module.partition(".")[0])
    assert told.endswith(f".{kind}")

    _, whole = made(name)
    train(whole, 8)
    _, first = made(name)
    train(first, 4)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    _, second = made(name)
    for now, before in zip(parameters_of(second), parameters_of(first), strict=True):
        now.data.copy_(before)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    train(second, 4)
    for one, other in zip(parameters_of(second), parameters_of(whole), strict=True):
        assert torch.equal(one, other)


def parameters_of(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def test_what_a_name_stands_for_can_be_changed() -> None:
    _, plain = made("SGDNesterov")
    _, changed = made("SGDNesterov", optimizer_args=["momentum=0.5", "nesterov=False"])
    assert (plain.defaults["momentum"], plain.defaults["nesterov"]) == (0.9, True)
    assert (changed.defaults["momentum"], changed.defaults["nesterov"]) == (0.5, False)


@pytest.mark.parametrize("name", [n for n, entry in OPTIMIZERS.items() if entry.schedule_free])
def test_averaged_weights_leave_the_training_as_it_was(name: str) -> None:
    _, looked_at = made(name)
    _, alone = made(name)
    train(looked_at, 5)
    train(alone, 5)
    with averaged_weights(looked_at):
        averaged = [p.detach().clone() for p in parameters_of(looked_at)]
    train(looked_at, 3)
    train(alone, 3)
    for one, other in zip(parameters_of(looked_at), parameters_of(alone), strict=True):
        assert torch.equal(one, other)
    _, upstream = made(name)
    train(upstream, 5)
    upstream.eval()  # type: ignore[attr-defined]
    trained = parameters_of(upstream)
    assert all(torch.equal(one, other) for one, other in zip(averaged, trained, strict=True))


def test_averaged_weights_are_the_weights_of_other_optimizers() -> None:
    _, optimizer = made("AdamW")
    train(optimizer, 2)
    before = [p.detach().clone() for p in parameters_of(optimizer)]
    with averaged_weights(optimizer):
        inside = parameters_of(optimizer)
        assert all(torch.equal(one, other) for one, other in zip(before, inside, strict=True))


def test_a_schedule_free_rate_has_no_course() -> None:
    job, optimizer = made("AdamWScheduleFree", lr_scheduler="cosine")
    scheduler = build_scheduler(job, optimizer, TOTAL)
    for _ in range(5):
        train(optimizer, 1)
        scheduler.step()
        assert set(learning_rates(optimizer).values()) == {RATE}


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


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *((name, {}) for name in get_args(SchedulerName) if name != "adafactor"),
        ("constant_with_warmup", {"lr_warmup_steps": 0.25}),
        ("linear", {"lr_warmup_steps": 4}),
        ("cosine", {"lr_warmup_steps": 4}),
        ("cosine_with_restarts", {"lr_warmup_steps": 3, "lr_scheduler_num_cycles": 3}),
        ("polynomial", {"lr_warmup_steps": 4, "lr_scheduler_power": 2}),
        ("inverse_sqrt", {"lr_warmup_steps": 4}),
        ("inverse_sqrt", {"lr_warmup_steps": 4, "lr_scheduler_timescale": 7}),
        ("cosine_with_min_lr", {"lr_warmup_steps": 4, "lr_scheduler_num_cycles": 3}),
        (
            "warmup_stable_decay",
            {
                "lr_warmup_steps": 4,
                "lr_decay_steps": 0.4,
                "lr_scheduler_min_lr_ratio": 0.2,
                "lr_scheduler_num_cycles": 3,
            },
        ),
    ],
)
def test_what_a_page_draws_is_what_is_trained_with(name: str, values: dict[str, Any]) -> None:
    job = job_of(lr_scheduler=name, **{**NEEDED.get(name, {}), **values})
    course = course_of(job.optimizer, TOTAL)
    assert course is not None
    drawn = [RATE * course(step) for step in range(TOTAL)]
    assert drawn == pytest.approx(rates_of(name, **values), rel=1e-6, abs=1e-9)


def test_what_only_a_library_knows_is_not_drawn() -> None:
    for values in (
        {"lr_scheduler": "adafactor", "optimizer_type": "Adafactor"},
        {"lr_scheduler_type": "StepLR", "lr_scheduler_args": ["step_size=5"]},
    ):
        assert course_of(job_of(**values).optimizer, TOTAL) is None
    free = course_of(job_of(optimizer_type="AdamWScheduleFree", lr_scheduler="cosine").optimizer, 9)
    assert free is not None
    assert free(8) == 1.0


def test_warm_up_as_a_share() -> None:
    by_steps = rates_of("cosine", lr_warmup_steps=5)
    assert rates_of("cosine", lr_warmup_steps=0.25) == by_steps
    assert rates_of("cosine", lr_warmup_steps="25%") == by_steps
    assert (steps_of(0.5, 10), steps_of(3, 10), steps_of(0, 10)) == (5, 3, 0)


TORCH_ARGUMENTS: dict[str, list[str]] = {
    "ConstantLR": ["total_iters=5"],
    "CosineAnnealingWarmRestarts": ["T_0=5"],
    "ExponentialLR": ["gamma=0.9"],
    "MultiStepLR": ["milestones=[5,10]", "gamma=0.5"],
    "StepLR": ["step_size=5"],
}


def torch_rates(name: str, arguments: list[str], tmp_path: Path | None = None) -> list[float]:
    """Rates of a course by its class; with a folder, its state goes through a file half-way."""
    job = job_of(lr_scheduler_type=name, lr_scheduler_args=arguments)
    optimizer = build_optimizer(job, groups())
    scheduler = build_scheduler(job, optimizer, TOTAL)
    rates = []
    for step in range(TOTAL):
        if tmp_path is not None and step == TOTAL // 2:
            torch.save((optimizer.state_dict(), scheduler.state_dict()), tmp_path / "state.pt")
            optimizer = build_optimizer(job, groups())
            scheduler = build_scheduler(job, optimizer, TOTAL)
            states = torch.load(tmp_path / "state.pt", weights_only=True)
            optimizer.load_state_dict(states[0])
            load_schedule(scheduler, states[1])
        rates.append(learning_rates(optimizer)["unet"])
        train(optimizer, 1)
        if step < TOTAL - 1:
            scheduler.step()
    return rates


@pytest.mark.parametrize("name", get_args(TorchSchedulerName))
def test_every_course_of_pytorch_runs_and_goes_on_after_a_resume(name: str, tmp_path: Path) -> None:
    arguments = TORCH_ARGUMENTS.get(name, [])
    rates = torch_rates(name, arguments)
    assert all(math.isfinite(rate) and rate >= 0 for rate in rates)
    assert len(set(rates)) > 1
    assert torch_rates(name, arguments, tmp_path) == rates


@pytest.mark.parametrize(
    ("name", "arguments", "formula"),
    [
        ("CosineAnnealingLR", [], lambda t: (1 + math.cos(math.pi * t / TOTAL)) / 2),
        ("StepLR", ["step_size=5", "gamma=0.5"], lambda t: 0.5 ** (t // 5)),
        ("PolynomialLR", ["power=2"], lambda t: (1 - t / TOTAL) ** 2),
        ("MultiStepLR", ["milestones=10"], lambda t: 1 if t < 10 else 0.1),
    ],
)
def test_courses_of_pytorch_know_the_length_of_the_run(
    name: str, arguments: list[str], formula: Any
) -> None:
    expected = [RATE * formula(step) for step in range(TOTAL)]
    assert torch_rates(name, arguments) == pytest.approx(expected)


def test_settings_that_a_course_does_not_take_are_told() -> None:
    job = job_of(lr_scheduler_type="OneCycleLR", lr_scheduler_args=["pct_start=7"])
    optimizer = build_optimizer(job, groups())
    with pytest.raises(UserError, match="OneCycleLR") as error:
        build_scheduler(job, optimizer, TOTAL)
    assert error.value.problems[0].option == "lr_scheduler_args, lr_scheduler_type"


def test_a_resumed_course_may_be_longer() -> None:
    job = job_of(lr_scheduler_type="OneCycleLR")
    short = build_scheduler(job, build_optimizer(job, groups()), 5)
    optimizer = build_optimizer(job, groups())
    longer = build_scheduler(job, optimizer, TOTAL)
    load_schedule(longer, short.state_dict() | {"last_epoch": 5})
    for _ in range(5, TOTAL):
        train(optimizer, 1)
        longer.step()
    assert longer.last_epoch == TOTAL
