"""Optimizers by name: built from the options, with their own defaults kept."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch.optim import Optimizer

from sd_scripts.errors import UserError
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.options.optimizer_table import OptimizerName

Group = dict[str, Any]
Arguments = dict[str, Any]


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


def _from_package(module: str, name: str, extra: str | None = None) -> _Builder:
    def build(groups: list[Group], arguments: Arguments) -> Optimizer:
        try:
            kind: Callable[..., Optimizer] = getattr(importlib.import_module(module), name)
        except ImportError as error:
            remedy = f"Install the extra “{extra}”" if extra else "Run the set-up again"
            raise UserError(
                f"The optimizer {name} needs the package {module.split('.')[0]}: {error}",
                option="optimizer_type",
                hint=f"{remedy}, or choose AdamW.",
            ) from error
        return kind(groups, **arguments)

    return build


_Builder = Callable[[list[Group], Arguments], Optimizer]
BUILDERS: Final[Mapping[OptimizerName, _Builder]] = {
    "AdamW": _adamw,
    "AdamW8bit": _from_package("bitsandbytes.optim", "AdamW8bit", "8bit"),
    "Adafactor": _adafactor,
    "Lion": _from_package("lion_pytorch", "Lion"),
    "Prodigy": _from_package("prodigyopt", "Prodigy"),
}


def build_optimizer(job: TrainingJob, groups: Sequence[Group]) -> Optimizer:
    """Make the optimizer of a job for `groups` (each with `params`, `lr` and `name`).

    Raises `UserError` if a package is missing or an argument does not fit.
    """
    options = job.optimizer
    arguments = {"lr": options.learning_rate, **options.optimizer_arguments}
    try:
        return BUILDERS[options.optimizer_type]([dict(group) for group in groups], arguments)
    except (TypeError, ValueError, AssertionError) as error:
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


def learning_rates(optimizer: Optimizer) -> dict[str, float]:
    """Return the present rate of each group by its name; what adapts itself tells `d · lr`."""
    return {
        str(group.get("name", f"group{number}")): float(group["lr"] or 0.0)
        * float(group.get("d", 1.0))
        for number, group in enumerate(optimizer.param_groups)
    }
