"""Optimizers by name: built from the options, with their own defaults kept."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Protocol, runtime_checkable

import torch
from torch.optim import Optimizer

from sd_scripts.errors import UserError
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.options.optimizer_table import OPTIMIZERS, OptimizerEntry

Group = dict[str, Any]
Arguments = dict[str, Any]


@runtime_checkable
class Averaging(Protocol):
    """An optimizer that learns on other weights than those that are to be used (schedule-free)."""

    def train(self) -> None: ...

    def eval(self) -> None: ...


def _adamw(groups: list[Group], arguments: Arguments) -> Optimizer:
    # The fused kernel does one pass over each tensor instead of about ten.
    kinds = {parameter.device.type for group in groups for parameter in group["params"]}
    if "foreach" not in arguments and kinds <= {"cpu", "cuda", "mps"}:
        arguments = {"fused": True, **arguments}
    return torch.optim.AdamW(groups, **arguments)


def _adafactor(groups: list[Group], arguments: Arguments) -> Optimizer:
    from transformers.optimization import Adafactor

    if arguments.get("relative_step", True):
        # It then makes its own rate out of the step, and refuses a given one.
        groups = [{k: v for k, v in group.items() if k != "lr"} for group in groups]
        arguments = {**arguments, "lr": None}
    return Adafactor(groups, **arguments)  # type: ignore[no-untyped-call]


def _from_table(entry: OptimizerEntry, groups: list[Group], arguments: Arguments) -> Optimizer:
    """Make what a row of the table names: only what stands there is ever imported."""
    module, _, name = entry.target.partition(":")
    try:
        kind: Callable[..., Optimizer] = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise UserError(
            f"The optimizer {entry.name} needs the package {entry.package}: {error}",
            option="optimizer_type",
            hint=package_remedy(entry),
        ) from error
    return kind(groups, **{**dict(entry.preset), **arguments})


def package_remedy(entry: OptimizerEntry) -> str:
    """Say how the package of an optimizer comes in."""
    how = f"with --extras {entry.extra}" if entry.extra else "again"
    return f"Run the set-up {how}, or choose AdamW."


_Builder = Callable[[list[Group], Arguments], Optimizer]
SPECIAL: Final[Mapping[str, _Builder]] = {"AdamW": _adamw, "Adafactor": _adafactor}
"""Optimizers that take more than their arguments; all others are made as the table says."""


def build_optimizer(job: TrainingJob, groups: Sequence[Group]) -> Optimizer:
    """Make the optimizer of a job for `groups` (each with `params`, `lr` and `name`).

    Raises `UserError` if a package is missing or an argument does not fit.
    """
    options = job.optimizer
    arguments = {"lr": options.learning_rate, **options.optimizer_arguments}
    build = SPECIAL.get(options.optimizer_type) or partial(
        _from_table, OPTIMIZERS[options.optimizer_type]
    )
    try:
        optimizer = build([dict(group) for group in groups], arguments)
        if isinstance(optimizer, Averaging):
            optimizer.train()
        return optimizer
    except (TypeError, ValueError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"{options.optimizer_type} does not accept these settings: {error}",
            option="optimizer_args",
            hint="Check the names and values of the optimizer's arguments.",
        ) from error


def describe_optimizer(optimizer: Optimizer, job: TrainingJob) -> str:
    """Give the metadata form `module.Class(name=value,…)`, with the arguments the user gave."""
    kind = type(getattr(optimizer, "optimizer", optimizer))
    given = job.optimizer.optimizer_arguments.items()
    told = ",".join(f"{name}={value}" for name, value in given)
    return f"{kind.__module__}.{kind.__name__}" + (f"({told})" if told else "")


@contextmanager
def averaged_weights(optimizer: Optimizer) -> Iterator[None]:
    """Have the weights as they are to be used (saved, previewed, validated) in here.

    A schedule-free optimizer (https://arxiv.org/abs/2405.15682) learns on an interpolation, and
    its average is what counts. Afterwards every weight is back, bit for bit: its own way back
    rounds, so that a preview would change the training. The copies are in main memory.
    """
    inner = getattr(optimizer, "optimizer", optimizer)
    if not isinstance(inner, Averaging):
        yield
        return
    parameters = [p for group in inner.param_groups for p in group["params"]]  # type: ignore[attr-defined]
    before = [parameter.detach().to("cpu", copy=True) for parameter in parameters]
    inner.eval()
    try:
        yield
    finally:
        inner.train()
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.copy_(value)


def learning_rates(optimizer: Optimizer) -> dict[str, float]:
    """Return the present rate of each group by its name; what adapts itself tells `d · lr`."""
    return {
        str(group.get("name", f"group{number}")): float(
            group.get("scheduled_lr") or group["lr"] or 0.0
        )
        * float(group.get("d", 1.0))
        for number, group in enumerate(optimizer.param_groups)
    }
