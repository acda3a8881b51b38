"""Optimizers by name: built from the option table, with their own defaults kept."""

from __future__ import annotations

import importlib
import inspect
from ast import literal_eval
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch.optim import Optimizer

from sd_scripts.errors import UserError
from sd_scripts.options.jobs import TrainNetworkJob

Group = dict[str, Any]


def _adamw(groups: list[Group], arguments: dict[str, Any]) -> Optimizer:
    # The fused kernel does one pass over each tensor instead of about ten.
    fused = {"cpu", "cuda", "mps"} >= {p.device.type for group in groups for p in group["params"]}
    return torch.optim.AdamW(groups, **{"fused": fused, **arguments})


def _adamw_8bit(groups: list[Group], arguments: dict[str, Any]) -> Optimizer:
    return _imported("bitsandbytes.optim", "AdamW8bit", "8bit")(groups, **arguments)


def _adafactor(groups: list[Group], arguments: dict[str, Any]) -> Optimizer:
    from transformers.optimization import Adafactor

    if arguments.get("relative_step", True):
        # Adafactor then makes its own rate out of the step; a given one is refused by it.
        groups = [{k: v for k, v in group.items() if k != "lr"} for group in groups]
        arguments = {**arguments, "lr": None, "relative_step": True}
    else:
        arguments = {"scale_parameter": False, **arguments}
    return Adafactor(groups, **arguments)


def _lion(groups: list[Group], arguments: dict[str, Any]) -> Optimizer:
    return _imported("lion_pytorch", "Lion", None)(groups, **arguments)


def _prodigy(groups: list[Group], arguments: dict[str, Any]) -> Optimizer:
    return _imported("prodigyopt", "Prodigy", None)(groups, **arguments)


OPTIMIZERS: Final[Mapping[str, Callable[[list[Group], dict[str, Any]], Optimizer]]] = {
    "AdamW": _adamw,
    "AdamW8bit": _adamw_8bit,
    "Adafactor": _adafactor,
    "Lion": _lion,
    "Prodigy": _prodigy,
}


def _imported(module: str, name: str, extra: str | None) -> Callable[..., Optimizer]:
    try:
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]
    except ImportError as error:
        remedy = f"Install the extra “{extra}”" if extra else "Run the set-up again"
        raise UserError(
            f"The optimizer {name} needs the package {module.split('.')[0]}: {error}",
            option="optimizer_type",
            hint=f"{remedy}, or choose AdamW.",
        ) from error


def parse_arguments(pairs: Sequence[str]) -> dict[str, Any]:
    """Read `name=value` pairs; values are Python literals, as `betas=0.9,0.99` or `(0.9, 0.99)`."""
    arguments = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            arguments[name.strip()] = literal_eval(text.strip())
        except (ValueError, SyntaxError) as error:
            raise UserError(
                f"“{pair}” cannot be read",
                option="optimizer_args",
                hint="Write name=value, such as weight_decay=0.01 or betas=(0.9,0.99).",
            ) from error
    return arguments


def build_optimizer(job: TrainNetworkJob, groups: Sequence[Group]) -> Optimizer:
    """Make the optimizer of a job for `groups` (each with `params`, `lr` and `name`).

    Raises `UserError` if a package is missing or an argument does not fit.
    """
    options = job.optimizer
    arguments = {"lr": options.learning_rate, **parse_arguments(options.optimizer_args or ())}
    try:
        return OPTIMIZERS[options.optimizer_type]([dict(group) for group in groups], arguments)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{options.optimizer_type} does not accept these settings: {error}",
            option="optimizer_args",
            hint="Check the names and values of the optimizer's arguments.",
        ) from error


def describe_optimizer(optimizer: Optimizer, job: TrainNetworkJob) -> str:
    """Give the metadata form `module.Class(name=value,…)` of the arguments the user gave."""
    kind = type(getattr(optimizer, "optimizer", optimizer))
    given = parse_arguments(job.optimizer.optimizer_args or ())
    told = ",".join(f"{name}={value}" for name, value in given.items())
    return f"{inspect.getmodule(kind).__name__}.{kind.__name__}({told})"  # type: ignore[union-attr]


def learning_rates(optimizer: Optimizer) -> dict[str, float]:
    """Return the present rate of each group by its name; what adapts itself tells `d·lr`."""
    rates = {}
    for number, group in enumerate(optimizer.param_groups):
        rate = group["lr"]
        if rate is None:  # Adafactor with its own rate: the mean of what its parameters use
            rate = _relative_rate(optimizer, group)
        rates[str(group.get("name", f"group{number}"))] = float(rate) * float(group.get("d", 1.0))
    return rates


def _relative_rate(optimizer: Optimizer, group: Group) -> float:
    inner = getattr(optimizer, "optimizer", optimizer)
    states = [inner.state[p] for p in group["params"] if inner.state.get(p)]
    if not states:
        return 0.0
    return sum(float(inner._get_lr(group, state)) for state in states) / len(states)
