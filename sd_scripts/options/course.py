"""The learning rate over a run by formula, without torch: what a page can draw while one types.

`tests/train/test_optimizers.py` holds these formulas to what the trainer's schedulers do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sd_scripts.options.groups.optimizer import OptimizerOptions
from sd_scripts.options.optimizer_table import OPTIMIZERS

Course = Callable[[int], float]
"""The factor of the learning rate at a step, counted from 0."""

_POLYNOMIAL_END: Final = 1e-7
_DEFAULT_TIMESCALE: Final = 10_000


def steps_of(amount: float, total_steps: int) -> int:
    """Turn an amount of steps into a count: whole numbers are steps, below one is a fraction."""
    return int(amount * total_steps) if amount < 1 else int(amount)


@dataclass(frozen=True)
class _Run:
    """The numbers that the formulas are made of; `done` is the share of what follows warm-up."""

    total: int
    warmup: int
    options: OptimizerOptions

    def done(self, step: int) -> float:
        return (step - self.warmup) / max(1, self.total - self.warmup)

    @property
    def least(self) -> float:
        return self.options.lr_scheduler_min_lr_ratio or 0.0

    def above_least(self, share: float) -> float:
        return max(0.0, self.least + share * (1 - self.least))


def course_of(options: OptimizerOptions, total_steps: int) -> Course | None:
    """Return how the learning rate moves in a run of so many steps.

    None where only the libraries know: an optimizer that sets its rate itself, courses of PyTorch,
    and settings that the trainer refuses.
    """
    if OPTIMIZERS[options.optimizer_type].schedule_free:
        return lambda step: 1.0
    if options.adafactor_sets_rate or options.lr_scheduler_type is not None:
        return None
    run = _Run(total_steps, steps_of(options.lr_warmup_steps, total_steps), options)
    name = options.lr_scheduler
    if name == "constant":
        return lambda step: 1.0
    if name == "piecewise_constant":
        return _pieces(str(options.lr_scheduler_arguments.get("step_rules", "")))
    if name == "warmup_stable_decay":
        return _stable(run)
    after = _AFTER_WARMUP.get(name)
    if after is None or (name == "polynomial" and options.learning_rate <= _POLYNOMIAL_END):
        return None
    return lambda step: step / run.warmup if step < run.warmup else after(run, step)


def _linear(run: _Run, step: int) -> float:
    return max(0.0, 1 - run.done(step))


def _wave(run: _Run, step: int, num_cycles: float = 0.5) -> float:
    """A cosine that begins at 1; half a wave ends at 0."""
    return 0.5 * (1 + math.cos(2 * math.pi * num_cycles * run.done(step)))


def _restarts(run: _Run, step: int) -> float:
    done = run.done(step)
    share = (run.options.lr_scheduler_num_cycles * done) % 1.0
    return 0.0 if done >= 1 else 0.5 * (1 + math.cos(math.pi * share))


def _polynomial(run: _Run, step: int) -> float:
    end = _POLYNOMIAL_END / run.options.learning_rate
    left = max(0.0, 1 - run.done(step))
    return end + (1 - end) * math.pow(left, run.options.lr_scheduler_power)


def _inverse_sqrt(run: _Run, step: int) -> float:
    scale = run.options.lr_scheduler_timescale or run.warmup or _DEFAULT_TIMESCALE
    return math.sqrt(scale / (scale + step - run.warmup))


def _wave_above_least(run: _Run, step: int) -> float:
    return run.above_least(_wave(run, step, run.options.lr_scheduler_num_cycles / 2))


_AFTER_WARMUP: Final[dict[str, Callable[[_Run, int], float]]] = {
    "constant_with_warmup": lambda run, step: 1.0,
    "linear": _linear,
    "cosine": _wave,
    "cosine_with_restarts": _restarts,
    "polynomial": _polynomial,
    "inverse_sqrt": _inverse_sqrt,
    "cosine_with_min_lr": _wave_above_least,
}


def _stable(run: _Run) -> Course:
    """Rise, stay, fall; rise and fall begin and end at the least rate."""
    decay = steps_of(run.options.lr_decay_steps, run.total)
    falls_at = run.warmup + max(0, run.total - run.warmup - decay)
    num_cycles = run.options.lr_scheduler_num_cycles / 2

    def factor(step: int) -> float:
        if step < run.warmup:
            return run.above_least(step / run.warmup)
        if step < falls_at:
            return 1.0
        if step >= falls_at + decay:
            return run.least
        wave = math.cos(2 * math.pi * num_cycles * (step - falls_at) / decay)
        return run.above_least(0.5 * (1 + wave))

    return factor


def _pieces(rules: str) -> Course | None:
    """Read `factor:step,…,factor`: each factor holds until before its step."""
    *pieces, last = rules.split(",")
    try:
        ends = sorted(
            (int(step), float(factor)) for factor, step in (one.split(":") for one in pieces)
        )
        final = float(last)
    except ValueError:
        return None  # told beside the option
    return lambda step: next((factor for end, factor in ends if step < end), final)
