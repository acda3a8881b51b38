"""Steps in parts and while going back: the same weights, less memory, right on average."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from sd_scripts.options.jobs import TrainDbJob
from sd_scripts.options.optimizer_table import OPTIMIZERS
from sd_scripts.options.values import job_from_values
from sd_scripts.train.environment import environment_problems
from sd_scripts.train.optimizers import build_optimizer
from sd_scripts.train.stepping import (
    FusedStep,
    PartStep,
    StochasticRounding,
    WholeStep,
    build_stepper,
)

# Those that find their rate look at all weights together; paged ones need a graphics card.
STEPPABLE = [
    entry.name for entry in OPTIMIZERS.values() if not entry.sets_own_rate and not entry.paged
]


def job_with(**values: object) -> TrainDbJob:
    """A Dreambooth job with these options."""
    needed = {"pretrained_model_name_or_path": "m", "train_data_dir": "d", "seed": 3}
    return job_from_values(TrainDbJob, {**needed, **values})


def small_model(dtype: torch.dtype = torch.float32) -> Any:
    """Three layers, one of which is large enough to be kept in 8 bits."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(64, 80), nn.Tanh(), nn.Linear(80, 8, bias=False)).to(dtype)


def train(model: Any, job: TrainDbJob, steps: int = 8) -> Any:
    """Take some steps (RAdam moves from the sixth on) with two groups of weights.

    Returns the optimizer.
    """
    groups = [
        {"params": list(model[0].parameters()), "lr": 1e-2, "name": "a"},
        {"params": list(model[2].parameters()), "lr": 1e-3, "name": "b"},
    ]
    optimizer = build_optimizer(job, groups)
    stepper = build_stepper(job, optimizer, optimizer)
    generator = torch.Generator().manual_seed(5)
    for number in range(1, steps + 1):
        x = torch.randn(16, 64, generator=generator).to(model[0].weight.dtype)
        stepper.begin(number)
        (model(x) - x[:, :8]).float().square().mean().backward()
        stepper.step()
        optimizer.zero_grad(set_to_none=True)
    return optimizer


@pytest.mark.parametrize(
    ("name", "fused"),
    [
        *((name, {"fused_backward_pass": True}) for name in STEPPABLE),
        ("AdamW", {"fused_optimizer_groups": 2}),
    ],
)
def test_weight_by_weight_is_as_all_at_once(name: str, fused: dict[str, object]) -> None:
    """Counters of a group count each step once, however many parts it is taken in."""
    plain = job_with(optimizer_type=name, max_grad_norm=0, learning_rate=1e-2)
    problems = environment_problems(plain)
    if any("package" in problem.message for problem in problems):
        pytest.skip("its package is not installed")
    whole, parts = small_model(), small_model()
    train(whole, plain)
    before = copy.deepcopy(small_model().state_dict())
    changed = job_with(optimizer_type=name, max_grad_norm=0, learning_rate=1e-2, **fused)
    train(parts, changed)
    for key, tensor in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[key], tensor, rtol=0, atol=1e-7)
        assert not torch.equal(tensor, before[key])


def test_gradients_are_dropped_as_they_come() -> None:
    model = small_model()
    job = job_with(fused_backward_pass=True, max_grad_norm=1e-3, optimizer_type="SGDNesterov")
    optimizer = build_optimizer(job, [{"params": list(model.parameters()), "lr": 1.0, "name": "a"}])
    stepper = build_stepper(job, optimizer, optimizer)
    assert isinstance(stepper, FusedStep)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    stepper.begin(1)
    model(torch.ones(2, 64)).square().sum().backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    norm = stepper.step()
    assert norm is not None
    assert norm > 1e-3  # that of all gradients, before they were shortened
    for parameter, old in zip(model.parameters(), before, strict=True):
        moved = (parameter.detach() - old).norm().item()  # Nesterov: the gradient and 0.9 of it
        assert moved == pytest.approx(1.9e-3, rel=1e-3)


def test_what_no_longer_learns_is_not_waited_for() -> None:
    model = small_model()
    job = job_with(fused_optimizer_groups=1, max_grad_norm=0)
    optimizer = build_optimizer(job, [{"params": list(model.parameters()), "lr": 1.0, "name": "a"}])
    stepper = build_stepper(job, optimizer, optimizer)
    model[2].requires_grad_(False)
    frozen, learning = model[2].weight.detach().clone(), model[0].weight.detach().clone()
    stepper.begin(1)
    model(torch.ones(2, 64)).square().sum().backward()
    assert not torch.equal(model[0].weight, learning)
    assert torch.equal(model[2].weight, frozen)


def test_rounding_is_right_on_average() -> None:
    """A number a tenth of the way between two bf16 numbers goes up once in ten times."""
    low, high = torch.tensor([1.0, 1.0078125])  # neighbours in bf16
    source = torch.full((200_000,), float(low + (high - low) / 10))
    target = torch.zeros_like(source, dtype=torch.bfloat16)
    rounding = StochasticRounding(seed=7)
    rounding.renew(1)
    rounding.copy(target, source.clone())
    assert set(target.tolist()) == {float(low), float(high)}
    share = (target == high).float().mean().item()
    assert share == pytest.approx(0.1, abs=0.01)
    again = torch.zeros_like(target)
    rounding.renew(2)
    rounding.copy(again, source.clone())
    assert not torch.equal(target, again)
    rounding.renew(1)
    rounding.copy(again, source.clone())
    assert torch.equal(target, again)


def test_exact_and_invalid_numbers_stay() -> None:
    exact = torch.tensor([0.0, -1.5, 3e38, 1e-30]).bfloat16()
    bad = torch.tensor([float("nan"), float("inf"), -float("inf"), 1.0])
    rounding = StochasticRounding(seed=7)
    rounding.renew(1)
    target = torch.empty_like(exact)
    rounding.copy(target, exact.float())
    assert torch.equal(target, exact)
    for source in (bad, torch.full((4,), 0x7FFFFFFF, dtype=torch.int32).view(torch.float32)):
        rounding.copy(target, source.clone())
        assert torch.equal(target.isnan(), source.isnan())
        assert torch.equal(target.isinf(), source.isinf())


def test_small_steps_are_not_lost_in_bf16() -> None:
    """Steps of a thousandth of a weight: plain bf16 rounds each of them away."""
    full = {"full_bf16": True, "mixed_precision": "bf16", "learning_rate": 1.0}
    job = job_with(optimizer_type="SGD", max_grad_norm=0, **full)
    weight = nn.Parameter(torch.ones(1000, dtype=torch.bfloat16))
    optimizer = build_optimizer(job, [{"params": [weight], "lr": 1e-3, "name": "a"}])
    stepper = build_stepper(job, optimizer, optimizer)
    assert isinstance(stepper, PartStep)
    for number in range(1, 101):
        stepper.begin(number)
        total: Any = weight.sum()
        total.backward()
        stepper.step()
    assert weight.dtype == torch.bfloat16
    assert weight.grad is None
    assert weight.float().mean().item() == pytest.approx(0.9, abs=0.005)


def test_memory_of_the_optimizer_keeps_32_bits() -> None:
    """The mean of squares moves by a thousandth a step, which bf16 cannot hold."""
    model = small_model(torch.bfloat16)
    job = job_with(full_bf16=True, mixed_precision="bf16")
    optimizer = train(model, job, steps=1)
    memory = [state["exp_avg_sq"].dtype for state in optimizer.state.values()]
    assert set(memory) == {torch.float32}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_other_jobs_step_all_at_once() -> None:
    model = small_model()
    job = job_with()
    optimizer = build_optimizer(job, [{"params": list(model.parameters()), "lr": 1.0, "name": "a"}])
    assert isinstance(build_stepper(job, optimizer, optimizer), WholeStep)
