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
                None,
                'factor:step pairs and a last factor, as in "1:100,0.1:200,0.01"',
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
