"""The learning rate schedulers and the options each of them reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from sd_scripts.options.optimizer_table import Argument

SchedulerName = Literal[
    "constant",
    "constant_with_warmup",
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "inverse_sqrt",
    "cosine_with_min_lr",
    "warmup_stable_decay",
    "piecewise_constant",
    "adafactor",
]


@dataclass(frozen=True)
class SchedulerEntry:
    """A scheduler: how the rate moves, and which options (`reads`, `needs`) it looks at.

    `arguments` are what it takes from lr_scheduler_args; all of them are needed.
    """

    name: SchedulerName
    text: str
    reads: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    arguments: tuple[Argument, ...] = ()


_WARMUP: Final = "lr_warmup_steps"
_CYCLES: Final = "lr_scheduler_num_cycles"
_MINIMUM: Final = "lr_scheduler_min_lr_ratio"

_ENTRIES: Final = (
    SchedulerEntry("constant", "stays the same"),
    SchedulerEntry("constant_with_warmup", "rises during warm-up, then stays", (_WARMUP,)),
    SchedulerEntry("linear", "falls in a straight line to zero", (_WARMUP,)),
    SchedulerEntry("cosine", "falls in a smooth curve to zero", (_WARMUP,)),
    SchedulerEntry(
        "cosine_with_restarts",
        "falls in a smooth curve and jumps back up, several times",
        (_WARMUP, _CYCLES),
    ),
    SchedulerEntry("polynomial", "falls along a power curve", (_WARMUP, "lr_scheduler_power")),
    SchedulerEntry(
        "inverse_sqrt",
        "falls with the square root of the steps done",
        (_WARMUP, "lr_scheduler_timescale"),
    ),
    SchedulerEntry(
        "cosine_with_min_lr",
        "falls in a smooth curve to a lowest rate",
        (_WARMUP, _CYCLES, _MINIMUM),
        needs=(_MINIMUM,),
    ),
    SchedulerEntry(
        "warmup_stable_decay",
        "rises, stays, and falls over the last lr_decay_steps",
        (_WARMUP, "lr_decay_steps", _CYCLES, _MINIMUM),
    ),
    SchedulerEntry(
        "piecewise_constant",
        "follows rules: factor until step, and so on",
        ("lr_scheduler_args",),
        needs=("lr_scheduler_args",),
        arguments=(
            Argument(
                "step_rules",
                "text",
                "1:100,0.1:200,0.01",
                "factor:step pairs and a last factor",
            ),
        ),
    ),
    SchedulerEntry("adafactor", "the rate that Adafactor chooses itself (relative_step)"),
)

SCHEDULERS: Final[dict[SchedulerName, SchedulerEntry]] = {entry.name: entry for entry in _ENTRIES}

assert set(SCHEDULERS) == set(get_args(SchedulerName))


def schedulers_reading(option: str) -> tuple[SchedulerName, ...]:
    """Names of the schedulers that look at an option."""
    return tuple(entry.name for entry in _ENTRIES if option in entry.reads)


TorchSchedulerName = Literal[
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "PolynomialLR",
    "StepLR",
]


@dataclass(frozen=True)
class TorchSchedulerEntry:
    """A scheduler class of PyTorch, for `lr_scheduler_type`, with what lr_scheduler_args may give.

    `needs` are arguments that must be given; `whole_run` the one that is the number of all steps
    unless given.
    """

    name: TorchSchedulerName
    text: str
    arguments: tuple[Argument, ...]
    needs: tuple[str, ...] = ()
    whole_run: str | None = None


def _length(name: str) -> Argument:
    return Argument(name, "int", None, "Steps; empty: the whole run.", optional=True)


_GAMMA: Final = Argument("gamma", "float", 0.1, "Each time, the rate is multiplied by this.")
_LOWEST: Final = Argument("eta_min", "float", 0.0, "Lowest rate.")

_TORCH_ENTRIES: Final = (
    TorchSchedulerEntry(
        "ConstantLR",
        "a share of the rate at first, then all of it",
        (
            Argument("factor", "float", 1 / 3, "That share."),
            Argument("total_iters", "int", 100, "Steps of it."),
        ),
        needs=("total_iters",),
    ),
    TorchSchedulerEntry(
        "CosineAnnealingLR",
        "falls in a smooth curve to eta_min",
        (_length("T_max"), _LOWEST),
        whole_run="T_max",
    ),
    TorchSchedulerEntry(
        "CosineAnnealingWarmRestarts",
        "falls in a smooth curve and jumps back up, every T_0 steps",
        (
            Argument("T_0", "int", 100, "Steps of the first curve."),
            Argument("T_mult", "int", 1, "Each curve is this many times longer than the last."),
            _LOWEST,
        ),
        needs=("T_0",),
    ),
    TorchSchedulerEntry(
        "ExponentialLR",
        "is multiplied by gamma at every step",
        (Argument("gamma", "float", 0.999, "What it is multiplied by."),),
        needs=("gamma",),
    ),
    TorchSchedulerEntry(
        "LinearLR",
        "goes in a straight line from one share of the rate to another",
        (
            Argument("start_factor", "float", 1 / 3, "Share at first."),
            Argument("end_factor", "float", 1.0, "Share at last."),
            _length("total_iters"),
        ),
        whole_run="total_iters",
    ),
    TorchSchedulerEntry(
        "MultiStepLR",
        "is multiplied by gamma at certain steps",
        (Argument("milestones", "ints", (500, 1000), "These steps, as [500,1000]."), _GAMMA),
        needs=("milestones",),
    ),
    TorchSchedulerEntry(
        "OneCycleLR",
        "rises to the rate and falls far below where it began; moves momentum the other way",
        (
            _length("total_steps"),
            Argument("pct_start", "float", 0.3, "Share of the run in which it rises."),
            Argument("anneal_strategy", "text", "cos", "cos or linear."),
            Argument("cycle_momentum", "bool", True, "Whether momentum moves."),
            Argument("div_factor", "float", 25.0, "It begins at this part of the rate."),
            Argument("final_div_factor", "float", 1e4, "It ends at this part of the first rate."),
        ),
        whole_run="total_steps",
    ),
    TorchSchedulerEntry(
        "PolynomialLR",
        "falls along a power curve",
        (_length("total_iters"), Argument("power", "float", 1.0, "1 is a straight line.")),
        whole_run="total_iters",
    ),
    TorchSchedulerEntry(
        "StepLR",
        "is multiplied by gamma every step_size steps",
        (Argument("step_size", "int", 500, "So many steps."), _GAMMA),
        needs=("step_size",),
    ),
)

TORCH_SCHEDULERS: Final[dict[TorchSchedulerName, TorchSchedulerEntry]] = {
    entry.name: entry for entry in _TORCH_ENTRIES
}

assert set(TORCH_SCHEDULERS) == set(get_args(TorchSchedulerName))
